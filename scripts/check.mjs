/**
 * Everything that is checked without running the product: `npm run check [-- name …]`. Each check prints
 * one line; one that fails prints what it found, and the others still run.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { PACKAGES } from './outputs.mjs';

process.chdir(join(import.meta.dirname, '..'));
process.env.PATH = `${join(process.cwd(), 'node_modules/.bin')}${delimiter}${process.env.PATH}`;

const scratch = mkdtempSync(join(tmpdir(), 'swarm-check-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

const tarballs = new Map();
const published = PACKAGES.filter(
  (path) => !JSON.parse(readFileSync(`${path}/package.json`, 'utf8')).private,
);

const CHECKS = [
  { name: 'types', run: () => run('tsc', ['-b']) },
  {
    name: 'biome',
    run: () => run('biome', ['ci', '--colors=off', '.']),
    cure: 'npx biome check --write',
  },
  { name: 'imports', run: () => run('node', ['scripts/check-imports.mjs']) },
  { name: 'readme', run: () => run('node', ['scripts/options-table.mjs', '--check']) },
  { name: 'knip', run: () => run('knip', ['--no-progress']) },
  { name: 'publint', run: () => eachTarball((tarball) => run('publint', ['--strict', tarball])) },
  {
    name: 'attw',
    run: () =>
      eachTarball((tarball) =>
        run('attw', ['--profile', 'esm-only', '--no-definitely-typed', '--no-color', tarball]),
      ),
  },
];

const names = process.argv.slice(2);
const unknown = names.filter((name) => !CHECKS.some((check) => check.name === name));
if (unknown.length > 0) {
  console.error(
    `check: no check is named ${unknown.join(', ')}; there are: ${CHECKS.map(({ name }) => name).join(', ')}`,
  );
  process.exit(64);
}

const failed = [];
for (const { name, run: check, cure } of CHECKS) {
  if (names.length > 0 && !names.includes(name)) continue;
  const startedAtMs = performance.now();
  const { ok, output } = check();
  const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1);
  console.log(`check: ${name.padEnd(8)} ${ok ? 'ok  ' : 'FAIL'}  ${seconds} s`);
  if (ok) continue;
  failed.push(name);
  console.log(output.trim().replace(/^/gm, '  '));
  if (cure !== undefined) console.log(`  most of it is mended by: ${cure}`);
}
console.log(failed.length === 0 ? 'check: all passed' : `check: FAILED: ${failed.join(', ')}`);
process.exitCode = failed.length === 0 ? 0 : 1;

function run(command, args) {
  const { status, signal, stdout, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    env: { ...process.env, NO_COLOR: '1' },
  });
  if (error) return { ok: false, output: `${command}: ${error.message}` };
  const ended = signal === null ? '' : `${command} was ended by ${signal}\n`;
  return { ok: status === 0, output: `${stdout}${stderr}${ended}` };
}

/** What users get is the tarball, so it is the tarball that is looked at. */
function eachTarball(look) {
  for (const path of published) {
    const packed = pack(path);
    if (!packed.ok) return packed;
    const result = look(packed.file);
    if (!result.ok) return result;
  }
  return { ok: true, output: '' };
}

function pack(path) {
  if (!tarballs.has(path)) {
    const directory = mkdtempSync(join(scratch, 'pack-'));
    const packed = run('npm', [
      'pack',
      `./${path}`,
      '--ignore-scripts',
      '--silent',
      `--pack-destination=${directory}`,
    ]);
    if (!packed.ok) return packed;
    tarballs.set(path, join(directory, readdirSync(directory)[0]));
  }
  return { ok: true, file: tarballs.get(path) };
}
