/** Loops that only seem to stand: a starved machine, a suspend, a debugger, a job that computes for a while. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { startRedis, type TestRedis } from '../support/redis.js';
import { StuckTrial } from '../support/stuck-trial.js';
import type { Swarm } from '../support/swarm.js';
import { IS_LONG } from '../support/tier.js';

const BUSY_LOOPS = 10;
const SUSPENDED_MS = IS_LONG ? 60_000 : 6_000;
const BUSY_MS = IS_LONG ? 120_000 : 0;
const LEAST_JOBS = 3;
/** A job that sleeps, and from when on it would be stuck. */
const ALMOST = IS_LONG
  ? { sleepMs: 9_000, args: ['--stuck-after', '10s', '--stuck-kill-after', '12s'] }
  : { sleepMs: 3_300, args: ['--stuck-after', '4s', '--stuck-kill-after', '6s'] };
/** Of the CPU; on a starved one it takes many times as long. */
const COMPUTE_MS = 800;
/** More than twice of that. */
const PATIENT_LIMITS = ['--stuck-after', '2s', '--stuck-kill-after', '4s'];
const patient = { timeoutMs: 120_000 };

describe('a loop that only seems to stand', () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  it('on a machine with ten busy loops, in jobs that compute: nobody is dumped, nor killed', async (t) => {
    const trial = new StuckTrial(t, redis);
    const swarm = trial.startStuck({}, PATIENT_LIMITS);
    await swarm.ready(1);
    for (let loop = 0; loop < BUSY_LOOPS; loop += 1) keepBusy(t);
    const busySinceMs = Date.now();
    for (let job = 0; job < LEAST_JOBS || Date.now() - busySinceMs < BUSY_MS; job += 1) {
      const startedAtMs = Date.now();
      const id = await trial.add({ hang: 'compute', cpuMs: COMPUTE_MS, first: false });
      await swarm.line(`ends ${id}`, {}, patient);
      t.diagnostic(`${COMPUTE_MS} ms of CPU took ${Date.now() - startedAtMs} ms`);
    }
    await calm(trial, swarm);
  });

  it('after a suspend of everything, in the middle of a job that computes', async (t) => {
    const trial = new StuckTrial(t, redis);
    const swarm = trial.startStuck({}, PATIENT_LIMITS);
    const pids = await swarm.ready(1);
    const id = await trial.add({ hang: 'compute', cpuMs: COMPUTE_MS, first: false });
    await trial.runs(id);
    const everything = [swarm.pid, ...pids];
    for (const pid of everything) process.kill(pid, 'SIGSTOP');
    await delay(SUSPENDED_MS);
    for (const pid of everything) process.kill(pid, 'SIGCONT');
    await swarm.line(`ends ${id}`, {}, patient);
    await calm(trial, swarm);
  });

  it('after a suspend of the master alone', async (t) => {
    const trial = new StuckTrial(t, redis);
    const swarm = trial.startStuck();
    await swarm.ready(1);
    swarm.kill('SIGSTOP');
    await delay(SUSPENDED_MS);
    swarm.kill('SIGCONT');
    await swarm.line(`ends ${await trial.add({ ms: 10 })}`, {}, patient);
    await calm(trial, swarm);
  });

  it('at a breakpoint, with a debugger attached', async (t) => {
    const trial = new StuckTrial(t, redis);
    const swarm = trial.startStuck();
    await swarm.ready(1);
    const id = await trial.add({ hang: 'debug', pauseMs: 5_000, first: false });
    await swarm.line(`ends ${id}`, {}, patient);
    await calm(trial, swarm);
  });

  it('in a job that sleeps for a little less than the threshold', async (t) => {
    const trial = new StuckTrial(t, redis);
    const swarm = trial.startStuck({}, ALMOST.args);
    await swarm.ready(1);
    const id = await trial.add({ hang: 'sleep', sleepMs: ALMOST.sleepMs, first: false });
    await swarm.line(`ends ${id}`, {}, patient);
    await calm(trial, swarm);
  });
});

/** The same child goes on, and nobody said anything of it. */
async function calm(trial: StuckTrial, swarm: Swarm): Promise<void> {
  for (const message of ['stuck', 'dump', 'kill', 'exited'])
    assert.deepEqual(swarm.all(message), [], swarm.tail());
  assert.deepEqual(await trial.dumps(), []);
  await trial.nothingLost(new Map([[swarm, 1]]), patient);
}

function keepBusy(t: TestContext): void {
  const loop: ChildProcess = spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' });
  t.after(async () => {
    loop.kill('SIGKILL');
    if (loop.exitCode === null && loop.signalCode === null) await once(loop, 'exit');
  });
}
