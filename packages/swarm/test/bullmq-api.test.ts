/**
 * What swarm relies on in BullMQ, as BullMQ declares it. An upgrade that changes any of it fails here, by name, and not in
 * a child in production. What a new release does behind the same declarations, `bullmq-features.test.ts` tells.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { BULLMQ_RELEASES } from './bullmq-releases.js';
import { redisOfSuite } from './redis-server.js';

const require = createRequire(import.meta.url);
const WORKER = 'Job<DataType, ResultType, NameType>';

/** Class file → member → its declaration. */
type Api = Record<string, Record<string, string>>;

const COMMON: Api = {
  worker: {
    id: 'readonly id: string',
    lockManager: 'protected lockManager: LockManager',
    run: 'run(): Promise<void>',
    processJob: `processJob(job: ${WORKER}, token: string, fetchNextCallback?: () => boolean): Promise<void | ${WORKER}>`,
    startStalledCheckTimer: 'startStalledCheckTimer(): Promise<void>',
    pause: 'pause(doNotWaitActive?: boolean): Promise<void>',
    isPaused: 'isPaused(): boolean',
    close: 'close(force?: boolean): Promise<void>',
    cancelJob: 'cancelJob(jobId: string, reason?: string): boolean',
    cancelAllJobs: 'cancelAllJobs(reason?: string): void',
  },
  'queue-base': { name: 'readonly name: string', toKey: 'toKey: (type: string) => string' },
  'lock-manager': { start: 'start(): void', untrackJob: 'untrackJob(jobId: string): void' },
  job: {
    moveToWait: 'moveToWait(token?: string): Promise<number>',
    moveToDelayed: 'moveToDelayed(timestamp: number, token?: string): Promise<void>',
    moveToFailed:
      'moveToFailed<E extends Error>(err: E, token: string, fetchNext?: boolean): Promise<void | any[]>',
  },
};
const EXEC_COMMAND =
  'execCommand(client: RedisClient | IRedisTransaction, commandName: string, args: any[]): any';

const OF_MAJOR: Record<'bullmq' | 'bullmq5', Api> = {
  bullmq: {
    worker: {
      waitUntilReady: 'waitUntilReady(): Promise<void>',
      resume: 'resume(): Promise<void>',
      moveToActive: `protected moveToActive(token: string, name?: string): Promise<${WORKER}>`,
      nextJobFromJobData: `protected nextJobFromJobData(jobData?: JobJson, jobId?: string, token?: string): Promise<${WORKER}>`,
    },
    'queue-base': { getBackend: 'getBackend(): B' },
    'redis-queue-backend': { execCommand: EXEC_COMMAND, client: 'get client(): Promise<RedisClient>' },
  },
  bullmq5: {
    worker: {
      waitUntilReady: 'waitUntilReady(): Promise<RedisClient>',
      resume: 'resume(): void',
      moveToActive: `protected moveToActive(client: RedisClient, token: string, name?: string): Promise<${WORKER}>`,
      nextJobFromJobData: `protected nextJobFromJobData(jobData?: JobJsonRaw, jobId?: string, token?: string): Promise<${WORKER}>`,
    },
    'queue-base': { scripts: 'scripts: Scripts', client: 'get client(): Promise<RedisClient>' },
    scripts: { execCommand: EXEC_COMMAND },
  },
};

for (const name of ['bullmq', 'bullmq5'] as const) {
  const { version } = require(`${name}/package.json`) as { version: string };
  describe(`what swarm relies on in ${name} ${version}`, () => {
    const classes = join(dirname(require.resolve(`${name}/package.json`)), 'dist/esm/classes');
    for (const api of [COMMON, OF_MAJOR[name]]) {
      for (const [file, members] of Object.entries(api)) {
        const text = readFileSync(join(classes, `${file}.d.ts`), 'utf8');
        for (const [member, expected] of Object.entries(members)) {
          it(`${file}: ${member}`, () => {
            assert.equal(
              declarationOf(text, member),
              expected,
              `bullmq ${version} has changed ${file} ${member}: see what packages/swarm/src/{fetch,child,recovery} do with it`,
            );
          });
        }
      }
    }
  });
}

/** Without the type of progress, which 6.x added. */
function declarationOf(text: string, member: string): string | undefined {
  const line = text.split('\n').find((candidate) => {
    return new RegExp(`^    (?:(?:protected|private|static|readonly|get) )*${member}\\b`).test(candidate);
  });
  return line?.trim().replace(/;$/, '').replaceAll(', ProgressType>', '>');
}

for (const { version, module } of BULLMQ_RELEASES) {
  describe(`the keys of bullmq ${version}`, () => {
    const own = redisOfSuite();

    it('are those that look.lua and the markers go by', async (t) => {
      const queue = new module.Queue('keys', { connection: { port: own.redis.port } });
      t.after(() => queue.close());
      const key = (type: string): string => queue.toKey(type);
      const marker = () => own.client.zrange(key('marker'), '0', '-1', 'WITHSCORES');
      const later = await queue.add('job', {}, { delay: 3_600_000 });
      const dueAtMs = later.timestamp + 3_600_000;
      const [, score] = await own.client.zrange(key('delayed'), '0', '0', 'WITHSCORES');
      assert.equal(Math.floor(Number(score) / 0x1000), dueAtMs, 'delayed jobs are scored by time × 4096');
      assert.deepEqual((await marker()).map(Number), [1, dueAtMs], 'a delayed job has a marker');
      await queue.add('job', {});
      await queue.add('job', {}, { priority: 3 });
      assert.deepEqual((await marker()).slice(0, 2).map(Number), [0, 0], 'jobs have a marker');
      assert.equal(await own.client.llen(key('wait')), 1);
      assert.equal(await own.client.zcard(key('prioritized')), 1);
      await queue.pause();
      assert.equal(await own.client.hexists(key('meta'), 'paused'), 1, 'a paused queue says so');
      await queue.setGlobalConcurrency(2);
      assert.equal(await own.client.hget(key('meta'), 'concurrency'), '2');
    });
  });
}
