/** What the consumer of a child's queues adds to BullMQ. */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Job } from 'bullmq';
import type { FetchGate, Lease } from '../dist/fetch/gate.js';
import { BULLMQ_RELEASES } from './bullmq-releases.js';
import { openScene } from './consumer-scene.js';
import { redisOfSuite, until } from './redis-server.js';

/** At most `room` at once. */
class CountingGate implements FetchGate {
  taken = 0;
  peak = 0;
  asked = 0;
  cancelled = 0;
  withdrawn = 0;
  isClosed = false;
  #wanted = false;
  #onRoom = (): void => {};

  constructor(readonly room: number) {}

  async tryAcquire(): Promise<Lease | null> {
    this.asked += 1;
    if (this.taken >= this.room) {
      this.#wanted = true;
      return null;
    }
    this.taken += 1;
    this.peak = Math.max(this.peak, this.taken);
    const give = (): void => {
      this.taken -= 1;
      if (this.#wanted) setImmediate(() => this.#onRoom());
      this.#wanted = false;
    };
    const cancel = (): void => {
      this.cancelled += 1;
      give();
    };
    return { release: give, cancel };
  }

  onRoom(listener: () => void): void {
    this.#onRoom = listener;
  }

  withdraw(): void {
    this.withdrawn += 1;
    this.#wanted = false;
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }
}

for (const bull of BULLMQ_RELEASES) {
  describe(`the consumer of a child's queues with bullmq ${bull.version}`, () => {
    const own = redisOfSuite();
    const scene = (t: TestContext, count = 1) => openScene(t, bull, own.redis.port, count);
    const fill = (count: number, data: object = {}) =>
      Array.from({ length: count }, () => ({ name: 'job', data }));

    it('has two connections, however many queues', async (t) => {
      const { consume } = scene(t, 12);
      const count = async (): Promise<number> =>
        Number(/connected_clients:(\d+)/.exec(await own.client.info('clients'))?.[1]);
      // those of the queues are open
      await sleep(200);
      const before = await count();
      await consume(() => {});
      await until(async () => (await count()) === before + 2, 'it has two connections');
      await sleep(200);
      assert.equal(await count(), before + 2);
    });

    it('never runs more at once than it has places, over all queues', async (t) => {
      const { queues, consume } = scene(t, 4);
      for (const queue of queues) await queue.addBulk(fill(50));
      let ended = 0;
      const { peak } = await consume(
        async () => {
          await sleep(2);
          ended += 1;
        },
        { concurrency: 6 },
      );
      await until(() => ended === 200, 'all end', 20_000);
      assert.equal(peak(), 6);
      const active = await Promise.all(queues.map((queue) => queue.getActiveCount()));
      assert.deepEqual(active, [0, 0, 0, 0]);
    });

    it('strict: takes from a queue only what those before it do not have', async (t) => {
      const { queue, queues, consume } = scene(t, 3);
      for (const each of queues) await each.addBulk(fill(30));
      const order: string[] = [];
      await consume((job) => void order.push(job.queueName), { concurrency: 1 });
      await until(() => order.length === 90, 'all run', 20_000);
      assert.deepEqual(
        order,
        queues.flatMap(({ name }) => Array.from({ length: 30 }, () => name)),
      );
      // what comes first is next, also while all places are taken by what comes last
      await queue(2).addBulk(fill(40, { ms: 10 }));
      await until(() => order.length > 95, 'the last queue is at it', 5_000);
      await queue(0).addBulk(fill(1));
      const addedAt = order.length;
      await until(() => order.lastIndexOf(queue(0).name) >= addedAt, 'it runs', 5_000);
      assert.ok(order.lastIndexOf(queue(0).name) <= addedAt + 30, 'it did not wait for the others');
    });

    it('weighted: gives each queue its share', async (t) => {
      const { queues, consume } = scene(t, 3);
      const weights = [4, 2, 1];
      for (const queue of queues) await queue.addBulk(fill(1_400));
      const order: string[] = [];
      const { stop } = await consume((job) => void order.push(job.queueName), { weights, concurrency: 5 });
      await until(() => order.length >= 1_400, 'enough have run', 20_000);
      const seen = order.slice(0, 1_400);
      await stop();
      for (const [at, weight] of weights.entries()) {
        const share = seen.filter((name) => name === queues[at]?.name).length / seen.length;
        // five standard errors, of draws that are kept for up to eight jobs
        assert.ok(Math.abs(share - weight / 7) < 0.19, `queue ${at} got ${share}, should have ${weight / 7}`);
      }
    });

    it('keeps maxActive of a queue, and the others take the places', async (t) => {
      const { queue, queues, consume } = scene(t, 2);
      for (const each of queues) await each.addBulk(fill(20));
      const running: Record<string, number> = {};
      const peaks: Record<string, number> = {};
      const run = async ({ queueName }: Job): Promise<void> => {
        running[queueName] = (running[queueName] ?? 0) + 1;
        peaks[queueName] = Math.max(peaks[queueName] ?? 0, running[queueName] ?? 0);
        await sleep(10);
        running[queueName] = (running[queueName] ?? 0) - 1;
      };
      await consume(run, { concurrency: 6, maxActive: [2, null] });
      const ended = async () => (await Promise.all(queues.map((each) => each.getCompletedCount()))).join();
      await until(async () => (await ended()) === '20,20', 'all end', 10_000);
      assert.equal(peaks[queue(0).name], 2);
      assert.ok((peaks[queue(1).name] ?? 0) >= 4, `${peaks[queue(1).name]}`);
    });

    it('asks a limit before it fetches, and gives every lease back', async (t) => {
      const { queue, queues, consume } = scene(t, 2);
      const gate = new CountingGate(2);
      for (const each of queues) await each.addBulk(fill(15, { fails: true }));
      const { stop } = await consume(
        async (job) => {
          assert.ok(gate.taken > 0 || job.queueName !== queue(0).name);
          await sleep(5);
          if (Number(job.id) % 3 === 0) throw new Error('no');
        },
        { gates: [gate, null] },
      );
      const left = async () => (await Promise.all(queues.map((each) => each.count()))).join();
      await until(async () => (await left()) === '0,0', 'all are taken', 10_000);
      await until(async () => (await queue(0).getActiveCount()) === 0, 'all end', 5_000);
      await until(() => gate.taken === 0, 'no lease is held', 2_000);
      assert.equal(gate.peak, 2);
      await stop();
      assert.equal(gate.isClosed, true);
    });

    it('keeps a throttled job out of all places', async (t) => {
      const { queue, consume } = scene(t, 2);
      const gate = new CountingGate(1);
      const ends: (() => void)[] = [];
      const { running } = await consume(() => new Promise<void>((resolve) => ends.push(resolve)), {
        concurrency: 3,
        gates: [gate, null],
      });
      await queue(0).addBulk(fill(10));
      await until(() => running.size === 1, 'one runs');
      await queue(1).addBulk(fill(2));
      await until(() => running.size === 3, 'all places are taken');
      assert.equal(await queue(0).getActiveCount(), 1);
      const isDone = async (): Promise<boolean> => {
        for (const end of ends.splice(0)) end();
        return (await queue(0).getCompletedCount()) === 10;
      };
      await until(isDone, 'all end');
    });

    it('delays a job that the limit of its name has no room for, uncharged', async (t) => {
      const { queue, consume } = scene(t);
      const gate = new CountingGate(1);
      let running = 0;
      let peak = 0;
      await consume(
        async () => {
          running += 1;
          peak = Math.max(peak, running);
          await sleep(60);
          running -= 1;
        },
        { nameGates: new Map([['job', { gate, retryInMs: () => 40 + 40 * Math.random() }]]) },
      );
      await queue(0).addBulk(fill(4));
      const other = await queue(0).add('other', {});
      await until(async () => other.isCompleted(), 'another name is not limited');
      await until(async () => (await queue(0).getCompletedCount()) === 5, 'all end', 20_000);
      assert.ok(peak <= 2, `one of each name: ${peak}`);
      assert.equal(gate.peak, 1);
      const jobs = await queue(0).getCompleted();
      assert.deepEqual([...new Set(jobs.map(({ attemptsMade }) => attemptsMade))], [1]);
      assert.equal(gate.taken, 0);
    });

    it('delays a job whose limit cannot be asked, uncharged, and does not say so of each', async (t) => {
      const { queue, consume } = scene(t);
      class SilentGate extends CountingGate {
        isSilent = true;

        override async tryAcquire(): Promise<Lease | null> {
          const lease = super.tryAcquire();
          if (!this.isSilent) return lease;
          (await lease)?.cancel();
          throw new Error('Redis did not answer');
        }
      }
      const gate = new SilentGate(4);
      const said = t.mock.method(console, 'error', () => {});
      await consume(() => {}, { nameGates: new Map([['job', { gate, retryInMs: () => 60_000 }]]) });
      await queue(0).addBulk(fill(4));
      await until(async () => (await queue(0).getDelayedCount()) === 4, 'all are put back');
      assert.ok(gate.withdrawn >= 4);
      const lines = said.mock.calls.map(({ arguments: [line] }) => String(line));
      assert.deepEqual([...new Set(lines)], [`queue ${queue(0).name}: Redis did not answer`]);
      assert.ok(lines.length < gate.asked, `${lines.length} lines`);
      gate.isSilent = false;
      await until(async () => (await queue(0).getCompletedCount()) === 4, 'all end');
      const jobs = await queue(0).getCompleted();
      assert.deepEqual([...new Set(jobs.map(({ attemptsMade }) => attemptsMade))], [1]);
    });

    it('goes on after its connections were cut, and loses nothing', async (t) => {
      const { queues, consume } = scene(t, 3);
      let ended = 0;
      await consume(
        async () => {
          await sleep(1);
          ended += 1;
        },
        // what is lost with a reply is found as stalled here; a child of swarm gives it back at once
        {
          weights: [2, 1, 1],
          worker: { lockDuration: 1_000, stalledInterval: 500, maxStalledCount: 100 },
        },
      );
      for (let round = 0; round < 10; round += 1) {
        await queues[round % 3]?.addBulk(fill(20));
        await sleep(10);
        await own.client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes').catch(() => {});
      }
      await until(
        async () =>
          (await Promise.all(queues.map((queue) => queue.getCompletedCount()))).reduce((a, b) => a + b) ===
          200,
        'all are done',
        40_000,
      ).catch((error: Error) => {
        throw new Error(`${error.message}: ${ended} ran`);
      });
    });

    it('takes nothing while it is paused, and goes on when it is resumed', async (t) => {
      const { queue, consume } = scene(t, 2);
      let ran = 0;
      const { workers } = await consume(() => void ran++);
      await Promise.all(workers.map((worker) => worker.pause()));
      await queue(0).add('job', {});
      await queue(1).add('job', {});
      await sleep(150);
      assert.equal(ran, 0);
      assert.ok(await own.client.exists(queue(0).toKey('marker')), 'another child hears of it');
      await Promise.all(workers.map((worker) => worker.resume()));
      await until(() => ran === 2, 'both run', 2_000);
    });

    it('leaves jobs and markers to others when it stops', async (t) => {
      const { queue, consume } = scene(t, 2);
      const first = await consume(() => sleep(20), { concurrency: 2 });
      const second = await consume(() => sleep(1), { concurrency: 2 });
      await queue(0).addBulk(fill(20));
      await first.stop();
      await until(async () => (await queue(0).getCompletedCount()) === 20, 'the other does the rest', 4_000);
      await queue(1).add('job', {});
      await until(async () => (await queue(1).getCompletedCount()) === 1, 'and what comes later', 2_000);
      await second.stop();
      assert.equal((await own.client.keys('*swarm-wake*')).length, 0);
    });
  });
}
