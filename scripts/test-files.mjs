/**
 * Runs test files in the order given, which `node --test` would sort:
 * `node test-files.mjs [--test-name-pattern=…] <at once> <timeout in ms> <file for what failed> <test file …>`.
 * What failed is a line of JSON each: `{ file, test, error }`.
 */
import { setMaxListeners } from 'node:events';
import { appendFileSync } from 'node:fs';
import { relative } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { 'test-name-pattern': { type: 'string', multiple: true } },
});
const [concurrency, timeout, failed, ...files] = positionals;
const stop = new AbortController();
// one of each file
setMaxListeners(0, stop.signal);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.once(signal, () => {
    stop.abort();
    // by the signal itself, as whoever sent it expects
    process.kill(process.pid, signal);
  });
}

run({
  files,
  concurrency: Number(concurrency),
  timeout: Number(timeout),
  testNamePatterns: values['test-name-pattern'],
  signal: stop.signal,
})
  .on('test:fail', ({ file, name: test, todo, details }) => {
    if (todo !== undefined) return;
    process.exitCode = 1;
    if (!file) return;
    const isOwn = details.error?.failureType !== 'subtestsFailed';
    const error = isOwn ? String(details.error?.cause?.message ?? details.error?.message) : null;
    appendFileSync(failed, `${JSON.stringify({ file: relative('.', file), test, error })}\n`);
  })
  .compose(new spec())
  .pipe(process.stdout);
