import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { SimChild, SimLimit, SimRedis, World } from './pump-world.js';

function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

interface Scene {
  places?: number;
  children?: number;
  weights?: readonly (number | null)[];
  maxActive?: (number | null)[];
  /** Of each queue, over all children. */
  room?: (number | null)[];
  caps?: (number | null)[];
  seed?: number;
}

async function openScene({
  places = 3,
  children = 1,
  weights = [null, null],
  maxActive = [],
  room = [],
  caps = [],
  seed = 1,
}: Scene) {
  const world = new World(randomOf(seed));
  const redis = new SimRedis(world, weights.length);
  for (const [at, cap] of caps.entries()) if (cap !== null) redis.queue(at).cap = cap;
  const limits = weights.map((_, at) => {
    const places = room[at] ?? null;
    return places === null ? null : new SimLimit(world, places);
  });
  const violations: string[] = [];
  const onViolation = (what: string): void => void violations.push(`${world.nowMs.toFixed(1)} ms: ${what}`);
  const all = Array.from({ length: children }, () => {
    return new SimChild({ redis, places, weights, maxActive, limits, onViolation });
  });
  let lastId = 0;
  const add = (queue: number, runMs = 5, delayMs = 0): void => {
    lastId += 1;
    redis.add({ queue, id: lastId, runMs }, delayMs);
  };
  for (const child of all) void child.pump.start();
  return { world, redis, children: all, limits, violations, add, added: () => lastId };
}

describe('a pump', () => {
  it('says why it fetches nothing from a queue, and nothing where it could', async () => {
    const { world, children, add } = await openScene({
      places: 3,
      weights: [1, 1, 1],
      maxActive: [1, null, null],
      room: [null, 1, null],
    });
    const pump = children[0]?.pump;
    assert.ok(pump);
    const reasons = (): (string | null)[] => [0, 1, 2].map((at) => pump.heldUp(at));
    await world.run(50);
    assert.deepEqual(reasons(), [null, null, null]);
    for (const at of [0, 0, 1, 1]) add(at, 1_000);
    await world.run(150);
    assert.deepEqual(reasons(), ['it has as many jobs as its maxActive', 'its limit has no room', null]);
    pump.pause(2);
    assert.equal(pump.heldUp(2), 'it is paused');
    pump.resume(2);
    add(2, 1_000);
    await world.run(250);
    assert.deepEqual(new Set(reasons()), new Set(['all places are taken']));
    await world.run(5_000);
    assert.deepEqual(reasons(), [null, null, null]);
    pump.stop();
    assert.equal(pump.heldUp(0), 'nothing is taken any more');
  });

  it('says of a queue in strict order that those before it have jobs', async () => {
    const { world, children, add } = await openScene({ places: 2 });
    const pump = children[0]?.pump;
    for (let job = 0; job < 200; job += 1) add(0, 20);
    add(1, 20);
    const seen = new Set<string | null | undefined>();
    for (let atMs = 50; atMs < 1_000; atMs += 7) {
      await world.run(atMs);
      seen.add(pump?.heldUp(1));
    }
    assert.equal(seen.has(null), false, [...seen].join());
  });

  it('runs what is added to an idle child at once', async () => {
    const { world, redis, add } = await openScene({});
    await world.run(100);
    add(1, 5);
    await world.run(120);
    assert.equal(redis.done.size, 1);
  });

  it('uses all places, and no more', async () => {
    const { world, redis, children, violations, add } = await openScene({ places: 7 });
    await world.run(50);
    for (let job = 0; job < 70; job += 1) add(job % 2, 100);
    await world.run(70);
    assert.equal(children[0]?.running, 7);
    // ten rounds, and a few milliseconds between them
    await world.run(1_150);
    assert.equal(redis.done.size, 70);
    assert.deepEqual(violations, []);
  });

  it('strict: takes from a queue only what those before it have not', async () => {
    const { world, redis, children, add } = await openScene({ places: 4, weights: [null, null, null] });
    for (const queue of [2, 1, 0]) for (let job = 0; job < 40; job += 1) add(queue, 20);
    await world.run(205);
    assert.deepEqual(children[0]?.begun.slice(1), [0, 0]);
    // what comes first interrupts what comes later at the next free place
    await world.run(500);
    const [before = 0] = children[0]?.begun ?? [];
    add(0, 20);
    await world.run(560);
    assert.equal(children[0]?.begun[0], before + 1);
    await world.run();
    assert.equal(redis.done.size, 121);
  });

  it('weighted: gives each queue its share while all have work, and an idle queue’s to the others', async () => {
    const { world, children, add } = await openScene({ places: 5, weights: [4, 2, 1, 1], seed: 7 });
    for (let job = 0; job < 4_000; job += 1) for (const queue of [0, 1, 3]) add(queue, 1 + (job % 3) * 8);
    await world.run(6_000);
    const begun = children[0]?.begun ?? [];
    const total = begun.reduce((sum, count) => sum + count, 0);
    assert.ok(total > 1_500, `${total} begun`);
    for (const [at, share] of [4 / 7, 2 / 7, 0, 1 / 7].entries()) {
      const got = (begun[at] ?? 0) / total;
      assert.ok(Math.abs(got - share) < 0.06, `queue ${at} got ${got}, should have ${share}`);
    }
  });

  it('fetches nothing that would have to wait for a limit', async () => {
    const { world, redis, children, limits, violations, add } = await openScene({
      places: 5,
      children: 2,
      room: [2, null],
    });
    for (let job = 0; job < 100; job += 1) add(0, 50);
    await world.run(200);
    assert.equal(redis.queue(0).active.size, 2);
    assert.equal(limits[0]?.taken, 2);
    for (let job = 0; job < 8; job += 1) add(1, 10);
    await world.run(230);
    assert.equal(
      children.reduce((sum, child) => sum + (child.begun[1] ?? 0), 0),
      8,
    );
    await world.run();
    assert.deepEqual([redis.done.size, limits[0]?.taken, violations], [108, 0, []]);
  });

  it('starts a delayed job when it is due, also if whoever heard of it is full by then', async () => {
    const { world, redis, children, add } = await openScene({ places: 1, children: 2 });
    await world.run(10);
    add(0, 5, 1_000);
    await world.run(20);
    add(1, 5_000);
    await world.run(30);
    assert.equal(children.filter(({ running }) => running > 0).length, 1);
    await world.run(1_030);
    assert.equal(redis.done.size, 1);
  });

  it('asks a limit again whose refusal came after it was paused', async () => {
    const { world, redis, children, add } = await openScene({ places: 4, room: [1, null] });
    const pump = children[0]?.pump;
    const queue = pump?.queues[0];
    let paused = false;
    for (let job = 0; job < 3; job += 1) add(0, 7);
    for (let atMs = 0; atMs < 100 && !paused; atMs += 0.1) {
      await world.run(atMs);
      // shut by one refusal, with the next on its way
      paused = Boolean(queue?.isShut && queue.fetching > 0);
    }
    assert.ok(paused);
    pump?.pause(0);
    await world.run(world.nowMs + 100);
    assert.equal(queue?.isShut, false);
    pump?.resume(0);
    await world.run();
    assert.equal(redis.done.size, 3);
  });

  it('stops with what runs, and puts back what it took in vain', async () => {
    const { world, redis, children, add } = await openScene({ places: 2 });
    for (let job = 0; job < 10; job += 1) add(0, 50);
    await world.run(20);
    const pump = children[0]?.pump;
    pump?.stop();
    let idle = false;
    void pump?.whenIdle().then(() => {
      idle = true;
    });
    await world.run(40);
    assert.equal(idle, false);
    await world.run();
    assert.equal(idle, true);
    assert.deepEqual([redis.done.size, redis.queue(0).wait.length], [2, 8]);
    assert.ok(redis.queue(0).marker.has('0'), 'others hear of the rest');
  });
});

type Step =
  | { type: 'add'; queue: number; count: number; runMs: number; delayMs: number }
  | { type: 'pauseQueue'; queue: number; isPaused: boolean }
  | { type: 'pauseWorker'; queue: number; child: number; isPaused: boolean }
  | { type: 'stopChild'; child: number };

const QUEUES = 3;
const queueIndex = fc.nat({ max: QUEUES - 1 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant('add' as const),
      queue: queueIndex,
      count: fc.integer({ min: 1, max: 12 }),
      runMs: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 40 })),
      delayMs: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 100 })),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('pauseQueue' as const),
      isPaused: fc.boolean(),
      queue: queueIndex,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('pauseWorker' as const),
      isPaused: fc.boolean(),
      queue: queueIndex,
      child: fc.nat({ max: 2 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('stopChild' as const), child: fc.integer({ min: 1, max: 2 }) }),
  },
);
const maybe = (max: number) =>
  fc.array(fc.oneof(fc.constant(null), fc.integer({ min: 1, max })), {
    minLength: QUEUES,
    maxLength: QUEUES,
  });

describe('any interleaving of adds, pauses, limits and ends', () => {
  it('ends with all jobs done, and never more at once than there are places', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          seed: fc.integer(),
          places: fc.integer({ min: 1, max: 5 }),
          children: fc.integer({ min: 1, max: 3 }),
          weights: fc.oneof(fc.constant([null, null, null]), maybe(5)),
          maxActive: maybe(3),
          room: maybe(3),
          caps: maybe(3),
          steps: fc.array(fc.tuple(fc.integer({ min: 0, max: 30 }), step), { maxLength: 30 }),
        }),
        async ({ steps, ...scene }) => {
          const { world, redis, children, limits, violations, add, added } = await openScene(scene);
          for (const [waitMs, what] of steps) {
            await world.run(world.nowMs + waitMs);
            world.nowMs += waitMs;
            perform(what);
          }
          for (const at of redis.queues.keys()) {
            redis.pause(at, false);
            for (const { pump } of children) pump.resume(at);
          }
          await world.run();
          assert.deepEqual(violations, []);
          const left = redis.queues.map(({ wait, active, delayed }) => [
            wait.length,
            active.size,
            delayed.length,
          ]);
          assert.equal(redis.done.size, added(), `left over: ${JSON.stringify(left)}`);
          for (const limit of limits) assert.equal(limit?.taken ?? 0, 0, 'no lease is left');

          function perform(what: Step): void {
            if (what.type === 'add') {
              for (let job = 0; job < what.count; job += 1) add(what.queue, what.runMs, what.delayMs);
            } else if (what.type === 'stopChild') {
              // one goes on
              children[what.child]?.pump.stop();
            } else if (what.type === 'pauseQueue') redis.pause(what.queue, what.isPaused);
            else if (what.isPaused) children[what.child]?.pump.pause(what.queue);
            else children[what.child]?.pump.resume(what.queue);
          }
        },
      ),
      { numRuns: Number(process.env['SWARM_TEST_RUNS'] ?? 300), includeErrorInReport: true },
    );
  });
});
