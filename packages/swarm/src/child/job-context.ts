/**
 * Which job the running code belongs to, by AsyncLocalStorage. Only where that costs nothing: from Node 24 on it
 * travels in V8's own slot; before, with async hooks, it makes each await two to three times as slow.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { DumpJob } from '../dump.js';

const FIRST_CHEAP_MAJOR = 24;
const TURNED_OFF = '--no-async-context-frame';

export function isContextCheap(
  version: string,
  execArgv: readonly string[],
  nodeOptions: string | undefined,
): boolean {
  const isOff = execArgv.includes(TURNED_OFF) || (nodeOptions ?? '').split(/\s+/).includes(TURNED_OFF);
  return Number.parseInt(version, 10) >= FIRST_CHEAP_MAJOR && !isOff;
}

export class JobContext {
  readonly #storage: AsyncLocalStorage<DumpJob> | null;

  constructor(
    isCheap = isContextCheap(process.versions.node, process.execArgv, process.env['NODE_OPTIONS']),
  ) {
    this.#storage = isCheap ? new AsyncLocalStorage() : null;
  }

  /** false: `current` never knows. */
  get isKept(): boolean {
    return this.#storage !== null;
  }

  run<T>(job: DumpJob, fn: () => T): T {
    return this.#storage ? this.#storage.run(job, fn) : fn();
  }

  get current(): DumpJob | null {
    return this.#storage?.getStore() ?? null;
  }
}
