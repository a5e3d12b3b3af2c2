/** `swarm redis [cli|stop]`: the URL that producers need, a client on it, the end of the embedded server. */
import { spawn } from 'node:child_process';
import { redisError, usageError } from '../errors.js';
import { stateDirectory, stopEmbedded } from '../redis/embedded.js';
import { parseRedisUrl } from '../redis/url.js';
import { redisUrlOf } from './registry-access.js';
import type { RegistryCommandOptions } from './registry-options.js';
import { jsonText, type Screen, terminalScreen } from './screen.js';

export type RedisCommandOptions = RegistryCommandOptions & {
  action: 'url' | 'cli' | 'stop';
  /** Stop it also under masters that use it. */
  force?: boolean;
};

const CLIENTS = ['redis-cli', 'valkey-cli'];

/** Returns the exit code: of the client, for `cli`. Throws a `SwarmError` when no such Redis runs. */
export async function redisCommand(
  options: RedisCommandOptions,
  screen: Screen = terminalScreen(),
): Promise<number> {
  if (options.action === 'stop') return stop(options, screen);
  const url = await redisUrlOf(options);
  if (options.action === 'cli') return openClient(url, options.redisTlsNoVerify);
  await screen.print(options.json ? jsonText({ url }) : url);
  return 0;
}

async function stop({ redis, json, force = false }: RedisCommandOptions, screen: Screen): Promise<number> {
  if (redis !== null && redis !== 'embedded') {
    throw usageError(
      'SWARM_NOT_EMBEDDED',
      'swarm redis stop stops the embedded Redis only, and a Redis URL is set; leave out --redis and REDIS_URL, or give --redis embedded',
    );
  }
  const stopped = await stopEmbedded(stateDirectory(), { force });
  if (json) await screen.print(jsonText(stopped ?? { pid: null, otherClients: 0 }));
  else if (stopped === null) await screen.print(`No embedded Redis runs (looked in ${stateDirectory()})`);
  else
    await screen.print(
      `Stopped the embedded Redis (pid ${stopped.pid}, ${stopped.otherClients} connections); its data stays`,
    );
  return 0;
}

async function openClient(url: string, tlsNoVerify: boolean): Promise<number> {
  const { args, env } = clientCommand(url, tlsNoVerify);
  // The client handles Ctrl-C itself: it stops a command, not the session.
  const ignore = () => {};
  process.on('SIGINT', ignore);
  try {
    for (const name of CLIENTS) {
      const code = await runInTerminal(name, args, env);
      if (code !== 'missing') return code;
    }
  } finally {
    process.off('SIGINT', ignore);
  }
  throw redisError(
    'SWARM_NO_REDIS_CLI',
    'neither redis-cli nor valkey-cli is in PATH; install one (Debian, Ubuntu: apt install redis-tools; macOS: brew install redis), or use the URL that swarm redis prints',
  );
}

/** Arguments for `redis-cli`. The password goes into its environment: a command line is public. */
export function clientCommand(
  url: string,
  tlsNoVerify: boolean,
): { args: string[]; env: Record<string, string> } {
  const target = parseRedisUrl(url, '--redis');
  const args: string[] = [];
  if (target.kind === 'unix') args.push('-s', target.path);
  else {
    const node =
      target.kind === 'single' ? target : target.kind === 'cluster' ? target.nodes[0] : target.sentinels[0];
    if (node) args.push('-h', node.host, '-p', String(node.port));
    if (target.tls) args.push('--tls', ...(tlsNoVerify ? ['--insecure'] : []));
  }
  if (target.kind === 'cluster') args.push('-c');
  else if (target.kind !== 'sentinel' && target.db !== 0) args.push('-n', String(target.db));
  const [username, password] =
    target.kind === 'sentinel'
      ? [target.sentinelUsername, target.sentinelPassword]
      : [target.username, target.password];
  if (username !== null) args.push('--user', username);
  return { args, env: password === null ? {} : { REDISCLI_AUTH: password } };
}

function runInTerminal(
  name: string,
  args: string[],
  env: Record<string, string>,
): Promise<number | 'missing'> {
  return new Promise((resolve, reject) => {
    const client = spawn(name, args, { stdio: 'inherit', env: { ...process.env, ...env } });
    client.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') resolve('missing');
      else reject(error);
    });
    client.once('exit', (code) => resolve(code ?? 1));
  });
}
