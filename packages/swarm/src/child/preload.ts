/**
 * Loaded with `--import` before the app. It acts only in the child that the master forked: a sandboxed
 * processor inherits the child's node arguments, a worker thread too, and neither may take itself for one.
 */
import { isMainThread } from 'node:worker_threads';
import { takeChildOptions } from '../child-options.js';

const options = isMainThread ? takeChildOptions(process.env) : null;
if (options) {
  const { startChild } = await import('./runtime.js');
  forgetPreload();
  startChild(options);
}

/** What the app forks gets `process.execArgv` by default. */
function forgetPreload(): void {
  const at = process.execArgv.indexOf(import.meta.url);
  if (at > 0) process.execArgv.splice(at - 1, 2);
}
