/** Who releases what a lost master held, and when: with real decisions, and a registry and locks that are a model. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { LostHolding, WorkerInfo } from '../dist/protocol.js';
import { lostHoldingsOf, takeBelowMs } from '../dist/recovery/lost-holdings.js';
import {
  decideLost,
  type Helper,
  type LostEffect,
  type LostEvent,
  type LostState,
  NO_LOST_HOSTS,
  type SweepNote,
} from '../dist/recovery/lost-hosts.js';
import type { ChildRecord, MasterRecord } from '../dist/registry/schema.js';

const LOCK = { durationMs: 30_000, renewMs: 15_000 };
const LOST = 'web1:1:lost';
const QUEUES = ['mail', 'reports'];
const NO_NOTE: SweepNote = { done: [], waiting: {} };
const STEP_MS = 250;

interface Job {
  id: string;
  queue: string;
  lockUntilMs: number;
  /** Who put it back, and when. */
  releasedBy: string | null;
  releasedAtMs: number;
}

/** One Redis for registry and queues: it can be away, and then time goes on without it. */
class World {
  nowMs = 0;
  redisUp = true;
  /** The lost master's entry: when it is stale, or was removed. */
  staleAtMs: number | null = Number.POSITIVE_INFINITY;
  claim: { owner: string; untilMs: number } | null = null;
  note: SweepNote = NO_NOTE;
  readonly jobs: Job[] = [];
  readonly rescuers: Rescuer[] = [];
  /** How many jobs the entry names; the others are known by their locks alone. */
  reported = Number.POSITIVE_INFINITY;

  addJobs(queue: string, count: number): void {
    for (let at = 0; at < count; at++) {
      const id = `${queue}-${at}`;
      this.jobs.push({ id, queue, lockUntilMs: LOCK.durationMs, releasedBy: null, releasedAtMs: 0 });
    }
  }

  add(name: string, queues: readonly string[], more: Partial<Rescuer> = {}): Rescuer {
    const rescuer = Object.assign(new Rescuer(this, name, queues), more);
    this.rescuers.push(rescuer);
    return rescuer;
  }

  /** The host is gone: no beat, and no lock is renewed any more. */
  lose(): void {
    this.staleAtMs = this.nowMs + 15_000;
  }

  beat(): void {
    this.staleAtMs = this.nowMs + 15_000;
    this.note = NO_NOTE;
  }

  renew(): void {
    for (const job of this.jobs) if (!job.releasedBy) job.lockUntilMs = this.nowMs + LOCK.durationMs;
  }

  get isStale(): boolean {
    return this.staleAtMs !== null && this.staleAtMs <= this.nowMs;
  }

  get holdings(): LostHolding[] {
    return QUEUES.map((queue) => {
      const jobIds = this.jobs
        .filter((job, at) => job.queue === queue && at < this.reported)
        .map(({ id }) => id);
      return { ...place(queue), tokens: [{ prefix: 't:', takeBelowMs: takeBelowMs(LOCK) }], jobIds };
    });
  }

  pass(ms: number, meanwhile: () => void = () => {}): void {
    const untilMs = this.nowMs + ms;
    while (this.nowMs < untilMs) {
      this.nowMs += STEP_MS;
      meanwhile();
      for (const rescuer of this.rescuers) rescuer.turn();
      const owners = this.rescuers.filter((rescuer) => rescuer.alive && rescuer.hasClaim);
      assert.ok(owners.length <= 1, `${owners.map(({ name }) => name)} have the claim at once`);
    }
  }

  get held(): string[] {
    return this.jobs.filter(({ releasedBy }) => releasedBy === null).map(({ id }) => id);
  }
}

function place(queue: string): Pick<WorkerInfo, 'queue' | 'prefix' | 'redisId'> {
  return { queue, prefix: 'bull', redisId: 'r' };
}

/** A master that beats, and does what is decided. */
class Rescuer {
  alive = true;
  /** Its children answer a sweep: with what they did, with an error, or not at all. */
  children: 'work' | 'fail' | 'hang' = 'work';
  /** Beats, and everything else, stop while it is suspended. */
  suspended = false;
  state: LostState = NO_LOST_HOSTS;
  said: string[] = [];
  #beatAtMs: number;
  readonly #helpers: Helper[];

  constructor(
    private readonly world: World,
    readonly name: string,
    queues: readonly string[],
  ) {
    this.#beatAtMs = world.nowMs;
    const workers = queues.map(place);
    this.#helpers =
      workers.length === 0 ? [] : [`${name}-a`, `${name}-b`].map((identity) => ({ identity, workers }));
  }

  get hasClaim(): boolean {
    return this.state.hosts.some(({ claimedUntilMs }) => claimedUntilMs > this.world.nowMs);
  }

  turn(): void {
    if (!this.alive || this.suspended) return;
    const { world } = this;
    if (world.redisUp && world.nowMs >= this.#beatAtMs) {
      this.#beatAtMs = world.nowMs + 5_000;
      const stale = world.isStale ? [LOST] : [];
      const found = world.isStale ? [{ identity: LOST, holdings: world.holdings }] : [];
      this.feed({ type: 'looked', stale, found });
    }
    this.feed({ type: 'tick' });
  }

  feed(event: LostEvent): void {
    const { state, effects } = decideLost(this.state, event, {
      nowMs: this.world.nowMs,
      helpers: this.#helpers,
    });
    this.state = state;
    for (const effect of effects) this.#carryOut(effect);
  }

  #carryOut(effect: LostEffect): void {
    const { world } = this;
    switch (effect.type) {
      case 'claim':
        return this.feed({ type: 'claimAnswered', host: LOST, ...this.#claim(effect.note) });
      case 'sweep':
        assert.ok(this.hasClaim, 'sweeps without a claim');
        return this.#sweep(effect);
      case 'look':
        return this.#sweep(effect);
      case 'forget':
        if (!world.redisUp || !world.isStale) return;
        world.staleAtMs = null;
        world.claim = null;
        return;
      default:
        this.said.push(effect.type);
    }
  }

  #claim(note: SweepNote | null): { outcome: 'ours' | 'others' | 'back' | 'failed'; note: SweepNote } {
    const { world, name } = this;
    if (!world.redisUp) return { outcome: 'failed', note: NO_NOTE };
    if (!world.isStale) return { outcome: 'back', note: NO_NOTE };
    if (world.claim && world.claim.untilMs > world.nowMs && world.claim.owner !== name)
      return { outcome: 'others', note: NO_NOTE };
    world.claim = { owner: name, untilMs: world.nowMs + 10_000 };
    world.note = note ?? world.note;
    return { outcome: 'ours', note: world.note };
  }

  /** What lost-jobs.lua and a token-checked move do. */
  #sweep({ type, sweepId, by, holding }: Extract<LostEffect, { type: 'sweep' | 'look' }>): void {
    const { world, children } = this;
    if (children === 'hang') return;
    const answer = {
      type: 'swept',
      sweepId,
      by,
      served: true,
      released: 0,
      waiting: [],
      error: null,
    } as const;
    if (children === 'fail' || !world.redisUp) return this.feed({ ...answer, error: 'ECONNREFUSED' });
    const waiting: { id: string; takeInMs: number }[] = [];
    let released = 0;
    for (const job of world.jobs) {
      if (job.queue !== holding.queue || job.releasedBy) continue;
      const leftMs = job.lockUntilMs - world.nowMs;
      const below = holding.tokens[0]?.takeBelowMs ?? 0;
      if (leftMs <= 0 && (type === 'look' || !holding.jobIds.includes(job.id))) continue;
      if (leftMs > 0 && (type === 'look' || leftMs >= below)) {
        waiting.push({ id: job.id, takeInMs: Math.max(0, leftMs - below) });
        continue;
      }
      job.releasedBy = this.name;
      job.releasedAtMs = world.nowMs;
      released++;
    }
    this.feed({ ...answer, released, waiting });
  }
}

/** Masters that have beaten for a while, and a host that is lost now. */
function lostBeside(...rescuers: readonly (readonly string[])[]): World {
  const world = new World();
  rescuers.forEach((queues, at) => void world.add(`r${at}`, queues));
  world.pass(20_000);
  for (const queue of QUEUES) world.addJobs(queue, 3);
  world.renew();
  world.lose();
  return world;
}

describe('takeBelowMs', () => {
  it('is what no lock that is renewed ever comes down to', () => {
    assert.equal(takeBelowMs({ durationMs: 30_000, renewMs: 15_000 }), 10_000);
    assert.equal(takeBelowMs({ durationMs: 60_000, renewMs: 30_000 }), 25_000);
    assert.equal(takeBelowMs({ durationMs: 1_000, renewMs: 500 }), 250);
    assert.equal(takeBelowMs({ durationMs: 1_000, renewMs: 900 }), 0);
    assert.equal(takeBelowMs(undefined), 0, 'only a lock that ran out says anything');
  });
});

describe('lostHoldingsOf', () => {
  const worker = { queue: 'mail', prefix: 'bull', redisId: 'r', lock: LOCK };
  const child = (identity: string, more: Partial<ChildRecord>): ChildRecord =>
    ({ identity, state: 'up', workers: [], jobs: [], ...more }) as unknown as ChildRecord;
  const job = (id: string, queue = 'mail') => ({ queue, id, name: 'x', startedAtMs: 1 });
  const master = (children: ChildRecord[], owed: MasterRecord['owed'] = []): MasterRecord =>
    ({ children, owed }) as unknown as MasterRecord;

  it('gathers tokens and reported jobs by queue, and waits for no lock of a child that is gone', () => {
    const any = Number.MAX_SAFE_INTEGER;
    const holdings = lostHoldingsOf(
      master(
        [
          child('a', { workers: [{ ...worker, tokenPrefix: 'a:' }], jobs: [job('1'), job('2', 'other')] }),
          child('b', { workers: [{ ...worker, tokenPrefix: 'b:', lock: undefined }], jobs: [job('3')] }),
          child('c', { state: 'backoff', workers: [{ ...worker, tokenPrefix: 'c:' }] }),
          child('d', { workers: [{ ...worker, tokenPrefix: 'd:' }] }),
        ],
        [
          {
            owner: 'e',
            holdings: [
              { queue: 'mail', prefix: 'bull', redisId: 'r', tokenPrefixes: ['e:'], jobIds: ['1', '4'] },
            ],
          },
        ],
      ),
      ({ identity }) => identity === 'd',
    );
    assert.deepEqual(holdings, [
      {
        ...place('mail'),
        tokens: [
          { prefix: 'a:', takeBelowMs: 10_000 },
          { prefix: 'b:', takeBelowMs: 0 },
          { prefix: 'c:', takeBelowMs: any },
          { prefix: 'd:', takeBelowMs: any },
          { prefix: 'e:', takeBelowMs: any },
        ],
        jobIds: ['1', '3', '4'],
      },
    ]);
  });

  it('keeps queues of one name apart, by prefix and Redis', () => {
    const workers = [
      { ...worker, tokenPrefix: 'a:' },
      { ...worker, prefix: 'other', tokenPrefix: 'b:' },
      { ...worker, redisId: 's', tokenPrefix: 'c:' },
    ];
    const holdings = lostHoldingsOf(master([child('a', { workers })]), () => false);
    assert.deepEqual(
      holdings.map(({ prefix, redisId }) => [prefix, redisId]),
      [
        ['bull', 'r'],
        ['other', 'r'],
        ['bull', 's'],
      ],
    );
  });
});

describe('a lost host', () => {
  it('has its jobs released within half a minute, and its entry removed', () => {
    const world = lostBeside(QUEUES);
    world.pass(26_000);
    assert.deepEqual(world.held, []);
    world.pass(15_000);
    assert.equal(world.staleAtMs, null);
    assert.deepEqual(world.rescuers[0]?.said, ['announceLost', 'announceAccounted']);
    assert.deepEqual(world.rescuers[0]?.state.hosts, []);
  });

  it('has jobs released that it never reported, by their locks, also when the claim changes hands', () => {
    const world = lostBeside(QUEUES, QUEUES);
    world.reported = 0;
    // the first to claim dies before anything can be taken
    world.pass(19_500);
    const first = world.rescuers.find(({ hasClaim }) => hasClaim);
    assert.ok(first);
    first.alive = false;
    world.pass(40_000);
    assert.deepEqual(world.held, []);
    assert.ok(world.jobs.every(({ releasedBy }) => releasedBy !== first.name));
  });

  it('has such jobs released also by a master that started too late to act before their locks run out', () => {
    const world = lostBeside();
    world.reported = 0;
    world.pass(20_000);
    world.add('young', QUEUES);
    world.pass(20_000);
    assert.ok(
      world.jobs.every(
        ({ releasedBy, releasedAtMs, lockUntilMs }) => releasedBy && releasedAtMs > lockUntilMs,
      ),
    );
  });

  it('is left to those who serve its queues, each to its part, and forgotten when all is done', () => {
    const world = lostBeside(['mail'], ['reports'], []);
    world.pass(120_000);
    for (const { queue, releasedBy } of world.jobs) assert.equal(releasedBy, queue === 'mail' ? 'r0' : 'r1');
    assert.equal(world.staleAtMs, null);
    assert.deepEqual(world.rescuers[2]?.said, []);
  });

  it('is nobody’s business where nobody serves its queues', () => {
    const world = lostBeside([]);
    world.pass(120_000);
    assert.equal(world.held.length, 6);
    assert.equal(world.claim, null);
  });

  it('is left alone when it beats again', () => {
    const world = lostBeside(QUEUES);
    world.pass(17_000, () => world.renew());
    assert.ok(world.claim);
    world.beat();
    world.pass(60_000, () => world.beat());
    assert.equal(world.held.length, 6);
    assert.deepEqual(world.rescuers[0]?.said, ['announceLost', 'announceBack']);
  });

  it('whose children only lost the registry keeps its jobs, however long that lasts', () => {
    const world = lostBeside(QUEUES);
    const lateMs = takeBelowMs(LOCK);
    let renewedAtMs = world.nowMs;
    world.pass(600_000, () => {
      if (world.nowMs - renewedAtMs < LOCK.durationMs - lateMs - STEP_MS) return;
      renewedAtMs = world.nowMs;
      world.renew();
    });
    assert.equal(world.held.length, 6);
    assert.ok(world.isStale, 'and its entry');
    // then it is gone for good
    world.pass(60_000);
    assert.deepEqual(world.held, []);
  });

  it('is swept by another child when one is silent, fails, does not serve it any more, or is gone', () => {
    const helpers = ['a', 'b'].map((identity) => ({ identity, workers: [place('mail')] }));
    const holding = { ...place('mail'), tokens: [{ prefix: 't:', takeBelowMs: 0 }], jobIds: [] };
    const found = [{ identity: LOST, holdings: [holding] }];
    let state = NO_LOST_HOSTS;
    let asked: Extract<LostEffect, { type: 'sweep' | 'look' }>[] = [];
    const feed = (nowMs: number, event: LostEvent): void => {
      const decision = decideLost(state, event, { nowMs, helpers });
      state = decision.state;
      asked = decision.effects.filter((effect) => effect.type === 'sweep');
    };
    const by = (): string => asked.map((sweep) => sweep.by).join();
    for (const nowMs of [0, 5_000, 10_000]) feed(nowMs, { type: 'looked', stale: [LOST], found });
    feed(15_000, { type: 'looked', stale: [LOST], found });
    const renew = (nowMs: number): void => {
      feed(nowMs, { type: 'claimAnswered', host: LOST, outcome: 'ours', note: NO_NOTE });
    };
    renew(15_000);
    assert.equal(by(), 'a');
    const answer = {
      type: 'swept',
      sweepId: asked[0]?.sweepId ?? '',
      served: true,
      released: 0,
      waiting: [],
    } as const;
    feed(18_000, { type: 'tick' });
    assert.equal(by(), 'b', 'a was silent for 3 s');
    renew(18_000);
    feed(18_100, { ...answer, by: 'a', error: null });
    assert.equal(state.hosts[0]?.parts[0]?.askedOf, 'b', 'a late answer is not the one that is waited for');
    feed(18_200, { ...answer, by: 'b', error: 'LOADING' });
    assert.equal(by(), '');
    feed(19_300, { type: 'tick' });
    assert.equal(by(), 'a', 'b had failed');
    feed(19_400, { ...answer, by: 'a', served: false, error: null });
    feed(20_500, { type: 'tick' });
    assert.equal(by(), 'b', 'a does not serve it');
    helpers.pop();
    feed(20_600, { type: 'helperGone', identity: 'b' });
    assert.equal(by(), 'a', 'b is gone, and nobody else is left');
  });

  it('is not acted on by a master that has just started, was suspended, or had no Redis', () => {
    const started = lostBeside();
    started.pass(40_000);
    started.add('young', QUEUES);
    started.pass(14_000);
    assert.equal(started.held.length, 6);
    started.pass(30_000);
    assert.deepEqual(started.held, []);

    for (const away of ['redis', 'master'] as const) {
      const world = new World();
      const rescuer = world.add('r0', QUEUES);
      world.pass(20_000);
      for (const queue of QUEUES) world.addJobs(queue, 3);
      world.redisUp = away !== 'redis';
      rescuer.suspended = away === 'master';
      world.lose();
      world.pass(60_000);
      world.redisUp = true;
      rescuer.suspended = false;
      // everybody comes back within some seconds
      world.pass(8_000);
      world.renew();
      world.beat();
      world.pass(60_000, () => {
        world.beat();
        world.renew();
      });
      assert.equal(world.held.length, 6, `after a time without ${away}`);
      assert.equal(world.claim, null);
    }
  });
});

const disturbance = fc.oneof(
  fc.record({ at: fc.nat(120), what: fc.constantFrom('redisDown', 'redisUp') }),
  fc.record({
    at: fc.nat(120),
    what: fc.constantFrom('die', 'join', 'suspend', 'resume', 'hang', 'fail', 'work'),
    who: fc.nat(2),
  }),
);
type Disturbance = { at: number; what: string; who?: number };

function disturb(world: World, { what, who = 0 }: Disturbance): void {
  const rescuer = world.rescuers[who % Math.max(1, world.rescuers.length)];
  if (what === 'redisDown' || what === 'redisUp') world.redisUp = what === 'redisUp';
  else if (what === 'join') world.add(`r${world.rescuers.length}`, QUEUES);
  else if (!rescuer) return;
  else if (what === 'die') rescuer.alive = false;
  else if (what === 'suspend' || what === 'resume') rescuer.suspended = what === 'suspend';
  else rescuer.children = what as Rescuer['children'];
}

describe('whatever happens to the masters that are left', () => {
  const disturbances = fc.array(disturbance, { maxLength: 12 }) as fc.Arbitrary<Disturbance[]>;

  it('one of them at a time does it, and in the end all is released and forgotten', () => {
    fc.assert(
      fc.property(disturbances, fc.integer({ min: 1, max: 3 }), fc.nat(6), (list, count, reported) => {
        const world = lostBeside(...Array(count).fill(QUEUES));
        const startMs = world.nowMs;
        const reportedIds = world.holdings.flatMap(({ jobIds }) => jobIds).slice(0, reported);
        world.reported = reported;
        const left = list.toSorted((a, b) => a.at - b.at);
        world.pass(121_000, () => {
          while (left[0] && world.nowMs - startMs >= left[0].at * 1_000)
            disturb(world, left.shift() as Disturbance);
        });
        world.redisUp = true;
        for (const rescuer of world.rescuers) {
          rescuer.suspended = false;
          rescuer.children = 'work';
        }
        world.add('last', QUEUES);
        world.pass(90_000);
        // what nobody saw before its lock ran out is left to the stalled check
        assert.deepEqual(
          world.held.filter((id) => reportedIds.includes(id)),
          [],
        );
        assert.equal(world.staleAtMs, null, 'forgotten');
        assert.equal(world.claim, null);
      }),
      { numRuns: 100 },
    );
  });

  it('nothing is taken while its lock is renewed', () => {
    const gaps = fc.array(fc.integer({ min: 1_000, max: LOCK.durationMs - takeBelowMs(LOCK) - STEP_MS }), {
      minLength: 1,
      maxLength: 20,
    });
    fc.assert(
      fc.property(disturbances, gaps, (list, gapsMs) => {
        const world = lostBeside(QUEUES, QUEUES);
        const startMs = world.nowMs;
        const left = list.toSorted((a, b) => a.at - b.at);
        let renewals = 0;
        let nextMs = startMs;
        world.pass(180_000, () => {
          while (left[0] && world.nowMs - startMs >= left[0].at * 1_000)
            disturb(world, left.shift() as Disturbance);
          if (world.nowMs < nextMs) return;
          world.renew();
          nextMs = world.nowMs + (gapsMs[renewals++ % gapsMs.length] as number);
        });
        assert.equal(world.held.length, 6);
      }),
      { numRuns: 60 },
    );
  });
});
