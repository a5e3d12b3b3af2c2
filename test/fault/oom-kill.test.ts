/** Fault 5: the kernel's OOM killer, in a real memory cgroup. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it, type TestContext } from 'node:test';
import { DeathTrial } from '../support/death-trial.js';
import { type MemoryCgroup, makeMemoryCgroup } from '../support/memory-cgroup.js';
import { isAlive } from '../support/processes.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import type { Swarm } from '../support/swarm.js';
import { fullIt } from '../support/tier.js';
import { waitFor } from '../support/wait.js';

const MB = 1e6;

describe('memory that runs out in a cgroup', () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  /** A cgroup that is gone with the test; null: the machine cannot, and the test is skipped. */
  function cgroup(t: TestContext, limitBytes: number): MemoryCgroup | null {
    const made = makeMemoryCgroup(limitBytes);
    if (typeof made === 'string') {
      t.skip(made);
      return null;
    }
    return made;
  }

  /** The master, and so whatever it starts, is in the cgroup before it has started anything. */
  function startInside(trial: DeathTrial, memory: MemoryCgroup, count: number): Swarm {
    const swarm = trial.startSwarm(count);
    memory.add(swarm.pid);
    trial.t.after(async () => {
      await swarm.close();
      await memory.remove();
    });
    return swarm;
  }

  it('kills a child, never its master, and is found to have done it', async (t) => {
    const memory = cgroup(t, 500 * MB);
    if (!memory) return;
    const trial = new DeathTrial(t, redis);
    const swarm = startInside(trial, memory, 2);
    const pids = await swarm.ready(2);
    const scores = [swarm.pid, ...pids].map((pid) =>
      Number(readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8')),
    );
    assert.ok(
      scores.slice(1).every((score) => score >= Math.min(1_000, (scores[0] as number) + 300)),
      `scores ${scores}`,
    );

    const { id, exited, death } = await trial.fatal(swarm, { way: 'hog' });
    t.diagnostic(death.evidence.summary);
    const { oom } = death.evidence;
    assert.deepEqual([death.cause, death.signal, memory.oomKills()], ['oom-kill', 'SIGKILL', 1]);
    assert.ok(oom?.kernelLog || oom?.counted === 1, JSON.stringify(oom));
    if (oom?.kernelLog) assert.ok((oom.anonRssBytes as number) > 100 * MB, oom.kernelLog);
    assert.match(String(exited['rss']), /^\d+MB$/);
    assert.deepEqual(
      death.jobs.map((job) => [job.id, job.outcome]),
      [[id, 'released']],
    );
    assert.ok(isAlive(swarm.pid), 'the master lives');
    await trial.nothingLost(new Map([[swarm, 2]]));
  });

  fullIt('is not blamed for another kill in the same moment', async (t) => {
    const memory = cgroup(t, 700 * MB);
    if (!memory) return;
    const trial = new DeathTrial(t, redis);
    const swarm = startInside(trial, memory, 3);
    await swarm.ready(3);
    const waiting = await Promise.all([trial.add({ way: 'waits' }), trial.add({ way: 'waits' })]);
    const others = await Promise.all(waiting.map((id) => trial.runs(id)));
    const hog = await trial.add({ way: 'hog' });
    const { pid } = await trial.runs(hog);
    await waitFor('the kernel kills', () => memory.oomKills() === 1, { everyMs: 1 });
    for (const other of others) process.kill(other.pid, 'SIGKILL');

    const deaths = await Promise.all(
      [pid, ...others.map((other) => other.pid)].map((each) => trial.death(each)),
    );
    t.diagnostic(
      deaths.map(({ cause, atMs }) => `${cause} at ${atMs - (deaths[0]?.atMs ?? 0)} ms`).join(', '),
    );
    const causes = deaths.map(({ cause }) => cause);
    if (deaths.every(({ evidence }) => evidence.oom?.kernelLogRead))
      assert.deepEqual(causes, ['oom-kill', 'signal', 'signal']);
    // where nobody says who it was, one kill is still one
    else assert.deepEqual(causes.toSorted(), ['oom-kill', 'signal', 'signal']);
    await trial.nothingLost(new Map([[swarm, 3]]));
  });

  fullIt('kills a child that was moved into it later', async (t) => {
    const memory = cgroup(t, 250 * MB);
    if (!memory) return;
    const trial = new DeathTrial(t, redis);
    const swarm = trial.startSwarm(2);
    t.after(async () => {
      await swarm.close();
      await memory.remove();
    });
    const [pid] = (await swarm.ready(2)) as [number, number];
    memory.add(pid);
    // whichever of the two gets the job, it has no memory of its own to speak of there
    for (const each of swarm.children.values()) if (each !== pid) memory.add(each);
    // the master looks once a second: a beat of the registry comes later than that
    const since = Date.now();
    await waitFor(
      'the master has looked',
      async () => (await trial.registry.masters()).some((master) => master.beatAtMs > since + 1_500),
      { timeoutMs: 20_000 },
    );
    const { death } = await trial.fatal(swarm, { way: 'hog' });
    assert.equal(death.cause, 'oom-kill');
    assert.match(death.evidence.oom?.counterFile ?? '', /swarm-test-/);
    await trial.nothingLost(new Map([[swarm, 2]]));
  });
});
