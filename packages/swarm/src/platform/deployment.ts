/** What a file for a platform is filled in from. */
import type { Config, GroupConfig } from '../config.js';

export interface Deployment {
  /** Of the service: letters, digits and dashes. */
  name: string;
  /** Absolute: where the app's files are. */
  directory: string;
  /** What starts swarm where its files stay as they are here: `node` and `swarm.js`, absolute. */
  command: readonly string[];
  /** As it was named; null: it was not. */
  app: string | null;
  /** As they were given, without secrets and without `--count`. */
  flags: readonly string[];
  appArguments: readonly string[];
  /** `--count` as it was given; null: it was not. */
  count: string | null;
  user: string;
  /** The user is not there yet. */
  isNewUser: boolean;
  /** A Redis was named that the file does not name: its URL is a secret. */
  hidesRedis: boolean;
  /** Of swarm. */
  version: string;
  /** Of this machine; null: there is none. */
  systemdVersion: number | null;
  /** Major version of Node. */
  nodeMajor: number;
  config: Config;
}

/** The master and what it needs besides its children. */
const MASTER_BYTES = 200e6;
/** After the drain: hand-back, close hooks, kill. */
const LEAVE_MS = 3_000;
/** For whoever kills what is left when the time is up. */
const MARGIN_MS = 5_000;

/** From the order to stop until nobody is left, at the latest. */
export function stopSeconds({ drainTimeoutMs }: Config): number {
  return Math.ceil((drainTimeoutMs + LEAVE_MS) / 1_000);
}

/** What a platform should allow for a stop before it kills. */
export function graceSeconds({ drainTimeoutMs }: Config): number {
  return Math.ceil((drainTimeoutMs + LEAVE_MS + MARGIN_MS) / 1_000);
}

/** No child needs more memory than its hard limit; null: one has none. */
export function memoryCeilingBytes({ groups }: Config): number | null {
  const needs = groups.map(needOf);
  return needs.some((need) => need === null)
    ? null
    : needs.reduce<number>((sum, need) => sum + (need ?? 0), MASTER_BYTES);
}

function needOf({ count, maxMemoryHardBytes }: GroupConfig): number | null {
  return maxMemoryHardBytes === null ? null : count * maxMemoryHardBytes;
}

export function totalCount({ groups }: Config): number {
  return groups.reduce((sum, { count }) => sum + count, 0);
}

/** What follows `swarm` on its command line. */
export function swarmWords({ app, flags, count, appArguments }: Deployment, withCount = true): string[] {
  return [
    ...(app === null ? [] : [app]),
    ...(count === null || !withCount ? [] : ['--count', count]),
    ...flags,
    ...(appArguments.length > 0 ? ['--', ...appArguments] : []),
  ];
}
