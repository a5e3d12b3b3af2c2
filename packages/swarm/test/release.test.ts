import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it, type TestContext } from 'node:test';
import type { WorkerOptions as BullWorkerOptions, Job, JobsOptions, Queue, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { type BullWorker, redisIdOfWorker } from '../dist/child/bullmq.js';
import { Workers } from '../dist/child/workers.js';
import type { DeathNotice, Holding, JobRef } from '../dist/protocol.js';
import { type ReleaseOrder, releaseHoldings } from '../dist/recovery/release.js';
import { BULLMQ_RELEASES, type BullmqRelease } from './bullmq-releases.js';
import { redisOfSuite, type TestRedis } from './redis-server.js';

const DEAD = 'dead-worker:';

for (const bull of BULLMQ_RELEASES) {
  describe(`releasing with bullmq ${bull.version}`, () => {
    const own = redisOfSuite();
    const scene = (t: TestContext) => openScene(t, bull, own.redis, own.client);

    it('puts back what carries the dead token, uncharged, and nothing else', async (t) => {
      const { queue, held, other, siblings, release } = scene(t);
      const mine = await held({ attempts: 1 });
      const theirs = await other();
      const [sibling] = siblings(1);
      const { jobs, unserved } = await release(sibling);
      assert.deepEqual(unserved, []);
      assert.deepEqual(jobs, [
        { queue: queue.name, id: mine, name: 'job', outcome: 'released', blame: { exact: 0, shared: 0 } },
      ]);
      assert.equal(await queue.getJobState(mine), 'waiting');
      assert.equal((await queue.getJob(mine))?.attemptsMade, 0);
      assert.equal(await queue.getJobState(theirs), 'active');
      assert.deepEqual((await release(sibling)).jobs, []);
    });

    it('puts back what was reported and has no lock, even where a releaser died over it', async (t) => {
      const { queue, held, siblings, release, keyOf } = scene(t);
      const [lockless, borrowed, taken] = [await held(), await held(), await held()];
      await own.client.del(`${keyOf(lockless)}:lock`);
      await own.client.set(`${keyOf(borrowed)}:lock`, 'swarm-release:dead', 'PX', 10_000);
      await own.client.set(`${keyOf(taken)}:lock`, 'somebody:1', 'PX', 10_000);
      const [sibling] = siblings(1);
      const { jobs } = await release(sibling, { jobIds: [lockless, borrowed, taken] });
      assert.deepEqual(jobs.map(({ id }) => id).toSorted(), [lockless, borrowed].toSorted());
      assert.equal(await queue.getJobState(taken), 'active');
      assert.equal(await own.client.exists(`${keyOf(lockless)}:lock`, `${keyOf(borrowed)}:lock`), 0);
    });

    it('moves and charges each job once, however many release at once', async (t) => {
      const { held, siblings, release, waitingEvents, blameOf } = scene(t);
      const ids: string[] = [];
      for (let at = 0; at < 20; at += 1) ids.push(await held());
      const order = { death: death(), jobIds: ids };
      const answers = await Promise.all(siblings(3).map((sibling) => release(sibling, order)));
      const outcomes = answers.flatMap(({ jobs }) => jobs).filter(({ outcome }) => outcome === 'released');
      assert.deepEqual(outcomes.map(({ id }) => id).toSorted(), ids.toSorted());
      for (const id of ids) {
        assert.equal(await waitingEvents(id), 2, 'added, and put back');
        assert.deepEqual(await blameOf(id), { exact: 0, shared: 1 });
      }
    });

    it('leaves a job that finished normally as it is', async (t) => {
      const { queue, heldJob, siblings, release } = scene(t);
      const job = await heldJob();
      const id = job.id as string;
      const [sibling] = siblings(1);
      await job.moveToCompleted('done', `${DEAD}0`, false);
      assert.deepEqual((await release(sibling, { death: death(), jobIds: [id] })).jobs, []);
      assert.equal(await queue.getJobState(id), 'completed');

      // the same between the look and the move
      const late = await heldJob();
      const finishes = siblings(1)[0] as Workers;
      interceptMoves(finishes, async () => {
        await late.moveToCompleted('done', `${DEAD}0`, false).catch(() => {});
      });
      const { jobs } = await release(finishes);
      assert.deepEqual(
        jobs.map(({ outcome }) => outcome),
        ['finished'],
      );
      assert.equal(await queue.getJobState(late.id as string), 'completed');
    });

    it('keeps priorities, and an idle Worker sees the job', async (t) => {
      const { queue, held, siblings, release, toKey } = scene(t);
      const urgent = await held({ priority: 1 });
      const { id: later } = await queue.add('job', {}, { priority: 5 });
      await own.client.del(toKey('marker'));
      await release(siblings(1)[0] as Workers);
      assert.deepEqual(await own.client.zrange(toKey('prioritized'), '0', '-1'), [urgent, later]);
      assert.deepEqual(await own.client.zrange(toKey('marker'), '0', '-1'), ['0']);
    });

    it('touches no other state', async (t) => {
      const { queue, held, other, heldJob, siblings, release } = scene(t);
      const failed = await heldJob();
      await failed.moveToFailed(new Error('by itself'), `${DEAD}0`, false);
      const retried = await heldJob({ attempts: 3, backoff: 60_000 });
      await retried.moveToFailed(new Error('once'), `${DEAD}0`, false);
      const running = await other();
      const mine = await held();
      const { id: delayed } = await queue.add('job', {}, { delay: 60_000 });
      const { id: waiting } = await queue.add('job', {});
      const ids = [failed.id, retried.id, running, mine, delayed, waiting] as string[];
      await release(siblings(1)[0] as Workers, { death: death(), jobIds: ids });
      const states = await Promise.all(ids.map((id) => queue.getJobState(id)));
      assert.deepEqual(states, ['failed', 'delayed', 'active', 'waiting', 'delayed', 'waiting']);
      assert.equal((await queue.getJob(failed.id as string))?.failedReason, 'by itself');
    });

    it('puts a job of a paused queue where it stays until that resumes', async (t) => {
      const { queue, held, siblings, release, toKey, worker } = scene(t);
      const id = await held();
      await queue.pause();
      await own.client.del(toKey('marker'));
      await release(siblings(1)[0] as Workers);
      assert.equal(await queue.getActiveCount(), 0);
      assert.equal(await own.client.exists(toKey('marker')), 0, 'nobody is woken');
      assert.equal(await worker().getNextJob('x:1', { block: false }), undefined);
      await queue.resume();
      assert.equal((await worker().getNextJob('x:1', { block: false }))?.id, id);
    });

    it('puts a job of a rate-limited queue back, and the limit still holds', async (t) => {
      const limiter = { max: 1, duration: 60_000 };
      const { queue, held, siblings, release, worker } = scene(t);
      const id = await held({}, { limiter });
      await release(siblings(1)[0] as Workers);
      assert.equal(await queue.getJobState(id), 'waiting');
      assert.equal(await worker({ limiter }).getNextJob('x:1', { block: false }), undefined);
      assert.ok((await queue.getRateLimitTtl(1)) > 0);
    });

    it('tells exact deaths from shared ones, by what ran at the death', async (t) => {
      const { held, siblings, release, blameOf, again } = scene(t);
      const [sibling] = siblings(1);
      const first = await held();
      await release(sibling, { death: death() });
      assert.deepEqual(await blameOf(first), { exact: 1, shared: 0 });
      await again(first);
      const second = await held();
      await release(sibling, { death: death() });
      assert.deepEqual(
        [await blameOf(first), await blameOf(second)],
        [
          { exact: 1, shared: 1 },
          { exact: 0, shared: 1 },
        ],
      );
    });

    it('counts all queues of the dead child when it tells who was alone', async (t) => {
      const [one, two] = [scene(t), scene(t)];
      const [a, b] = [await one.held(), await two.held()];
      const [sibling] = one.siblings(1, two.queue.name);
      const order = {
        releaseId: 'dead',
        death: death(),
        quarantineAfter: 3,
        holdings: [one.holding(), two.holding()],
      };
      await releaseHoldings(sibling as Workers, order);
      assert.deepEqual(
        [await one.blameOf(a), await two.blameOf(b)],
        [
          { exact: 0, shared: 1 },
          { exact: 0, shared: 1 },
        ],
      );
    });

    it('clears jobs that only waited for their turn', async (t) => {
      const { queue, held, siblings, release, blameOf } = scene(t);
      const [ran, waits] = [await held(), await held()];
      const waiting = [ref(queue, waits)];
      await release(siblings(1)[0] as Workers, { death: { ...death(), waiting } });
      assert.deepEqual(
        [await blameOf(ran), await blameOf(waits)],
        [
          { exact: 1, shared: 0 },
          { exact: 0, shared: 0 },
        ],
      );
    });

    it('does not believe that all of them waited', async (t) => {
      const { queue, held, siblings, release, blameOf } = scene(t);
      const id = await held();
      await release(siblings(1)[0] as Workers, { death: { ...death(), waiting: [ref(queue, id)] } });
      assert.deepEqual(await blameOf(id), { exact: 1, shared: 0 });
    });

    it('blames the job alone that a dump names', async (t) => {
      const { queue, held, siblings, release, blameOf } = scene(t);
      const [named, beside] = [await held(), await held()];
      await release(siblings(1)[0] as Workers, {
        death: { ...death(), cause: 'stuck', pinned: ref(queue, named) },
      });
      assert.deepEqual(
        [await blameOf(named), await blameOf(beside)],
        [
          { exact: 1, shared: 0 },
          { exact: 0, shared: 0 },
        ],
      );
    });

    it('blames nobody for a stop, a lost host, or what came after the death', async (t) => {
      const { queue, held, siblings, release, blameOf } = scene(t);
      const [sibling] = siblings(1);
      for (const how of [{ ...death(), cause: 'stop-timeout' }, { ...death(), cause: 'host-lost' }, null]) {
        const id = await held();
        const { jobs } = await release(sibling, { death: how });
        assert.deepEqual(
          jobs.map(({ outcome }) => outcome),
          ['released'],
        );
        assert.deepEqual(await blameOf(id), { exact: 0, shared: 0 });
        await (await queue.getJob(id))?.remove();
      }
    });

    it('charges a death once, also when the first releaser died over it', async (t) => {
      const { held, siblings, release, blameOf, keyOf } = scene(t);
      const [dies, goesOn] = siblings(2) as [Workers, Workers];
      const ids = [await held(), await held()];
      interceptMoves(dies, () => Promise.reject(new Error('died here')));
      const same = death();
      await assert.rejects(release(dies, { death: same }), /died here/);
      for (const id of ids) assert.deepEqual(await blameOf(id), { exact: 0, shared: 1 });
      // one of them has been moved already: the other is not alone for that
      await own.client.set(`${keyOf(ids[0] as string)}:lock`, 'somebody:1');
      await release(goesOn, { death: same });
      for (const id of ids) assert.deepEqual(await blameOf(id), { exact: 0, shared: 1 });
    });

    it('fails a job for good at the third exact death, with the reason, and tells the app', async (t) => {
      const { queue, held, siblings, release, again, blameOf, keyOf } = scene(t);
      const [sibling] = siblings(1) as [Workers];
      const told: unknown[] = [];
      for (const worker of sibling.list) worker.on('failed', (...args: unknown[]) => told.push(args[1]));
      const id = await held({ attempts: 5, removeOnFail: false });
      const causes = ['oom-kill', 'signal', 'exit'];
      for (const [at, cause] of causes.entries()) {
        const detail = cause === 'signal' ? 'SIGSEGV' : '';
        const { jobs } = await release(sibling, { death: { ...death(), cause, detail } });
        const outcome = at < 2 ? 'released' : 'quarantined';
        assert.deepEqual(jobs, [
          { queue: queue.name, id, name: 'job', outcome, blame: { exact: at + 1, shared: 0 } },
        ]);
        if (at < 2) await again(id);
      }
      const job = await queue.getJob(id);
      assert.equal(await queue.getJobState(id), 'failed');
      assert.match(
        job?.failedReason ?? '',
        /^quarantined: its process died 3 times while it ran alone: oom-kill \S+ \S+Z, signal SIGSEGV \S+ \S+Z, exit \S+ \S+Z$/,
      );
      assert.equal(job?.attemptsMade, 1, 'failing counts as an attempt, as always with BullMQ');
      assert.equal(told.length, 1);
      assert.deepEqual(await blameOf(id), { exact: 3, shared: 0 });
      assert.equal(await own.client.exists(`${keyOf(id)}:lock`), 0);
      await job?.remove();
      assert.equal(await own.client.exists(keyOf(id)), 0, 'blame is gone with the job');
    });

    it('fails a job at the tenth shared death, and never when it is off', async (t) => {
      const { queue, held, siblings, release, again, blameOf } = scene(t);
      const [sibling] = siblings(1);
      const [id, beside] = [await held(), await held()];
      for (let at = 1; at <= 12; at += 1) {
        await release(sibling, { death: death(), quarantineAfter: null });
        await again(id, beside);
      }
      assert.deepEqual(await blameOf(id), { exact: 0, shared: 12 });
      assert.equal(await queue.getFailedCount(), 0);
      const { jobs } = await release(sibling, { death: death() });
      assert.deepEqual(
        jobs.map(({ outcome }) => outcome),
        ['quarantined', 'quarantined'],
      );
      assert.match(
        (await queue.getJob(id))?.failedReason ?? '',
        /^quarantined: its process died 13 times while it ran among others: /,
      );
    });

    it('lives with whatever stands in the fields of blame', async (t) => {
      const { held, siblings, release, blameOf, keyOf } = scene(t);
      const id = await held();
      await own.client.hset(keyOf(id), { swarmExact: 'many', swarmShared: '-1', swarmDeaths: '{"a' });
      const { jobs } = await release(siblings(1)[0] as Workers, { death: death() });
      assert.deepEqual(
        jobs.map(({ outcome }) => outcome),
        ['released'],
      );
      assert.equal((await blameOf(id)).exact, 1);
    });

    it('keeps a flow whole: a child that is released, and one that is quarantined', async (t) => {
      const { queue, siblings, release, connection, worker } = scene(t);
      const flows = new bull.module.FlowProducer({ connection });
      flows.on('error', () => {});
      t.after(() => flows.close());
      const child = (name: string, opts: JobsOptions) => ({ name, queueName: queue.name, data: {}, opts });
      const add = (name: string, opts: JobsOptions) =>
        flows.add({ name: 'parent', queueName: queue.name, children: [child(name, opts)] });
      const [sibling] = siblings(1);

      const { job: parent } = await add('job', {});
      const taken = await worker().getNextJob(`${DEAD}0`, { block: false });
      await release(sibling, { death: death() });
      assert.equal(await parent.getState(), 'waiting-children');
      const rerun = await worker().getNextJob('x:1', { block: false });
      assert.equal(rerun?.id, taken?.id);
      await rerun?.moveToCompleted('done', 'x:1', false);
      assert.equal(await queue.getJobState(parent.id as string), 'waiting');
      await (await queue.getJob(parent.id as string))?.remove();

      const { job: doomed } = await add('job', { failParentOnFailure: true });
      await worker().getNextJob(`${DEAD}0`, { block: false });
      const { jobs } = await release(sibling, { death: death(), quarantineAfter: 1 });
      assert.deepEqual(
        jobs.map(({ outcome }) => outcome),
        ['quarantined'],
      );
      // newer releases leave it to the parent's next run to fail
      const parentState = await queue.getJobState(doomed.id as string);
      assert.ok(['failed', 'waiting'].includes(parentState), parentState);
    });

    it('fails what was given up as if it had thrown: with its attempts counted, and without blame', async (t) => {
      const { queue, held, siblings, release, blameOf } = scene(t);
      const [last, more, later, other] = [
        await held(),
        await held({ attempts: 2 }),
        await held({ attempts: 2, backoff: 60_000 }),
        await held(),
      ];
      const [sibling] = siblings(1);
      const heard: string[] = [];
      for (const worker of sibling?.list ?? [])
        worker.on('failed', (job: Job) => heard.push(job.id as string));
      const givenUp = [last, more, later].map((id) => {
        return { queue: queue.name, id, startedAtMs: 1, reason: 'job timeout: it waits' };
      });
      const { jobs } = await release(sibling, { death: { ...death(), cause: 'job-timeout', givenUp } });
      assert.deepEqual(Object.fromEntries(jobs.map(({ id, outcome }) => [id, outcome])), {
        [last]: 'failed',
        [more]: 'failed',
        [later]: 'failed',
        [other]: 'released',
      });
      const states = await Promise.all([last, more, later, other].map((id) => queue.getJobState(id)));
      assert.deepEqual(states, ['failed', 'waiting', 'delayed', 'waiting']);
      const made = await Promise.all(
        [last, more, later, other].map(async (id) => (await queue.getJob(id))?.attemptsMade),
      );
      assert.deepEqual(made, [1, 1, 1, 0]);
      const failed = await queue.getJob(last);
      assert.equal(failed?.failedReason, 'job timeout: it waits');
      assert.deepEqual(await blameOf(last), { exact: 0, shared: 0 });
      assert.deepEqual(heard.toSorted(), [last, more, later].toSorted());
    });

    it('names the queues that it does not serve', async (t) => {
      const { siblings, holding } = scene(t);
      const order = {
        releaseId: 'dead',
        death: null,
        quarantineAfter: 3,
        holdings: [{ ...holding(), queue: 'other' }],
      };
      assert.deepEqual(await releaseHoldings(siblings(1)[0] as Workers, order), {
        jobs: [],
        unserved: ['other'],
      });
    });
  });
}

let deaths = 0;

function death(): DeathNotice {
  return {
    id: `host:${++deaths}:x`,
    cause: 'signal',
    detail: 'SIGKILL',
    atMs: Date.now(),
    waiting: [],
    pinned: null,
  };
}

function ref(queue: Queue, id: string): JobRef {
  return { queue: queue.name, id };
}

/** Runs `before` when a job is about to be put back. */
function interceptMoves(workers: Workers, before: () => Promise<void>): void {
  for (const worker of workers.list) {
    const { Job } = worker;
    class Intercepted extends (Job as unknown as typeof import('bullmq').Job) {
      override async moveToWait(token?: string) {
        await before();
        return super.moveToWait(token);
      }
    }
    Object.defineProperty(worker, 'Job', { value: Intercepted });
  }
}

type WorkerOptions = Partial<BullWorkerOptions>;

/** One queue with a dead child's jobs, and siblings who can release them. */
function openScene(t: TestContext, { module }: BullmqRelease, { port }: TestRedis, client: Redis) {
  const connection = { host: '127.0.0.1', port };
  const queue = new module.Queue(`q${randomBytes(4).toString('hex')}`, { connection });
  t.after(() => queue.close());
  const toKey = (type: string): string => queue.toKey(type);
  const worker = (options: WorkerOptions = {}, name = queue.name): Worker => {
    const made = new module.Worker(name, async () => {}, { ...options, connection, autorun: false });
    t.after(() => made.close());
    return made;
  };
  const fetchAs = async (token: string, options: WorkerOptions = {}): Promise<Job> => {
    const job = await worker(options).getNextJob(token, { block: false });
    assert.ok(job, 'there is a job to fetch');
    return job;
  };
  const heldJob = async (options: JobsOptions = {}, workerOptions: WorkerOptions = {}): Promise<Job> => {
    const { id } = await queue.add('job', {}, options);
    const job = await fetchAs(`${DEAD}0`, workerOptions);
    assert.equal(job.id, id);
    return job;
  };
  const redisId = redisIdOfWorker(worker() as unknown as BullWorker);
  const holding = (jobIds: string[] = []): Holding => {
    return { queue: queue.name, prefix: 'bull', redisId, tokenPrefixes: [DEAD], jobIds };
  };
  return {
    connection,
    queue,
    toKey,
    keyOf: toKey,
    worker,
    holding,
    heldJob,
    /** A job that the dead child held; its id. */
    held: async (options: JobsOptions = {}, workerOptions: WorkerOptions = {}): Promise<string> => {
      return (await heldJob(options, workerOptions)).id as string;
    },
    /** A job that somebody else runs. */
    other: async (): Promise<string> => {
      const { id } = await queue.add('job', {});
      assert.equal((await fetchAs('somebody:1')).id, id);
      return id as string;
    },
    /** Jobs that were put back run again, in a child that dies too. */
    again: async (...ids: string[]): Promise<void> => {
      const jobs: Job[] = [];
      for (const _ of ids) jobs.push(await fetchAs(`${DEAD}0`));
      assert.deepEqual(jobs.map(({ id }) => id).toSorted(), ids.toSorted());
    },
    /** Living children, each with a Worker of this queue (and of others). */
    siblings: (count: number, ...others: string[]): Workers[] =>
      Array.from({ length: count }, () => {
        const workers = new Workers(null, {
          onStarted: () => {},
          onEnded: () => {},
          onStaleEnd: () => {},
          onOpenEnd: () => {},
          onTrouble: () => {},
        });
        for (const name of [queue.name, ...others]) workers.add(worker({}, name) as unknown as BullWorker);
        return workers;
      }),
    release: (
      by: Workers | undefined,
      { jobIds = [], ...order }: Partial<ReleaseOrder> & { jobIds?: string[] } = {},
    ) => {
      const full = {
        releaseId: 'dead',
        death: null,
        quarantineAfter: 3,
        holdings: [holding(jobIds)],
        ...order,
      };
      return releaseHoldings(by as Workers, full);
    },
    waitingEvents: async (id: string): Promise<number> => {
      const events = await client.xrange(toKey('events'), '-', '+');
      return events.filter(
        ([, fields]) =>
          fields[fields.indexOf('event') + 1] === 'waiting' && fields[fields.indexOf('jobId') + 1] === id,
      ).length;
    },
    blameOf: async (id: string) => {
      const [exact, shared] = await client.hmget(toKey(id), 'swarmExact', 'swarmShared');
      return { exact: Number(exact ?? 0), shared: Number(shared ?? 0) };
    },
  };
}
