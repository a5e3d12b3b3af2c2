/** Runs the built benchmarks, one after the other: `node scripts/bench.mjs [name …]`, all without a name. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { BENCH_OUTPUT } from './outputs.mjs';

process.chdir(join(import.meta.dirname, '..'));
const { source, output } = BENCH_OUTPUT;
/** Only files at the top are benchmarks; what they share lies in folders. */
const all = readdirSync(source)
  .filter((file) => file.endsWith('.ts'))
  .map((file) => file.replace(/\.ts$/, ''))
  .sort();

const separator = process.argv.indexOf('--');
const named = process.argv.slice(2, separator === -1 ? undefined : separator);
const benchArguments = separator === -1 ? [] : process.argv.slice(separator + 1);
const unknown = named.filter((name) => !all.includes(name));
if (all.length === 0 || unknown.length > 0) {
  if (unknown.length > 0) console.error(`bench: no benchmark is named ${unknown.join(', ')}`);
  console.error(`bench: there ${all.length === 0 ? 'are none yet' : `are: ${all.join(', ')}`}`);
  process.exit(1);
}

for (const name of named.length > 0 ? named : all) {
  const file = join(output, `${name}.js`);
  if (!existsSync(file)) {
    console.error(`bench: ${file} is not built: npm run build`);
    process.exit(1);
  }
  console.log(`\nbench: ${name}`);
  const { status, signal } = spawnSync(process.execPath, [file, ...benchArguments], { stdio: 'inherit' });
  if (status !== 0) {
    console.error(`bench: ${name} ended with ${signal ?? `exit code ${status}`}`);
    process.exitCode = 1;
  }
}
