/**
 * Any sequence of what callers do, on a real Redis and on the model in plain memory: both give the same answers,
 * let in the same waiters in the same order, and hold the same. The wall clock of this process is an hour off.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { Redis } from 'ioredis';
import { type Definition, define, type LimiterType } from '../dist/limiter/definition.js';
import { Operations } from '../dist/limiter/operations.js';
import type { RedisClock } from '../dist/limiter/redis-clock.js';
import {
  BucketRule,
  ConcurrentRule,
  LevelRule,
  LimiterModel,
  type Request,
  type Rule,
  WindowRule,
} from './limiter-model.js';
import { startRedis, type TestRedis } from './redis-server.js';

type Step =
  | { do: 'acquire'; mayWait: boolean; leaseMs: number; cost: number }
  | { do: 'release' | 'cancel' | 'leave' | 'renew' | 'correct'; which: number; cost: number }
  | { do: 'crash'; owner: number }
  | { do: 'look' }
  | { do: 'pass'; ms: number };

const OWNERS = ['host:1:aa.1', 'host:2:bb.2', 'host:3:cc.3'];
/** Nobody's patience ends while a sequence runs. */
const WAIT_MS = 60_000;

const which = fc.nat({ max: 50 });
/** So that the queue is seldom empty. */
const mayWait = fc.integer({ min: 0, max: 3 }).map((drawn) => drawn > 0);
const cost = fc.integer({ min: 1, max: 5 });
const steps = (leaseMs: fc.Arbitrary<number>): fc.Arbitrary<Step[]> =>
  fc.array(
    fc.oneof(
      { weight: 6, arbitrary: fc.record({ do: fc.constant('acquire' as const), mayWait, leaseMs, cost }) },
      { weight: 4, arbitrary: fc.record({ do: fc.constant('release' as const), which, cost }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('cancel' as const), which, cost }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('leave' as const), which, cost }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('renew' as const), which, cost }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('correct' as const), which, cost }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('crash' as const), owner: fc.nat({ max: 2 }) }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('look' as const) }) },
      {
        weight: 2,
        arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 12 }) }),
      },
    ),
    { minLength: 5, maxLength: 60 },
  );

interface Kind {
  type: LimiterType;
  numbers: number[];
  rule: Rule;
}

const KINDS: Record<LimiterType, fc.Arbitrary<Kind>> = {
  concurrent: fc.integer({ min: 1, max: 4 }).map((limit) => {
    return { type: 'concurrent' as const, numbers: [limit], rule: new ConcurrentRule(limit) };
  }),
  bucket: fc.integer({ min: 1, max: 4 }).map((limit) => {
    return { type: 'bucket' as const, numbers: [limit, 40], rule: new BucketRule(limit, 40) };
  }),
  window: fc.integer({ min: 1, max: 4 }).map((limit) => {
    return { type: 'window' as const, numbers: [limit, 30], rule: new WindowRule(limit, 30) };
  }),
  leaky: fc.integer({ min: 1, max: 4 }).map((size) => {
    return { type: 'leaky' as const, numbers: [size, 40], rule: new LevelRule(size, size / 40, false) };
  }),
  points: fc.integer({ min: 5, max: 12 }).map((most) => {
    return { type: 'points' as const, numbers: [most, 250], rule: new LevelRule(most, 0.25, true) };
  }),
};

describe('limiters and their model', () => {
  let redis: TestRedis;
  let client: Redis;
  let ear: Redis;
  const heard: string[] = [];
  const realNow = Date.now;
  before(async () => {
    redis = await startRedis();
    client = new Redis({ port: redis.port });
    ear = new Redis({ port: redis.port });
    ear.on('pmessage', (_pattern: string, _channel: string, text: string) => heard.push(text));
    await ear.psubscribe('swarm:limit:wake:*');
    Date.now = () => realNow() + 3_600_000;
  });
  after(async () => {
    Date.now = realNow;
    client.disconnect();
    ear.disconnect();
    await redis.stop();
  });

  for (const type of Object.keys(KINDS) as LimiterType[]) {
    it(`${type}: the same answers, the same order, the same use`, { timeout: 240_000 }, async () => {
      const leaseMs =
        type === 'concurrent'
          ? fc.oneof(fc.integer({ min: 3, max: 60 }), fc.constant(5_000))
          : fc.constant(0);
      let run = 0;
      await fc.assert(
        fc.asyncProperty(KINDS[type], steps(leaseMs), async ({ type: kind, numbers, rule }, sequence) => {
          run += 1;
          heard.length = 0;
          const trial = new SideBySide(client, define(kind, `${kind} ${run}`, numbers), rule);
          for (const step of sequence) await trial.take(step);
          await trial.end(heard);
        }),
        { numRuns: 60 },
      );
      await leavesNothingForEver(client);
    });
  }
});

interface Asked extends Request {
  owner: number;
  takenAtMs: number;
}

/** One limiter in both forms. The model hears of each thing with the time at which Redis did it. */
class SideBySide {
  readonly #model: LimiterModel;
  readonly #rule: Rule;
  readonly #definition: Definition;
  readonly #callers: Operations[];
  readonly #requests: Asked[] = [];
  #nowMs = 0;

  constructor(client: Redis, definition: Definition, rule: Rule) {
    this.#definition = definition;
    this.#rule = rule;
    this.#model = new LimiterModel(rule);
    const saw = (redisMs: number): void => {
      this.#nowMs = redisMs;
    };
    const clock = { saw } as unknown as RedisClock;
    // nobody listens here, and everybody is taken to be there
    const deaf = {
      isCluster: true,
      eval: client.eval.bind(client),
      evalsha: client.evalsha.bind(client),
    } as unknown as ConstructorParameters<typeof Operations>[0];
    this.#callers = OWNERS.map((owner) => new Operations(deaf, owner, clock, { onDefinition: assert.fail }));
  }

  async take(step: Step): Promise<void> {
    switch (step.do) {
      case 'acquire':
        await this.#acquire(step);
        break;
      case 'pass':
        await sleep(step.ms);
        break;
      case 'look':
        await this.#caller(0).look(this.#definition, []);
        this.#model.serve(this.#nowMs);
        break;
      case 'crash':
        await this.#crash(step.owner);
        break;
      default:
        await this.#with(step.do, step);
    }
    const raw = await this.#caller(0).status(this.#definition, 1);
    if (!raw) return assert.equal(this.#requests.length, 0);
    assert.equal(raw.waiting, this.#model.queue.length, 'who waits');
    const used = this.#rule.used(this.#nowMs);
    assert.ok(Math.abs(raw.used - used) < 1e-3, `${raw.used} used, ${used} by the model`);
    if (this.#rule instanceof ConcurrentRule) assert.ok(raw.used <= this.#rule.limit, 'never over the limit');
  }

  /** All leave, or are freed: nothing is left. */
  async end(heard: readonly string[]): Promise<void> {
    for (const owner of OWNERS.keys()) await this.#crash(owner);
    const raw = await this.#caller(0).status(this.#definition, 1);
    assert.equal(raw?.waiting ?? 0, 0);
    if (this.#rule instanceof ConcurrentRule) assert.equal(raw?.used ?? 0, 0);
    const granted = heard.filter((text) => text.startsWith('granted ')).map((text) => text.split(' ')[2]);
    assert.deepEqual(granted, this.#model.letIn, 'in order');
  }

  #caller(owner: number): Operations {
    return this.#callers[owner] as Operations;
  }

  async #acquire({ mayWait, leaseMs, cost: wanted }: Extract<Step, { do: 'acquire' }>): Promise<void> {
    const owner = this.#requests.length % OWNERS.length;
    const price = this.#definition.type === 'points' ? wanted : 1;
    const waitMs = mayWait ? WAIT_MS : 0;
    const id = [OWNERS[owner], this.#requests.length + 1, leaseMs, waitMs, price].join('/');
    const request = { id, leaseMs, waitMs, cost: price };
    const mode = mayWait ? 'wait' : 'once';
    const answer = await this.#caller(owner).acquire(this.#definition, id, mode);
    this.#model.heardOf(OWNERS[owner] as string, this.#nowMs);
    assert.equal(answer.kind, this.#model.acquire(this.#nowMs, request, mayWait));
    this.#requests.push({ ...request, owner, takenAtMs: this.#nowMs });
  }

  async #with(
    what: 'release' | 'cancel' | 'leave' | 'renew' | 'correct',
    step: { which: number; cost: number },
  ) {
    const request = this.#choose(what, step.which);
    if (!request) return;
    const { id, owner, takenAtMs } = request;
    const caller = this.#caller(owner);
    const isWaiting = this.#model.queue.some((waiting) => waiting.id === id);
    const { type } = this.#definition;
    if (what === 'leave') {
      const granted = await caller.leave(this.#definition, id, { counts: true });
      const endsAtMs = this.#rule instanceof ConcurrentRule ? this.#rule.leases.get(id) : undefined;
      const holds = endsAtMs !== undefined && endsAtMs > this.#nowMs;
      assert.equal(granted !== null, holds && !isWaiting);
      this.#model.leave(this.#nowMs, id);
    } else if (what === 'cancel' && !isWaiting) {
      await caller.cancel(this.#definition, id, takenAtMs, 'immediate');
      this.#model.cancel(this.#nowMs, request, takenAtMs);
    } else if (what === 'correct' && type === 'points') {
      await caller.used(this.#definition, id, step.cost);
      (this.#rule as LevelRule).correct(this.#nowMs, request.cost, step.cost);
      this.#model.serve(this.#nowMs);
    } else if (what === 'release' && this.#rule instanceof ConcurrentRule) {
      await caller.release(this.#definition, id, 1);
      // what has ended is in its place until somebody looks; a place goes from one to one
      if (this.#rule.leases.has(id)) {
        this.#rule.leases.delete(id);
        this.#handOver();
        this.#model.heardOf(OWNERS[owner] as string, this.#nowMs);
      }
    } else if (what === 'renew' && this.#rule instanceof ConcurrentRule && !isWaiting) {
      const { lost } = await caller.renew(this.#definition, [id]);
      assert.equal(lost.length === 0, this.#rule.renew(this.#nowMs, request));
    }
  }

  /** Mostly one for whom it means something. */
  #choose(what: string, drawn: number): Asked | undefined {
    const { queue } = this.#model;
    const fitting = this.#requests.filter(({ id }) => {
      if (what === 'leave') return queue.some((waiting) => waiting.id === id);
      return this.#rule instanceof ConcurrentRule ? this.#rule.leases.has(id) : true;
    });
    const among = drawn % 4 === 0 || fitting.length === 0 ? this.#requests : fitting;
    return among[drawn % Math.max(1, among.length)];
  }

  #handOver(): void {
    const [first] = this.#model.queue;
    if (!first) return;
    this.#model.queue.shift();
    this.#model.letInFirst(this.#nowMs, first);
  }

  async #crash(owner: number): Promise<void> {
    const prefix = (OWNERS[owner] as string).slice(0, -1);
    await this.#caller(0).free(this.#definition, prefix);
    this.#model.queue = this.#model.queue.filter(({ id }) => !id.startsWith(prefix));
    if (this.#rule instanceof ConcurrentRule) {
      for (const id of this.#rule.leases.keys()) if (id.startsWith(prefix)) this.#rule.leases.delete(id);
    }
    this.#model.serve(this.#nowMs);
  }
}

async function leavesNothingForEver(client: Redis): Promise<void> {
  for (const key of await client.keys('swarm:*')) {
    assert.ok((await client.pttl(key)) > 0, `${key} is kept for ever`);
  }
  await client.flushall();
}
