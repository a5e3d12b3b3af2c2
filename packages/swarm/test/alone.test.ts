import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type AloneState, mayFetch, nothingInHand, step } from '../dist/fetch/alone.js';

interface Job {
  id: number;
  suspect: boolean;
}

/** A child that fetches and runs jobs as the gate lets it; the invariants hold after every step. */
class World {
  state: AloneState<Job> = nothingInHand();
  fetches = 0;
  readonly running = new Set<Job>();
  readonly waiting: Job[] = [];
  /** In the order in which suspects came, and in which they began. */
  readonly came: number[] = [];
  readonly began: number[] = [];
  #count = 0;

  beginFetch(): void {
    if (!mayFetch(this.state)) return;
    this.fetches += 1;
    this.#on({ type: 'fetchBegan' });
  }

  endFetch(brings: 'nothing' | 'job' | 'suspect'): void {
    if (this.fetches === 0) return;
    if (brings !== 'nothing') {
      const job = { id: ++this.#count, suspect: brings === 'suspect' };
      if (job.suspect) {
        this.waiting.push(job);
        this.came.push(job.id);
      } else this.running.add(job);
      this.#on({ type: 'jobCame', job, suspect: job.suspect });
    }
    this.fetches -= 1;
    this.#on({ type: 'fetchEnded' });
  }

  /** A job at work ends, or one that waits is taken away. */
  leave(at: number): void {
    const jobs = [...this.running, ...this.waiting];
    const job = jobs[at % Math.max(1, jobs.length)];
    if (!job) return;
    this.running.delete(job);
    if (this.waiting.includes(job)) this.waiting.splice(this.waiting.indexOf(job), 1);
    this.#on({ type: 'jobLeft', job, suspect: job.suspect });
  }

  #on(event: Parameters<typeof step<Job>>[1]): void {
    this.state = step(this.state, event);
    const { alone } = this.state;
    if (alone && this.waiting.includes(alone)) {
      this.waiting.splice(this.waiting.indexOf(alone), 1);
      this.running.add(alone);
      this.began.push(alone.id);
    }
    const suspects = [...this.running].filter(({ suspect }) => suspect);
    if (suspects.length > 0) {
      assert.equal(this.running.size, 1, 'a suspect runs beside another job');
      assert.equal(this.fetches, 0, 'a job may come beside a suspect');
    }
    assert.equal(mayFetch(this.state), suspects.length === 0 && this.waiting.length === 0);
    assert.deepEqual(this.state.waiting, this.waiting);
  }
}

const action = fc.oneof(
  fc.record({ do: fc.constant('fetch' as const) }),
  fc.record({
    do: fc.constant('end' as const),
    brings: fc.constantFrom('nothing' as const, 'job' as const, 'suspect' as const),
  }),
  fc.record({ do: fc.constant('leave' as const), at: fc.nat(10) }),
);

describe('the gate for suspects', () => {
  it('never lets a suspect overlap with another job, and starves nobody', () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 200 }), (actions) => {
        const world = new World();
        for (const each of actions) {
          if (each.do === 'fetch') world.beginFetch();
          else if (each.do === 'end') world.endFetch(each.brings);
          else world.leave(each.at);
        }
        // whatever came before: once fetches and jobs end, everybody has had its turn and fetching goes on
        while (world.fetches > 0) world.endFetch('nothing');
        for (let left = world.running.size + world.waiting.length; left > 0; left -= 1) {
          assert.ok(world.running.size > 0, 'somebody waits although nothing runs');
          world.leave(0);
        }
        assert.equal(mayFetch(world.state), true);
        assert.deepEqual(world.state, nothingInHand());
        const order = world.came.filter((id) => world.began.includes(id));
        assert.deepEqual(world.began, order, 'first come, first served');
      }),
      { numRuns: 1_000 },
    );
  });

  it('has a suspect wait for jobs at work and for fetches under way, and runs what those bring first', () => {
    const world = new World();
    for (let at = 0; at < 3; at += 1) world.beginFetch();
    world.endFetch('job');
    world.endFetch('suspect');
    assert.equal(mayFetch(world.state), false);
    world.leave(0);
    assert.equal(world.state.alone, null, 'a fetch is under way');
    world.endFetch('job');
    assert.equal(world.running.size, 1);
    assert.equal(world.state.alone, null, 'the job that came last runs');
    world.leave(0);
    assert.deepEqual(world.state.alone, { id: 2, suspect: true });
    world.leave(0);
    assert.equal(mayFetch(world.state), true);
  });
});
