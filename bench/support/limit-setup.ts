/** What processes that share a limit are to do, and one of them: apps/limited.mjs. */
import { fileURLToPath } from 'node:url';
import { LimitProgram } from '../../../test/dist/support/limit-program.js';

export interface LimitSetup {
  kind: string;
  processes: number;
  /** Of each process. */
  waiters: number;
  /** Of each waiter. */
  uses: number;
  holdMs: number;
  limit: number;
  /** 0: the limit is of what is at work at once. */
  windowMs: number;
  /** The waiters come within this time. */
  spreadMs: number;
}

export function startLimited(setup: LimitSetup, port: number, name: string): LimitProgram {
  const app = fileURLToPath(new URL('../../apps/limited.mjs', import.meta.url));
  const { kind, waiters, uses, holdMs, limit, windowMs, spreadMs } = setup;
  const env = {
    KIND: kind,
    NAME: name,
    REDIS_PORT: String(port),
    WAITERS: String(waiters),
    USES: String(uses),
    HOLD_MS: String(holdMs),
    LIMIT: String(limit),
    WINDOW_MS: String(windowMs),
    SPREAD_MS: String(spreadMs),
  };
  return new LimitProgram(app, env, { countsErrors: true });
}
