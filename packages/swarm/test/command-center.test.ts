/** Every command ends with exactly one last answer, whatever happens to the children and the master. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { CommandCenter } from '../dist/master/command-center.js';
import { type Answer, COMMAND_DEADLINE_MS, type ControlCommand } from '../dist/registry/commands.js';
import { decide } from '../dist/supervisor/decide.js';
import type { Effect, SupervisorEvent } from '../dist/supervisor/events.js';
import { DEFAULT_POLICY, initialState, type SupervisorState } from '../dist/supervisor/state.js';

type Who = 'child' | 'next' | 'leaving';

/** A supervisor that is commanded, and children that do as the test says. */
class Commanded {
  state: SupervisorState;
  nowMs = 0;
  canFork = true;
  /** By command, in the order in which they were sent. */
  readonly answers: Answer[][] = [];
  readonly #told = new Map<string, 'stop' | 'kill' | null>();
  readonly #center = new CommandCenter((identity) => `why ${identity} ended`);
  readonly #queue: SupervisorEvent[] = [];
  #feeding = false;
  #spawned = 0;

  constructor(groups = [{ name: 'default', count: 3 }]) {
    this.state = initialState(groups, DEFAULT_POLICY, 0);
    this.tick(0);
  }

  command(command: ControlCommand): Answer[] {
    const answers: Answer[] = [];
    this.answers.push(answers);
    const event = this.#center.take(command, (answer) => answers.push(answer), this.state, this.nowMs);
    if (event) this.feed(event);
    return answers;
  }

  /** As the master does it: one event after the other, never one within another. */
  feed(event: SupervisorEvent): void {
    this.#queue.push(event);
    if (this.#feeding) return;
    this.#feeding = true;
    for (let next = this.#queue.shift(); next; next = this.#queue.shift()) {
      const { state, effects } = decide(this.state, next, { nowMs: this.nowMs, random: 0.5 });
      this.state = state;
      this.#center.observe(state, effects, this.nowMs);
      for (const effect of effects) this.#carryOut(effect);
    }
    this.#feeding = false;
  }

  #carryOut(effect: Effect): void {
    if (effect.type === 'kill') this.#told.set(effect.identity, 'kill');
    if (effect.type === 'send' && effect.message.type === 'stop' && !this.#told.get(effect.identity))
      this.#told.set(effect.identity, 'stop');
    if (effect.type !== 'spawn') return;
    const { slot, seat, generation } = effect;
    if (!this.canFork) return this.feed({ type: 'spawnFailed', slot, seat, error: 'EAGAIN' });
    const pid = 100 + ++this.#spawned;
    const identity = `host:${pid}:x`;
    this.#told.set(identity, null);
    this.feed({ type: 'childSpawned', slot, seat, identity, pid, generation });
  }

  identityAt(index: number, who: Who = 'child'): string {
    const slot = this.state.slots.find((other) => other.index === index);
    const child = who === 'child' ? slot?.child : who === 'next' ? slot?.next?.child : slot?.leaving?.child;
    return child?.identity ?? 'nobody';
  }

  ready(slot: number, who: Who = 'child'): void {
    const identity = this.identityAt(slot, who);
    if (identity !== 'nobody') this.feed({ type: 'childReady', slot, identity, canRelease: true });
  }

  die(slot: number, who: Who = 'child'): void {
    const identity = this.identityAt(slot, who);
    if (!this.#told.delete(identity)) return;
    this.feed({ type: 'childExited', slot, identity, drained: false, held: false });
  }

  /** Who was told to leave leaves; who was killed is gone. */
  obey({ killed = true, stopped = true } = {}): void {
    for (const slot of this.state.slots) {
      for (const who of ['child', 'next', 'leaving'] as const) {
        const told = this.#told.get(this.identityAt(slot.index, who));
        if ((told === 'kill' && killed) || (told === 'stop' && stopped)) this.die(slot.index, who);
      }
    }
  }

  tick(byMs: number): void {
    this.nowMs += byMs;
    this.feed({ type: 'tick' });
  }

  pass(ms: number): void {
    for (let left = ms; left > 0; left -= 1_000) this.tick(Math.min(left, 1_000));
  }

  allReady(): void {
    for (const { index } of this.state.slots) {
      this.ready(index);
      this.ready(index, 'next');
    }
  }

  /** Children that boot, settle and obey, for as long as it takes. */
  settle(rounds = 20): void {
    for (let round = 0; round < rounds; round++) {
      this.allReady();
      this.pass(1_100);
      this.obey();
    }
  }
}

function upAndRunning(groups?: { name: string; count: number }[]): Commanded {
  const swarm = new Commanded(groups);
  swarm.allReady();
  return swarm;
}

const states = (answers: readonly Answer[]): string[] => answers.map(({ state }) => state);
const last = (answers: readonly Answer[]): string => {
  const answer = answers.at(-1);
  return `${answer?.state}: ${answer?.message}`;
};

describe('a command is answered', () => {
  it('quiet and resume: at once, of a master and of one child', () => {
    const swarm = upAndRunning();
    const all = swarm.command({ type: 'quiet', child: null });
    assert.deepEqual(states(all), ['accepted', 'done']);
    assert.equal(last(all), 'done: 0/3 up, 3 quiet');
    assert.equal(last(swarm.command({ type: 'resume', child: null })), 'done: 3/3 up');
    const one = swarm.command({ type: 'quiet', child: swarm.identityAt(1) });
    assert.equal(last(one), 'done: slot 1 is quiet');
    assert.equal(
      last(swarm.command({ type: 'quiet', child: 'nobody' })),
      'failed: this child is gone, or on its way out',
    );
  });

  it('stop of a master: when it ends, and says so when a child had to be killed', () => {
    for (const [obeys, expected] of [
      [true, 'done: stopped'],
      [false, 'done: stopped; a child had to be killed'],
    ] as const) {
      const swarm = upAndRunning();
      const answers = swarm.command({ type: 'stop', child: null });
      const again = swarm.command({ type: 'stop', child: null });
      assert.equal(last(swarm.command({ type: 'roll' })), 'failed: the master is stopping');
      if (!obeys) swarm.pass(DEFAULT_POLICY.drainTimeoutMs + DEFAULT_POLICY.stopGraceMs + 1_000);
      assert.deepEqual(states(answers), ['accepted']);
      swarm.obey();
      assert.equal(last(answers), expected);
      assert.equal(last(again), expected);
      assert.equal(last(swarm.command({ type: 'stop', child: null })), 'done: stopped');
      assert.equal(last(swarm.command({ type: 'roll' })), 'failed: the master has stopped');
    }
  });

  it('stop of a child: when it is gone, a wedged one after its kill; the last of a group stays', () => {
    const swarm = upAndRunning();
    const answers = swarm.command({ type: 'stop', child: swarm.identityAt(2) });
    swarm.pass(DEFAULT_POLICY.drainTimeoutMs + DEFAULT_POLICY.stopGraceMs - 1_000);
    assert.deepEqual(states(answers), ['accepted'], 'it has its time');
    swarm.pass(2_000);
    swarm.obey({ stopped: false });
    assert.equal(last(answers), 'done: the child of slot 2 is gone (it had to be killed); 2/2 up');
    const both = [0, 1].map((slot) => swarm.command({ type: 'stop', child: swarm.identityAt(slot) }));
    swarm.obey();
    assert.match(last(both[0] as Answer[]), /^done/);
    assert.match(last(both[1] as Answer[]), /^failed: slot 1 is the last of its group/);
    assert.deepEqual(
      swarm.state.slots.map(({ index, state }) => [index, state]),
      [[1, 'up']],
    );
  });

  it('roll: with news of each slot, and at the end of it', () => {
    const swarm = upAndRunning();
    const answers = swarm.command({ type: 'roll' });
    swarm.settle(6);
    assert.deepEqual(states(answers), ['accepted', 'news', 'news', 'news', 'done']);
    assert.deepEqual(
      answers.slice(1).map(({ message }) => message),
      [
        'slot 0 replaced, 2 to go',
        'slot 1 replaced, 1 to go',
        'slot 2 replaced, 0 to go',
        'generation 1; 3/3 up',
      ],
    );
  });

  it('roll to what does not boot: why, and that the old children go on', () => {
    const swarm = upAndRunning();
    const answers = swarm.command({ type: 'roll' });
    const next = swarm.identityAt(0, 'next');
    swarm.die(0, 'next');
    assert.equal(
      last(answers),
      `failed: the new child did not live: why ${next} ended; the old children go on`,
    );
    assert.deepEqual(
      swarm.state.slots.map(({ state, child }) => [state, child?.generation]),
      [
        ['up', 0],
        ['up', 0],
        ['up', 0],
      ],
    );
  });

  it('roll asked for during a roll: at the end of the one after, also when the first is given up', () => {
    for (const isGivenUp of [false, true]) {
      const swarm = upAndRunning();
      const first = swarm.command({ type: 'roll' });
      const second = swarm.command({ type: 'roll' });
      if (isGivenUp) swarm.die(0, 'next');
      swarm.settle();
      assert.match(last(first), isGivenUp ? /^failed/ : /^done: generation 1/);
      assert.equal(last(second), 'done: generation 2; 3/3 up');
      assert.ok(swarm.state.slots.every(({ child }) => child?.generation === 2));
    }
  });

  it('recycle: when the new child is there and the old one gone; and when a roll that would do it is given up', () => {
    const swarm = upAndRunning();
    const answers = swarm.command({ type: 'recycle', child: swarm.identityAt(1) });
    assert.equal(
      last(swarm.command({ type: 'recycle', child: 'nobody' })),
      'failed: this child is gone, or on its way out',
    );
    swarm.ready(1, 'next');
    swarm.pass(1_100);
    assert.deepEqual(states(answers), ['accepted'], 'the old child is still on its way out');
    swarm.obey();
    assert.match(last(answers), /^done: slot 1 replaced: pid \d+$/);

    swarm.command({ type: 'roll' });
    const waiting = swarm.command({ type: 'recycle', child: swarm.identityAt(2) });
    swarm.die(0, 'next');
    assert.equal(last(waiting), 'failed: a roll that was to replace it was given up; the old child goes on');

    const hopeless = swarm.command({ type: 'recycle', child: swarm.identityAt(0) });
    swarm.die(0, 'next');
    assert.match(
      last(hopeless),
      /^failed: the new child did not live: why .*; the old child goes on, and another try follows$/,
    );
  });

  it('scale: when all that were added are up, or all that leave are gone', () => {
    const swarm = upAndRunning();
    const up = swarm.command({ type: 'scale', group: null, count: 5 });
    swarm.pass(1_000);
    swarm.ready(3);
    assert.deepEqual(states(up), ['accepted']);
    swarm.ready(4);
    assert.equal(last(up), 'done: 5/5 up');
    const down = swarm.command({ type: 'scale', group: 'default', count: 1 });
    assert.deepEqual(states(down), ['accepted']);
    const further = swarm.command({ type: 'scale', group: 'default', count: 2 });
    assert.equal(last(down), 'failed: changed again meanwhile: 2 wanted now');
    swarm.pass(1_000);
    swarm.settle(2);
    assert.equal(last(further), 'done: 2/2 up');
    assert.equal(
      last(swarm.command({ type: 'scale', group: 'mail', count: 2 })),
      'failed: there is no group "mail", only default',
    );
    const same = swarm.command({ type: 'scale', group: null, count: 2 });
    assert.deepEqual(states(same), ['accepted', 'done']);
  });

  it('scale of one of several groups, which must be named; and to what does not boot', () => {
    const swarm = upAndRunning([
      { name: 'mail', count: 2 },
      { name: 'reports', count: 1 },
    ]);
    assert.equal(
      last(swarm.command({ type: 'scale', group: null, count: 3 })),
      'failed: name one of the groups: mail, reports',
    );
    const answers = swarm.command({ type: 'scale', group: 'reports', count: 2 });
    for (let boots = 0; boots < 3; boots++) {
      swarm.pass(5_000);
      assert.deepEqual(states(answers), ['accepted']);
      swarm.die(3);
    }
    assert.equal(last(answers), 'failed: slot 3 does not boot; it is tried again and again');
  });

  it('when its deadline passes', () => {
    const swarm = upAndRunning();
    swarm.canFork = false;
    const answers = swarm.command({ type: 'scale', group: null, count: 4 });
    swarm.pass(COMMAND_DEADLINE_MS - 1_000);
    assert.deepEqual(states(answers), ['accepted']);
    swarm.pass(2_000);
    assert.equal(last(answers), 'failed: not done within 10 min; it goes on, and swarm ps shows how');
  });
});

type Step =
  | { do: 'ready' | 'die'; slot: number; who: Who }
  | { do: 'pass'; ms: number }
  | { do: 'obey' | 'bury' | 'toggleFork' | 'lost' | 'back' | 'stop' | 'force' | 'settle' }
  | { do: 'quiet' | 'resume' | 'stopChild' | 'recycle'; slot: number; who: Who }
  | { do: 'roll' | 'quietAll' | 'resumeAll' | 'stopAll' }
  | { do: 'scale'; count: number };

const slot = fc.nat(5);
const who = fc.constantFrom<Who>('child', 'child', 'next', 'leaving');
const command = fc.oneof(
  fc.record({ do: fc.constantFrom('quiet', 'resume', 'stopChild', 'recycle', 'recycle'), slot, who }),
  fc.record({ do: fc.constantFrom('roll', 'roll', 'quietAll', 'resumeAll') }),
  fc.record({ do: fc.constant('scale'), count: fc.integer({ min: 1, max: 5 }) }),
);
const living = fc.record({ do: fc.constantFrom('ready', 'ready', 'die'), slot, who });
const around = fc.record({ do: fc.constantFrom('obey', 'bury', 'toggleFork', 'lost', 'back', 'settle') });
const ending = fc.record({ do: fc.constantFrom('stop', 'force', 'stopAll') });

/** At most 60 steps, and between them at most so much time. */
function stepsOf(maxPassMs: number): fc.Arbitrary<Step[]> {
  const pass = fc.record({ do: fc.constant('pass'), ms: fc.integer({ min: 1, max: maxPassMs }) });
  const step = fc.oneof(
    { weight: 6, arbitrary: command },
    { weight: 6, arbitrary: living },
    { weight: 4, arbitrary: pass },
    { weight: 3, arbitrary: around },
    { weight: 1, arbitrary: ending },
  );
  return fc.array(step, { maxLength: 60 }) as fc.Arbitrary<Step[]>;
}

function play(swarm: Commanded, step: Step): void {
  switch (step.do) {
    case 'ready':
      return swarm.ready(step.slot, step.who);
    case 'die':
      return swarm.die(step.slot, step.who);
    case 'pass':
      return swarm.pass(step.ms);
    case 'obey':
      return swarm.obey();
    case 'bury':
      return swarm.obey({ stopped: false });
    case 'toggleFork':
      swarm.canFork = !swarm.canFork;
      return;
    case 'settle':
      return swarm.settle(3);
    case 'lost':
      return swarm.feed({ type: 'redisLost' });
    case 'back':
      return swarm.feed({ type: 'redisBack' });
    case 'stop':
      return swarm.feed({ type: 'stopRequested' });
    case 'force':
      return swarm.feed({ type: 'stopForced' });
    case 'quiet':
    case 'resume':
      return void swarm.command({ type: step.do, child: swarm.identityAt(step.slot, step.who) });
    case 'stopChild':
      return void swarm.command({ type: 'stop', child: swarm.identityAt(step.slot, step.who) });
    case 'recycle':
      return void swarm.command({ type: 'recycle', child: swarm.identityAt(step.slot, step.who) });
    case 'quietAll':
      return void swarm.command({ type: 'quiet', child: null });
    case 'resumeAll':
      return void swarm.command({ type: 'resume', child: null });
    case 'stopAll':
      return void swarm.command({ type: 'stop', child: null });
    case 'roll':
      return void swarm.command({ type: 'roll' });
    case 'scale':
      return void swarm.command({ type: 'scale', group: null, count: step.count });
  }
}

describe('whatever happens', () => {
  it('a command has one last answer, nothing after it, and never waits longer than its deadline', () => {
    fc.assert(
      fc.property(stepsOf(40_000), fc.boolean(), (sequence, calms) => {
        const swarm = new Commanded();
        for (const step of sequence) play(swarm, step);
        // either all goes well from here on, or nothing ever happens again
        if (calms) {
          swarm.canFork = true;
          swarm.feed({ type: 'redisBack' });
          swarm.settle(30);
        }
        swarm.pass(COMMAND_DEADLINE_MS + 1_000);
        for (const answers of swarm.answers) {
          const shown = JSON.stringify(answers);
          const ends = answers.filter(({ state }) => state === 'done' || state === 'failed');
          assert.equal(ends.length, 1, shown);
          assert.equal(answers.at(-1), ends[0], shown);
          const accepted = answers.filter(({ state }) => state === 'accepted');
          assert.ok(answers.length === 1 || (accepted.length === 1 && answers[0] === accepted[0]), shown);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('with children that boot and obey, no command has to wait for its deadline', () => {
    fc.assert(
      fc.property(stepsOf(4_000), (sequence) => {
        const swarm = upAndRunning();
        for (const step of sequence) play(swarm, step);
        swarm.canFork = true;
        swarm.feed({ type: 'redisBack' });
        swarm.settle(60);
        for (const answers of swarm.answers) {
          assert.ok(['done', 'failed'].includes(answers.at(-1)?.state ?? ''), JSON.stringify(answers));
        }
        assert.ok(swarm.nowMs < COMMAND_DEADLINE_MS, 'no deadline can have passed');
      }),
      { numRuns: 200 },
    );
  });
});
