/** No limit, in the form of one: for tests, and for settings that say so. It asks nobody. */
import type { FetchGate } from '../fetch/gate.js';
import type { Lease, LimitHandle, WithinOptions } from './limiter.js';
import { type LimiterStatus, UNLIMITED_STATUS } from './status.js';

const NEVER = new AbortController().signal;

export const unlimited = {
  name: 'unlimited',

  async withinLimit<T>(
    fn: (handle: LimitHandle) => Promise<T> | T,
    { signal }: WithinOptions<T> = {},
  ): Promise<T> {
    signal?.throwIfAborted();
    return fn(handle(signal));
  },

  async tryAcquire({ signal }: { signal?: AbortSignal | undefined } = {}): Promise<Lease> {
    signal?.throwIfAborted();
    return { ...handle(signal), release: async () => {} };
  },

  async status(): Promise<LimiterStatus> {
    return { ...UNLIMITED_STATUS };
  },

  async reset(): Promise<void> {},

  openGate(): FetchGate {
    return {
      tryAcquire: async () => ({ release() {}, cancel() {} }),
      onRoom() {},
      withdraw() {},
      close: async () => {},
    };
  },
};

function handle(signal: AbortSignal | undefined): LimitHandle {
  return { signal: signal ?? NEVER, used: async () => {} };
}
