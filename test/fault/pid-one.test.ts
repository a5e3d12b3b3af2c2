/** Fault 34: jobs leave processes behind, and somebody must wait for these: an init does, swarm as PID 1 does not, and says so. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { noJobLost } from '../support/accounts.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { toolPath } from '../support/tools.js';
import { Trial } from '../support/trial.js';
import { waitFor } from '../support/wait.js';

const CONTAINER = ['unshare', '--pid', '--mount-proc', '--fork', '--kill-child'];
const ORPHANS_A_JOB = 10;
const JOBS = 20;

describe('in a container', () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  const cannot = (command: readonly string[]): string | null => {
    const [first = '', ...rest] = command;
    const { status, error, stderr } = spawnSync(first, [...rest, 'true'], { encoding: 'utf8' });
    return status === 0 ? null : `${command.join(' ')}: ${error?.message ?? stderr.trim()}`;
  };

  it('with an init: no zombie is left', async (t) => {
    const tini = toolPath('tini');
    if (tini === null) return t.skip('tini is not to be had here (package tini)');
    const command = [...CONTAINER, tini, '--'];
    const why = cannot(command);
    if (why !== null) return t.skip(`no container can be made: ${why}`);
    const trial = new Trial(t, redis);
    const swarm = trial.start(2, { host: { name: 'container', command } });
    await swarm.ready(2);
    assert.deepEqual(swarm.all('starting').length, 1);
    assert.ok(!swarm.lines.some(({ code }) => code === 'SWARM_PID_ONE'));
    await trial.addMany(JOBS, { orphans: ORPHANS_A_JOB });
    await noJobLost({ redis, jobs: [{ queue: trial.queue, ids: trial.ids }] });
    await waitFor('all of them have ended', () => sleepersOf(swarm.pid).living === 0);
    await waitFor('nobody is a zombie', () => sleepersOf(swarm.pid).zombies === 0);
    assert.equal((await trial.command('stop', 'all')).code, 0);
    assert.equal(await swarm.exited(), 0);
  });

  it('without one: it is said at start with the cure, and supervision is unharmed', async (t) => {
    const why = cannot(CONTAINER);
    if (why !== null) return t.skip(`no container can be made: ${why}`);
    const trial = new Trial(t, redis);
    const swarm = trial.start(2, { host: { name: 'container', command: CONTAINER } });
    await swarm.ready(2);
    const [warning] = swarm.lines.filter(({ code }) => code === 'SWARM_PID_ONE');
    assert.match(String(warning?.message), /zombie .*docker run --init; ENTRYPOINT \["tini", "--"\]/);
    await trial.addMany(JOBS, { orphans: ORPHANS_A_JOB });
    await noJobLost({ redis, jobs: [{ queue: trial.queue, ids: trial.ids }] });
    await waitFor('all of them have ended', () => sleepersOf(swarm.pid).living === 0);
    t.diagnostic(`${sleepersOf(swarm.pid).zombies} zombies of ${JOBS * ORPHANS_A_JOB}`);

    // its own children are waited for as ever
    const id = await trial.add({ first: { ms: 600_000 } });
    const { pid } = await trial.runs(id);
    await swarm.line('ready', { pid });
    const [child] = childrenOf(swarm.pid).filter((each) => insidePid(each) === pid);
    process.kill(child as number, 'SIGKILL');
    await swarm.line('exited', { pid, signal: 'SIGKILL' });
    await noJobLost({ redis, jobs: [{ queue: trial.queue, ids: trial.ids }] });
    assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 2, stalled: 0 });
    assert.equal((await trial.command('stop', 'all')).code, 0);
    assert.equal(await swarm.exited(), 0);
  });
});

/** Everybody below a process, as seen from here. */
function childrenOf(pid: number): number[] {
  const own = read(`/proc/${pid}/task/${pid}/children`).trim().split(' ').filter(Boolean).map(Number);
  return own.flatMap((child) => [child, ...childrenOf(child)]);
}

function sleepersOf(pid: number): { living: number; zombies: number } {
  const stats = childrenOf(pid)
    .map((child) => read(`/proc/${child}/stat`))
    .filter((stat) => stat.includes('(sleep)'));
  const zombies = stats.filter((stat) => /\) Z /.test(stat)).length;
  return { living: stats.length - zombies, zombies };
}

/** In its own namespace. */
function insidePid(pid: number): number {
  return Number(/^NSpid:.*\t(\d+)$/m.exec(read(`/proc/${pid}/status`))?.[1]);
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
