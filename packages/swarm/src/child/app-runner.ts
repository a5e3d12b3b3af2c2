/** Runs a swarm app in this child: boots it, takes its queues, and says how to close it. */
import type { ChildOptions } from '../child-options.js';
import { usageError } from '../errors.js';
import { missingForAlone } from '../fetch/alone-worker.js';
import type { Consumer } from '../fetch/consumer.js';
import type { AppQueue } from '../fetch/job-run.js';
import { MultiConsumer } from '../fetch/multi-consumer.js';
import { missingForQueueWorkers } from '../fetch/queue-worker.js';
import { StockConsumer } from '../fetch/stock-consumer.js';
import { provideSurroundings } from '../limiter/meeting.js';
import type { JobRef, QueueTimeout } from '../protocol.js';
import { wake } from '../recovery/move-job.js';
import { type ConnectionRole, connect, type RedisClient } from '../redis/connect.js';
import { parseRedisUrl } from '../redis/url.js';
import { appQueues, lostWeights, queueTimeouts } from './app-queues.js';
import type { AppDefinition } from './app-registration.js';
import type { FoundBullmq } from './bullmq.js';
import type { Workers } from './workers.js';

const DEFAULT_CONCURRENCY = 5;

export interface AppSurroundings {
  warn(message: string): void;
  options: ChildOptions;
  /** The child's. */
  identity: string;
  bullmq: FoundBullmq | null;
  appFile: string;
  workers: Pick<Workers, 'share' | 'add' | 'abort' | 'abortSignalOf'>;
  /** Jobs that wait for their turn to run alone. */
  onWaiting(jobs: readonly JobRef[]): void;
  /** Before it takes its first job. */
  onConsumer(consumer: Consumer): void;
  /** Of the queues that have one of their own. */
  onJobTimeouts(queues: readonly QueueTimeout[]): void;
}

/** Resolves when every queue is taken; the result closes the app, with `force` whatever still runs. */
export async function runApp(
  app: AppDefinition,
  around: AppSurroundings,
): Promise<(force: boolean) => Promise<void>> {
  const { options, bullmq, identity } = around;
  if (!bullmq) {
    throw new Error(
      `no bullmq to be found from ${around.appFile}: install it beside the app (npm install bullmq)`,
    );
  }
  const timeouts = queueTimeouts(app.options, options);
  const target = parseRedisUrl(options.redisUrl, '--redis');
  if (target.kind === 'cluster') checkClusterPrefix(options.prefix);
  const open = (role: ConnectionRole, name: string): RedisClient =>
    connect(target, { name, role, tlsNoVerify: options.redisTlsNoVerify });
  const client = open('jobs', 'swarm-child');
  const connectAs = (name: string): RedisClient => open('blocking', name);
  provideSurroundings({ client, connect: connectAs });
  const gateAround = { identity, client, connect: connectAs };
  const queues = appQueues(app.options, options, (limit) => limit.openGate(gateAround));
  const lost = lostWeights(app.options, options);
  if (lost !== null) around.warn(lost);
  if (timeouts.length > 0) around.onJobTimeouts(timeouts);
  const closeBoot = await app.options.boot?.();
  const consumer = consumerOf({ queues, client, bullmq, open }, around);
  around.onConsumer(consumer);
  await consumer.start();
  return async (force) => {
    await consumer.close(force);
    if (typeof closeBoot === 'function') await closeBoot();
  };
}

interface ConsumerParts {
  queues: readonly AppQueue[];
  client: RedisClient;
  bullmq: FoundBullmq;
  open(role: ConnectionRole, name: string): RedisClient;
}

function consumerOf({ queues, client, bullmq, open }: ConsumerParts, around: AppSurroundings): Consumer {
  const { options, workers, onWaiting } = around;
  const concurrency = options.concurrency ?? DEFAULT_CONCURRENCY;
  const common = {
    bullmq: bullmq.module,
    prefix: options.prefix,
    concurrency,
    abortSignalOf: workers.abortSignalOf.bind(workers),
    onWaiting,
    wake,
  };
  const missing = missingForQueueWorkers(bullmq.module);
  if (missing === null) {
    workers.share(concurrency);
    return new MultiConsumer({
      ...common,
      client,
      blocking: open('blocking', 'swarm-child-wait'),
      queues,
      abort: workers.abort.bind(workers),
      onWorker: workers.add.bind(workers),
    });
  }
  fallBack(`bullmq ${bullmq.version} has no ${missing}`, queues, around);
  const lacksAlone = missingForAlone(bullmq.module);
  if (lacksAlone)
    around.warn(`bullmq ${bullmq.version} has no ${lacksAlone}: jobs to blame for a death do not run alone`);
  return new StockConsumer({ ...common, connection: client, queues });
}

/** What cannot be had is said; what must not be ignored is refused. */
function fallBack(why: string, queues: readonly AppQueue[], { warn }: AppSurroundings): void {
  const limited = queues.find(
    ({ gate, maxActive, nameGates }) => gate || maxActive !== null || nameGates.size > 0,
  );
  const cure = 'update bullmq to 5.41 or later';
  if (limited) {
    throw usageError(
      'SWARM_BULLMQ_TOO_OLD',
      `queue ${limited.name} has a limit or maxActive, which cannot be kept: ${why}; ${cure}`,
    );
  }
  const isWeighted = queues.some(({ weight }) => weight !== null);
  warn(
    `${why}: each queue has a Worker of its own, so --concurrency holds for each queue` +
      `${isWeighted ? ', weights have no effect' : ''} and queues have no order; ${cure}`,
  );
}

/** One blocking call waits for all queues, and what it names must be in one slot: all keys of all queues. */
function checkClusterPrefix(prefix: string): void {
  if (/\{[^{}]+\}/.test(prefix)) return;
  throw usageError(
    'SWARM_CLUSTER_PREFIX',
    `--prefix ${JSON.stringify(prefix)} has no hash tag, and on Redis Cluster the keys of the queues must ` +
      `share one: --prefix '{${prefix}}' (producers: prefix: '{${prefix}}')`,
  );
}
