/**
 * Runs the built tests: `node scripts/test.mjs [part of a path …] [--node-option …]`.
 * `npm test -- fault/kill` runs those whose path contains `fault/kill`; what begins with `-` goes to node,
 * e.g. `npm test -- registry --test-name-pattern=stale`.
 */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { TEST_OUTPUTS } from './outputs.mjs';

/** A file that takes longer hangs. */
const FILE_TIMEOUT_MS = 300_000;
/** Files at once: most of them start processes of their own. */
const CONCURRENCY = 3;

process.chdir(join(import.meta.dirname, '..'));
const options = process.argv.slice(2).filter((argument) => argument.startsWith('-'));
const parts = process.argv.slice(2).filter((argument) => !argument.startsWith('-'));

const all = TEST_OUTPUTS.flatMap(({ output }) => testsUnder(output));
const files = all.filter((file) => parts.length === 0 || parts.some((part) => file.includes(part)));
if (files.length === 0) {
  const which =
    parts.length === 0 ? 'there are none' : `none of ${all.length} contains ${parts.join(' or ')}`;
  console.error(`test: no test file to run: ${which}`);
  process.exit(1);
}
console.log(`test: ${files.length} of ${all.length} files, ${CONCURRENCY} at once`);

const runner = spawn(
  process.execPath,
  [
    '--test',
    '--test-reporter=spec',
    `--test-concurrency=${CONCURRENCY}`,
    `--test-timeout=${FILE_TIMEOUT_MS}`,
    ...options,
    ...files,
  ],
  { stdio: 'inherit' },
);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => runner.kill(signal));
runner.on('close', (code, signal) => {
  if (signal !== null) console.error(`test: the runner was ended by ${signal}`);
  process.exitCode = code ?? 1;
});

function testsUnder(directory) {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true })
    .filter((name) => name.endsWith('.test.js'))
    .map((name) => join(directory, name))
    .sort();
}
