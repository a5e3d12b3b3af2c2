/**
 * Runs the built tests: `node scripts/test.mjs [part of a path …] [--node-option …]`, the quick tier of them, or all
 * of them if CI is set. `npm test -- fault/kill` runs all tests of the files whose path contains `fault/kill`; what
 * begins with `-` goes to node, e.g. `npm test -- registry --test-name-pattern=stale`.
 *
 * Real processes, kills and clocks on a machine that is busy with the other files: a few files that fail are
 * run once more, one at a time, and named as flaky if they pass then. A file that fails both times has failed.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TEST_OUTPUTS } from './outputs.mjs';
import { chooseTier, filesOf } from './tiers.mjs';

/** A file that takes longer hangs. */
const FILE_TIMEOUT_MS = 900_000;
/**
 * Files at once: most of them start processes of their own, and wait for these more than they compute. Of the full tier
 * most have several tests at once, and two cores are busy with three.
 */
const CONCURRENCY = { quick: 4, full: 3, long: 3 };
const RUNNER = fileURLToPath(new URL('test-files.mjs', import.meta.url));
/** What a tier leaves out, and how to run it. */
const MORE = {
  quick: '; all: npm run test:all, or npm test -- part-of-a-path',
  full: '; every variant: npm run test:long',
  long: '',
};
/** More than a busy machine explains. */
const MAX_SECOND_LOOKS = 6;

process.chdir(join(import.meta.dirname, '..'));
const options = process.argv.slice(2).filter((argument) => argument.startsWith('-'));
// given to node itself, it would pass by whole files
const patterns = options.filter((option) => option.startsWith('--test-name-pattern='));
const nodeOptions = options.filter((option) => !patterns.includes(option));
const parts = process.argv.slice(2).filter((argument) => !argument.startsWith('-'));

const tier = chooseTier({
  asked: process.env.SWARM_TEST_TIER,
  isCi: !['', '0', 'false'].includes(process.env.CI ?? ''),
  namesFiles: parts.length > 0,
});
if (!(tier in MORE)) {
  console.error(`test: SWARM_TEST_TIER takes ${Object.keys(MORE).join(', ')}, got "${tier}"`);
  process.exit(64);
}
const all = TEST_OUTPUTS.flatMap(({ output }) => testsUnder(output));
const files = filesOf(tier, all).filter((file) => {
  return parts.length === 0 || parts.some((part) => file.includes(part));
});
if (files.length === 0) {
  const which =
    parts.length === 0 ? 'there are none' : `none of ${all.length} contains ${parts.join(' or ')}`;
  console.error(`test: no test file to run: ${which}`);
  process.exit(1);
}
console.log(
  `test: ${tier} tier, ${files.length} of ${all.length} files, ${CONCURRENCY[tier]} at once${MORE[tier]}`,
);

const first = await run(files, CONCURRENCY[tier]);
process.exitCode = first.code;
const toRepeat = filesOfFailures(first);
if (first.code !== 0 && toRepeat.length > 0 && toRepeat.length <= MAX_SECOND_LOOKS) {
  console.log(`\ntest: once more, one at a time: ${toRepeat.join(' ')}\n`);
  const second = await run(toRepeat, 1);
  const failedTwice = filesOfFailures(second);
  const flaky = toRepeat.filter((file) => !failedTwice.includes(file));
  if (!second.cut && flaky.length > 0) {
    console.log('\ntest: flaky, failed at first and passed alone:');
    for (const { file, test, error } of first.failures) {
      if (error !== null && flaky.includes(file)) console.log(`  ${file}: ${test}: ${firstLines(error)}`);
    }
  }
  if (failedTwice.length > 0) console.log(`test: failed twice: ${failedTwice.join(' ')}`);
  process.exitCode = second.code;
}
const verdict = process.exitCode === 0 ? 'passed' : 'FAILED';
console.log(`test: ${verdict}, ${files.length} files in ${Math.round(performance.now() / 1_000)} s`);

/** Resolves with the runner's exit code, what failed (file, test, error; see test-files.mjs), and whether a signal cut it off. */
async function run(paths, concurrency) {
  const directory = mkdtempSync(join(tmpdir(), 'swarm-test-'));
  const list = join(directory, 'failed');
  const runner = spawn(
    process.execPath,
    [...nodeOptions, RUNNER, ...patterns, String(concurrency), String(FILE_TIMEOUT_MS), list, ...paths],
    { stdio: 'inherit', env: { ...process.env, SWARM_TEST_TIER: tier } },
  );
  const relay = (signal) => runner.kill(signal);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, relay);
  const [code, signal] = await new Promise((resolve) => {
    runner.on('close', (...end) => resolve(end));
  });
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.off(name, relay);
  const lines = existsSync(list) ? readFileSync(list, 'utf8').split('\n').filter(Boolean) : [];
  rmSync(directory, { recursive: true });
  const cut = signal !== null;
  if (cut) console.error(`test: the runner was ended by ${signal}`);
  return { code: code ?? 1, failures: cut ? [] : lines.map((line) => JSON.parse(line)), cut };
}

function filesOfFailures({ failures }) {
  return [...new Set(failures.map(({ file }) => file))];
}

function firstLines(text) {
  return text.split('\n').slice(0, 3).join(' ').slice(0, 300);
}

function testsUnder(directory) {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true })
    .filter((name) => name.endsWith('.test.js'))
    .map((name) => join(directory, name))
    .sort();
}
