/** Faults 13 and 31: too little of what the machine has to give: CPU time, file descriptors, processes. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { after, before, describe, it, type TestContext } from 'node:test';
import { makePidsCgroup } from '../support/pids-cgroup.js';
import { isAlive } from '../support/processes.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import type { Swarm } from '../support/swarm.js';
import { Trial } from '../support/trial.js';
import { waitFor } from '../support/wait.js';

const BUSY_LOOPS = 10;
const NOT_SPAWNED = 'cannot spawn';
const patient = { timeoutMs: 90_000 };

function whyNot(command: string): string | false {
  const { error } = spawnSync(command, ['--version']);
  return error ? `${command} is not to be had here` : false;
}

describe('starved', { concurrency: 3 }, () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  it('of CPU, by ten busy loops on its only one: it boots late, and nobody is killed', {
    skip: whyNot('taskset'),
  }, async (t) => {
    const trial = new Trial(t, redis);
    const oneCpu: readonly string[] = ['taskset', '--cpu-list', '0'];
    for (let loop = 0; loop < BUSY_LOOPS; loop += 1) keepBusy(t, oneCpu);
    const swarm = trial.start(2, { by: oneCpu });
    const spawned = await swarm.line('spawned', {}, { nth: 2, ...patient });
    await swarm.ready(2, patient);
    t.diagnostic(`ready ${Date.now() - Date.parse(spawned.time)} ms after the spawn`);
    const ids = await trial.addMany(4, { ms: 10 });
    for (const id of ids) await trial.runs(id, 1, patient);
    assert.deepEqual(swarm.all('kill'), []);
    assert.equal(swarm.spawnedPids.length, 2, 'nobody was replaced');
    await trial.nothingLost(new Map([[swarm, 2]]), patient);
  });

  it('of file descriptors: the living go on, and the dead are replaced when there are some again', {
    skip: whyNot('prlimit'),
  }, async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(3);
    await swarm.ready(3);
    await replacedOnceThereIsRoom(trial, swarm, {
      starve: () => limitFiles(swarm.pid, readdirSync(`/proc/${swarm.pid}/fd`).length),
      feed: () => limitFiles(swarm.pid, 1_024),
    });
  });

  it('of processes, in a cgroup that has no room: likewise', async (t) => {
    const cgroup = makePidsCgroup();
    if (typeof cgroup === 'string') return t.skip(cgroup);
    const trial = new Trial(t, redis);
    t.after(() => cgroup.remove());
    const swarm = trial.start(3);
    cgroup.add(swarm.pid);
    await swarm.ready(3);
    await replacedOnceThereIsRoom(trial, swarm, {
      // threads count; those of the dead child are free again, so there must be none to spare
      starve: () => cgroup.limit(1),
      feed: () => cgroup.limit(null),
    });
  });
});

/** Two of three children die, of which one has a job, while nobody can be spawned. */
async function replacedOnceThereIsRoom(
  trial: Trial,
  swarm: Swarm,
  resource: { starve: () => void; feed: () => void },
): Promise<void> {
  const id = await trial.add({ first: { ms: 600_000 } });
  const { pid } = await trial.runs(id);
  const [other = 0, survivor = 0] = [...swarm.children.values()].filter((child) => child !== pid);
  resource.starve();
  for (const victim of [pid, other]) process.kill(victim, 'SIGKILL');
  const again = await trial.runs(id, 2);
  assert.equal(again.pid, survivor, 'a sibling runs it');
  await waitFor('it is said, and tried again', () => saidNotSpawned(swarm) >= 3, { timeoutMs: 30_000 });
  assert.ok(isAlive(survivor) && isAlive(swarm.pid));
  resource.feed();
  await swarm.ready(3, { timeoutMs: 60_000 });
  await trial.nothingLost(new Map([[swarm, 3]]));
  assert.ok([...swarm.children.values()].includes(survivor));
}

function saidNotSpawned(swarm: Swarm): number {
  return swarm.all(NOT_SPAWNED).length;
}

function limitFiles(pid: number, count: number): void {
  const { status, stderr } = spawnSync('prlimit', ['--pid', String(pid), `--nofile=${count}:`], {
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
}

function keepBusy(t: TestContext, [command = '', ...words]: readonly string[]): void {
  const loop: ChildProcess = spawn(command, [...words, process.execPath, '-e', 'for(;;);'], {
    stdio: 'ignore',
  });
  t.after(() => loop.kill('SIGKILL'));
}
