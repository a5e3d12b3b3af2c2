/** Runs a swarm app in this child: boots it, takes its queues, and says how to close it. */
import type { ChildOptions } from '../child-options.js';
import { usageError } from '../errors.js';
import { missingForAlone } from '../fetch/alone-worker.js';
import type { Consumer } from '../fetch/consumer.js';
import type { AppQueue } from '../fetch/job-run.js';
import { MultiConsumer } from '../fetch/multi-consumer.js';
import { missingForQueueWorkers } from '../fetch/queue-worker.js';
import { StockConsumer } from '../fetch/stock-consumer.js';
import type { JobRef } from '../protocol.js';
import { wake } from '../recovery/move-job.js';
import { type ConnectionRole, connect, type RedisClient } from '../redis/connect.js';
import { parseRedisUrl, type RedisTarget } from '../redis/url.js';
import { appQueues } from './app-queues.js';
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
  const target = parseRedisUrl(options.redisUrl, '--redis');
  if (target.kind === 'cluster') checkPrefix(options.prefix);
  const open = (role: ConnectionRole, name: string): RedisClient =>
    connect(target, { name, role, tlsNoVerify: options.redisTlsNoVerify });
  const client = open('jobs', 'swarm-child');
  const gateAround = { identity, client, connect: (name: string) => open('blocking', name) };
  const queues = appQueues(app.options, options, (limit) => limit.openGate(gateAround));
  const closeBoot = await app.options.boot?.();
  const consumer = consumerOf({ queues, target, client, bullmq, open }, around);
  await consumer.start();
  return async (force) => {
    await consumer.close(force);
    if (typeof closeBoot === 'function') await closeBoot();
  };
}

interface ConsumerParts {
  queues: readonly AppQueue[];
  target: RedisTarget;
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

/** One blocking call waits for all queues, so on a cluster they must share a slot. */
function checkPrefix(prefix: string): void {
  if (/\{[^}]+\}/.test(prefix)) return;
  throw usageError(
    'SWARM_BAD_PREFIX',
    `--prefix needs a hash tag on Redis Cluster, so that all queues of a child are in one slot, got ${JSON.stringify(prefix)}: ` +
      `use for example --prefix {${prefix.replace(/[{}]/g, '') || 'bull'}}, with the same prefix wherever jobs are added`,
  );
}
