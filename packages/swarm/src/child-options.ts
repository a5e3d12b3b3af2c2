/**
 * What a child must know before the app is loaded. It comes in the environment, because messages
 * arrive only once the loop turns, and is taken out of it at once, so that processes which the app
 * starts do not take themselves for children.
 */
import type { QueueChoice } from './config.js';

export const CHILD_OPTIONS_VARIABLE = 'SWARM_CHILD';

export interface ChildOptions {
  slot: number;
  /** `default` where the config has no groups. */
  group: string;
  host: string;
  nonce: string;
  /** null: the app's own. */
  concurrency: number | null;
  /** Swarm apps only; empty: all of the app's. */
  queues: QueueChoice[];
  prefix: string;
  redisUrl: string;
  redisTlsNoVerify: boolean;
  /** Drain budget when the master is gone and cannot say, ms. */
  drainTimeoutMs: number;
  watchdog: boolean;
}

/** null: this process is no child of a master. */
export function takeChildOptions(env: NodeJS.ProcessEnv): ChildOptions | null {
  const text = env[CHILD_OPTIONS_VARIABLE];
  if (text === undefined) return null;
  delete env[CHILD_OPTIONS_VARIABLE];
  return JSON.parse(text) as ChildOptions;
}
