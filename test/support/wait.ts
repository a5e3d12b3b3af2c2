/** Tests wait for conditions, never for time: a deadline, and a message that says what did not come. */
import { setTimeout as delay } from 'node:timers/promises';

export interface WaitOptions {
  timeoutMs?: number;
  everyMs?: number;
}

/** For a condition that asks by a command: a process of half a second, which would keep a core busy by itself. */
export const A_COMMAND_EACH: WaitOptions = { everyMs: 500 };

/** A machine that is shared is at times several times slower than what a test was written on. */
const PATIENCE = 3;

/** Resolves to the first truthy answer of `condition`; rejects with `what` after three times `timeoutMs` (default 60 s). */
export async function waitFor<T>(
  what: string,
  condition: () => T | Promise<T>,
  { timeoutMs = 60_000, everyMs = 20 }: WaitOptions = {},
): Promise<NonNullable<T>> {
  const limitMs = PATIENCE * timeoutMs;
  const deadlineMs = performance.now() + limitMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > deadlineMs) throw new Error(`waited ${limitMs} ms in vain: ${what}`);
    await delay(everyMs);
  }
}

export { isAlive } from './processes.js';
