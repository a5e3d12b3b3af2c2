/** A master from its first line to its exit code: finds its Redis, looks at it, then supervises. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Config } from './config.js';
import { dynoName } from './config-dyno.js';
import { EXIT, type ExitCode, redisError, SwarmError, usageError } from './errors.js';
import { identityOf } from './identity.js';
import { createLogger, type Logger } from './log.js';
import { Connections, USUAL_CONNECTIONS } from './master/connections.js';
import type { Onlooker } from './master/onlookers.js';
import { MasterShell } from './master/shell.js';
import { OutputSink } from './output-sink.js';
import { ServiceManager, takeServiceSettings } from './platform/service-manager.js';
import { startWarnings } from './platform/start-warnings.js';
import { loaderArguments } from './process/fork.js';
import { findJemalloc } from './process/jemalloc.js';
import { readOomGroups } from './process/oom-group.js';
import { isSameProcess, rawHostName, readBootId, readPidNamespace, readStartTicks } from './process/proc.js';
import { orphansOf } from './recovery/predecessors.js';
import { checkRedis } from './redis/checks.js';
import { type ConnectionRole, connect, type RedisClient } from './redis/connect.js';
import type { EmbeddedServer } from './redis/embedded.js';
import { explainFailure } from './redis/failure.js';
import type { EmbeddedKeeper } from './redis/keeper.js';
import { resolveRedis } from './redis/resolve.js';
import { stateDirectory } from './redis/state.js';
import { addressOf, parseRedisUrl, redactUrl, redisIdOf } from './redis/url.js';
import { CommandListener } from './registry/command-listener.js';
import { DeathStream } from './registry/death-stream.js';
import { DumpStream } from './registry/dump-stream.js';
import { findPredecessors } from './registry/predecessors.js';
import { readSnapshot } from './registry/reader.js';
import { Rescue } from './registry/rescue.js';
import type { MasterInfo } from './registry/schema.js';
import { RegistryWriter } from './registry/writer.js';

/** Connections' names begin with it; the embedded server's other clients are those whose names do not. */
const CLIENT_NAME = 'swarm-master';
/** A program that embeds masters may start several. */
let mastersHere = 0;
const FLUSH_MS = 1_000;

/** Runs a master until it is stopped. Throws a `SwarmError` when it cannot start, or its app cannot. */
export async function runMaster(config: Config): Promise<ExitCode> {
  const sink = new OutputSink();
  const log = createLogger({ format: config.logFormat, level: config.logLevel, sink });
  try {
    const service = takeServiceSettings(process.env, process.pid);
    const onlookers = service ? [new ServiceManager(service, log)] : [];
    return await runMasterWithin(config, { log, onlookers });
  } finally {
    await sink.flush(FLUSH_MS);
  }
}

/** What a master is run within: a process of its own, or somebody else's. */
export interface Surroundings {
  log: Logger;
  onlookers?: readonly Onlooker[];
  /** Default true. */
  listensToSignals?: boolean;
  /** It is about to run, and takes commands. */
  onShell?: (shell: MasterShell) => void;
}

/** The same, with a log and onlookers of the caller's. */
export async function runMasterWithin(config: Config, around: Surroundings): Promise<ExitCode> {
  warnAtStart(config, around.log);
  const onlookers = [...(around.onlookers ?? [])];
  const { port, host } = config;
  let useForMetrics: (client: RedisClient) => void = () => {};
  if (port !== null) {
    const [{ HttpDoor }, { LimitCollector }, { QueueCollector }] = await Promise.all([
      import('./http/index.js'),
      import('./http/limit-metrics.js'),
      import('./http/queue-metrics.js'),
    ]);
    const collectors = [new LimitCollector(), new QueueCollector(config.namespace)];
    useForMetrics = (client) => {
      for (const collector of collectors) collector.use(client);
    };
    onlookers.push(await HttpDoor.open({ port, host, collectors }, around.log));
  }
  try {
    return await withRedis(config, around.log, (redis) => {
      useForMetrics(redis.client);
      return supervise(config, redis, { ...around, onlookers });
    });
  } finally {
    await Promise.allSettled(onlookers.map(async (onlooker) => onlooker.close?.()));
  }
}

function warnAtStart(config: Config, log: Logger): void {
  const warnings = startWarnings(config, { env: process.env, pid: process.pid, oomGroups: readOomGroups() });
  const [first] = warnings;
  if (first && config.strict) throw usageError(first.code, `${first.message} (an error because of --strict)`);
  for (const { code, message } of warnings) log.warn(message, { code });
}

async function startOwnRedis(log: Logger): Promise<EmbeddedServer> {
  const { startEmbedded } = await import('./redis/embedded.js');
  return startEmbedded({ stateDir: stateDirectory(), log: (level, text) => log[level](text) });
}

interface UsableRedis {
  client: RedisClient;
  /** Another connection, for commands that block. */
  openBlocking(): RedisClient;
  url: string;
  isEmbedded: boolean;
}

async function withRedis(
  config: Config,
  log: Logger,
  use: (redis: UsableRedis) => Promise<ExitCode>,
): Promise<ExitCode> {
  // before anything is started: a mistake here is the commonest, and costs nothing to find
  loaderArguments(config.app);
  if (config.jemalloc) findJemalloc();
  const choice = resolveRedis({ redis: config.redis, env: process.env, pid: process.pid });
  const embedded = choice.kind === 'embedded' ? await startOwnRedis(log) : null;
  const url = choice.kind === 'embedded' ? (embedded as EmbeddedServer).url : choice.url;
  mastersHere += 1;
  const name = `${CLIENT_NAME}-${process.pid}${mastersHere > 1 ? `.${mastersHere}` : ''}`;
  const open = (role: ConnectionRole, name: string): RedisClient => {
    return connect(parseRedisUrl(url, '--redis'), { name, role, tlsNoVerify: config.redisTlsNoVerify });
  };
  const client = open('registry', name);
  let keeper: EmbeddedKeeper | null = null;
  try {
    const { version } = await check(client, url, config, log);
    if (embedded) {
      const { EmbeddedKeeper } = await import('./redis/keeper.js');
      keeper = new EmbeddedKeeper(client, stateDirectory(), log);
    }
    log.info(
      embedded
        ? 'Redis: an embedded one, as none was named (--redis URL or REDIS_URL names another)'
        : 'Redis',
      {
        url: redactUrl(url),
        version,
        server: embedded?.server,
      },
    );
    return await use({
      client,
      openBlocking: () => open('blocking', `${name}-commands`),
      url,
      isEmbedded: embedded !== null,
    });
  } finally {
    keeper?.close();
    client.disconnect();
    await embedded?.stopIfUnused({ ownName: name }).catch((error: unknown) => {
      log.warn('the embedded Redis was not stopped', { error: String(error) });
    });
  }
}

async function check(
  client: RedisClient,
  url: string,
  config: Config,
  log: Logger,
): Promise<{ version: string }> {
  const onLoading = ({ percent }: { percent: number | null }): void => {
    log.info('Redis loads its data', { done: percent === null ? undefined : `${Math.round(percent)}%` });
  };
  const children = config.groups.reduce((sum, { count }) => sum + count, 0);
  // the master's own two, and one child more than usual while a roll goes on
  const clientsNeeded = 2 + USUAL_CONNECTIONS * (children + 1);
  const { version, warnings } = await checkRedis(client, url, { onLoading, clientsNeeded });
  const [first] = warnings;
  if (first && config.strict) throw redisError(first.code, `${first.message} (an error because of --strict)`);
  for (const { code, message } of warnings) log.warn(message, { code });
  return { version };
}

async function supervise(config: Config, redis: UsableRedis, around: Surroundings): Promise<ExitCode> {
  const { log, onlookers = [], listensToSignals = true } = around;
  const info = masterInfo(config, redis.url);
  const writer = new RegistryWriter(redis.client, config.namespace);
  const { masters } = await readSnapshot(redis.client, config.namespace).catch((error: unknown) => {
    throw explainFailure(error, redactUrl(redis.url)).error;
  });
  const predecessors = findPredecessors(masters, info, (pid, startTicks) => !isSameProcess(pid, startTicks));
  for (const { identity, children } of predecessors) {
    log.warn('a master that ran on this host left jobs behind; they are released', {
      master: identity,
      children: children.length,
    });
  }
  const count = config.groups.reduce((sum, group) => sum + group.count, 0);
  const programs = process.env['REDIS_URL'];
  if (programs && programs !== redis.url) {
    log.warn(
      'REDIS_URL names another Redis than the registry is on: a program that reads it has its queues there',
      {
        registry: redactUrl(redis.url),
        program: redactUrl(programs),
      },
    );
  }
  log.info('starting', {
    pid: info.pid,
    app: config.app,
    count,
    identity: info.identity,
    version: info.version,
    node: info.node,
  });
  const connections = new Connections(redis.client, log);
  const shell = new MasterShell({
    config,
    info,
    log,
    writer,
    deathStream: new DeathStream(redis.client, config.namespace),
    dumpStream: new DumpStream(redis.client, config.namespace),
    redisUrl: redis.url,
    redisIsEmbedded: redis.isEmbedded,
    orphans: orphansOf(predecessors),
    rescue: new Rescue(redis.client, config.namespace, info.identity),
    onlookers: [...onlookers, connections],
    listensToSignals,
  });
  around.onShell?.(shell);
  const listener = new CommandListener({
    blocking: redis.openBlocking(),
    writing: redis.client,
    namespace: config.namespace,
    identity: info.identity,
    log,
    onCommand: (command, reply) => shell.command(command, reply),
  });
  listener.start();
  const code = await shell.run().finally(() => {
    connections.close();
    return listener.close();
  });
  if (code === EXIT.appFailed) throw appFailed(config, shell);
  if (code === EXIT.usage) throw badUsage(shell.appError ?? '');
  log.info('stopped', { exit: code });
  return code;
}

function appFailed(
  config: Config,
  { appError, appNeverWorks }: Pick<MasterShell, 'appError' | 'appNeverWorks'>,
): SwarmError {
  const why = appError ?? 'its process ended without a word; its output above may say more';
  const how = appNeverWorks
    ? 'the app does not boot, and was not tried again: it ran to its end'
    : 'the app failed to boot three times in each slot, and never booted';
  return new SwarmError('SWARM_APP_FAILED', `${how} (${config.app}):\n${why}`, { exitCode: EXIT.appFailed });
}

/** What a child could not be told to run, in its own words: they begin with the code. */
function badUsage(said: string): SwarmError {
  const [, code = 'SWARM_BAD_USAGE', message = said] = /^(SWARM_[A-Z_]+): (.*)$/s.exec(said) ?? [];
  return usageError(code, message);
}

function masterInfo(config: Config, url: string): MasterInfo {
  const host = dynoName(process.env) ?? rawHostName();
  const { redis, appArguments: _, groups, ...rest } = config;
  return {
    identity: identityOf(host, process.pid, randomBytes(4).toString('hex')),
    host,
    bootId: readBootId(),
    pidNamespace: readPidNamespace(),
    pid: process.pid,
    pidStartTicks: readStartTicks(process.pid),
    startedAtMs: Date.now() - Math.round(process.uptime() * 1_000),
    version: ownVersion(),
    node: process.versions.node,
    tag: config.tag,
    labels: [...config.labels],
    app: config.app,
    redisId: redisIdOf(addressOf(parseRedisUrl(url, '--redis'))),
    config: {
      ...rest,
      redis: redis === null ? null : redactUrl(redis),
      // a group's environment is where secrets live: only the names are published
      groups: groups.map(({ env, ...group }) => ({ ...group, env: Object.keys(env) })),
    },
  };
}

function ownVersion(): string {
  const file = new URL('../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
