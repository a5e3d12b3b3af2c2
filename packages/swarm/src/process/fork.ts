/**
 * Forks a child: the user's own file is the entry point of the new process, as it would be without
 * swarm (`require.main`, `import.meta`, `process.argv` are what the program expects), and a preload
 * brings our part in. The rejected alternative, an entry of ours that imports the app, breaks programs
 * that ask whether they are the main module.
 *
 * A child is the leader of a session and a process group of its own: a Ctrl-C meant for the master does
 * not reach it, and what its jobs start can be killed with it.
 */
import { type ChildProcess, type ForkOptions, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { extname } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { ChildOptions } from '../child-options.js';
import type { Config, GroupConfig } from '../config.js';
import { usageError } from '../errors.js';
import { identityOf } from '../identity.js';
import { ChannelGuard } from './channel-guard.js';
import { heapFlags } from './heap-flags.js';
import { findJemalloc, preloadWith } from './jemalloc.js';
import { raiseOomScore } from './oom-score.js';

const PRELOAD = new URL('../child/preload.js', import.meta.url).href;

export interface ForkOrder {
  config: Config;
  group: GroupConfig;
  slot: number;
  /** Children of the master now, of all groups. */
  count: number;
  generation: number;
  host: string;
  /** Where the registry and a swarm app's queues are. */
  redisUrl: string;
  /** The app is given `REDIS_URL` too if it has none. */
  redisIsEmbedded: boolean;
}

export interface Forked {
  process: ChildProcess;
  guard: ChannelGuard;
  pid: number;
  identity: string;
}

/** Forks; rejects with the system's error (EAGAIN, ENOMEM, EMFILE …) where it cannot. */
export async function forkChild(order: ForkOrder): Promise<Forked> {
  const { config, group, host } = order;
  const nonce = randomBytes(4).toString('hex');
  const env = childEnvironment(order, nonce);
  const limits = heapFlags(group, config.nodeArguments, env['NODE_OPTIONS']);
  const options: ForkOptions = {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', 'ipc', ...(config.watchdog ? (['pipe'] as const) : [])],
    execArgv: [...limits, ...config.nodeArguments, ...loaderArguments(config.app), '--import', PRELOAD],
    env,
  };
  const guard = new ChannelGuard();
  const child = guard.run(() => fork(config.app, config.appArguments, options));
  const { pid } = child;
  if (pid === undefined) {
    throw await new Promise<Error>((resolve) => {
      child.once('error', resolve);
    });
  }
  raiseOomScore(pid);
  return { process: child, guard, pid, identity: identityOf(host, pid, nonce) };
}

/**
 * What node needs to run a TypeScript app: nothing where node strips types itself, else the app's own
 * `tsx`.
 */
export function loaderArguments(app: string): string[] {
  const isTypeScript = ['.ts', '.mts', '.cts'].includes(extname(app));
  const stripsTypes = (process.features as { typescript?: unknown }).typescript;
  if (!isTypeScript || stripsTypes) return [];
  try {
    return ['--import', pathToFileURL(createRequire(app).resolve('tsx')).href];
  } catch (cause) {
    throw usageError(
      'SWARM_NO_TYPESCRIPT',
      `${app} is TypeScript, which Node ${process.versions.node} cannot run by itself: ` +
        'use Node 22.18 or later, install tsx beside the app (npm install tsx), or name the compiled .js file',
      cause,
    );
  }
}

function childEnvironment(order: ForkOrder, nonce: string): NodeJS.ProcessEnv {
  const { config, group, slot, count, generation, redisUrl } = order;
  const options: ChildOptions = {
    slot,
    group: group.name,
    host: order.host,
    nonce,
    concurrency: group.concurrency,
    queues: [...group.queues],
    prefix: config.prefix,
    redisUrl,
    redisTlsNoVerify: config.redisTlsNoVerify,
    drainTimeoutMs: config.drainTimeoutMs,
    watchdog: config.watchdog,
  };
  const own = { ...process.env, ...group.env };
  // a platform that has no URL to give may set an empty one
  const given = order.redisIsEmbedded && !own['REDIS_URL'] ? { REDIS_URL: redisUrl } : {};
  return {
    MALLOC_ARENA_MAX: '2',
    ...own,
    ...given,
    ...(config.jemalloc ? { LD_PRELOAD: preloadWith(findJemalloc(), own['LD_PRELOAD']) } : {}),
    SWARM_SLOT: String(slot),
    SWARM_GENERATION: String(generation),
    SWARM_COUNT: String(count),
    SWARM_MASTER_PID: String(process.pid),
    SWARM_REDIS_URL: redisUrl,
    SWARM_CHILD: JSON.stringify(options),
  };
}
