/** A real systemd runs the unit that `swarm init systemd` writes. Fault 36 and, under it, faults 2, 5 and 19. */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { noJobLost } from '../support/accounts.js';
import { running } from '../support/jobs.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { type Service, SystemdBox } from '../support/systemd.js';
import { longIt } from '../support/tier.js';
import { Trial } from '../support/trial.js';
import { A_COMMAND_EACH, waitFor } from '../support/wait.js';

const CHILDREN = 2;

describe('under systemd', { concurrency: 2 }, () => {
  let redis: TestRedis;
  let booted: SystemdBox | string;
  before(async () => {
    redis = await startRedis();
    booted = await SystemdBox.boot();
  });
  after(async () => {
    if (typeof booted !== 'string') await booted.close();
    await redis.close();
  });

  interface Set {
    box: SystemdBox;
    trial: Trial;
    service: Service;
  }

  let unitsInUse: Promise<unknown> = Promise.resolve();
  /** One after the other: when systemd reads its units again, it takes back the time that a stop was granted. */
  function inTurn<T>(act: () => Promise<T>): Promise<T> {
    const acted = unitsInUse.then(act);
    unitsInUse = acted.catch(() => undefined);
    return acted;
  }

  /** A service with a trial's queue, started; null: no systemd, and the test is skipped. */
  async function start(
    t: TestContext,
    { app = 'fault-worker.mjs', args = [] as string[], overrides = [] as string[], env = {} } = {},
  ): Promise<Set | null> {
    if (typeof booted === 'string') {
      t.skip(booted);
      return null;
    }
    const box = booted;
    const trial = new Trial(t, redis);
    const settings = {
      REDIS_URL: redis.url,
      SWARM_NAMESPACE: trial.namespace,
      QUEUE_NAME: trial.queue.name,
      QUEUE_REDIS_PORT: String(redis.port),
      ...env,
    };
    const service = await inTurn(() =>
      box.service([`./${app}`, '--count', String(CHILDREN), ...args], settings, overrides),
    );
    t.after(async () => {
      await box.run('systemctl', 'kill', '--signal=KILL', service.name);
      await service.systemctl('stop');
    });
    const started = await service.systemctl('start');
    assert.equal(
      started.code,
      0,
      `${started.stderr}\n${JSON.stringify((await service.log()).slice(-10), null, 1)}`,
    );
    return { box, trial, service };
  }

  async function failuresOf({ service }: Set): Promise<void> {
    const { Result, NRestarts, ActiveState } = await service.state('Result', 'NRestarts', 'ActiveState');
    assert.deepEqual(
      { Result, NRestarts, ActiveState },
      { Result: 'success', NRestarts: '0', ActiveState: 'inactive' },
    );
  }

  /** Whose jobs are whose is in the registry: a master that is gone before that leaves nothing to go by. */
  const registered = ({ trial }: Set) =>
    waitFor(
      'all children are in the registry with their queues',
      async () => {
        const { stdout } = await trial.command('ps', '--json');
        const masters = JSON.parse(stdout) as { children: { workers: unknown[] }[] }[];
        const children = masters.flatMap((master) => master.children);
        return children.length === CHILDREN && children.every(({ workers }) => workers.length > 0);
      },
      A_COMMAND_EACH,
    );

  const lost = ({ trial }: Set) => noJobLost({ redis, jobs: [{ queue: trial.queue, ids: trial.ids }] });

  it('takes the unit as it is, and thinks it hardened', async (t) => {
    const set = await start(t);
    if (!set) return;
    const { box, service } = set;
    const verified = await box.run('systemd-analyze', 'verify', `${service.name}.service`);
    const complaints = verified.stderr.split('\n').filter((line) => line.includes(service.name));
    assert.deepEqual(complaints, []);
    const { stdout } = await box.run('systemd-analyze', 'security', '--no-pager', `${service.name}.service`);
    const exposure = Number(/Overall exposure level for .*: ([\d.]+)/.exec(stdout)?.[1]);
    t.diagnostic(`exposure ${exposure} of 10`);
    assert.ok(exposure < 6, stdout.split('\n').at(-2));
  });

  it('starts when a child is ready, and shows how all of them are', async (t) => {
    const set = await start(t);
    if (!set) return;
    const { service, trial } = set;
    assert.ok((await service.log()).some(({ message }) => message === 'ready'));
    await trial.add({ ms: 60_000 });
    const text = await waitFor('a status with the job', async () => {
      const { StatusText = '' } = await service.state('StatusText');
      return /^2\/2 up, 1 busy, \d+MB$/.exec(StatusText)?.[0];
    });
    t.diagnostic(text);
    const { ActiveState, SubState } = await service.state('ActiveState', 'SubState');
    assert.deepEqual([ActiveState, SubState], ['active', 'running']);
  });

  it('a reload rolls, is seen while it lasts, and loses nothing', async (t) => {
    const set = await start(t);
    if (!set) return;
    const { service, trial } = set;
    await trial.addMany(300, { ms: 20 });
    const reload = service.systemctl('reload');
    await waitFor('systemd sees the reload', async () => {
      const { ActiveState, StatusText = '' } = await service.state('ActiveState', 'StatusText');
      return ActiveState === 'reloading' && StatusText.startsWith('rolling to generation 1: ');
    });
    assert.equal((await reload).code, 0);
    await service.line('rolled', { generation: 1 });
    await waitFor(
      'systemd sees its end',
      async () => (await service.state('ActiveState'))['ActiveState'] === 'active',
    );
    await lost(set);
    assert.equal((await service.systemctl('stop')).code, 0);
    await failuresOf(set);
  });

  it('a stop in budget lets jobs finish', async (t) => {
    const set = await start(t);
    if (!set) return;
    const { service, trial } = set;
    const id = await trial.add({ ms: 2_000 });
    await running(redis, trial.queue, id);
    assert.equal((await service.systemctl('stop')).code, 0);
    await service.line('stopped', { exit: 0 });
    await failuresOf(set);
    await lost(set);
    assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 1, stalled: 0 });
  });

  it('a stop beyond TimeoutStopSec gets the time that it asks for', async (t) => {
    const set = await start(t, { args: ['--timeout', '60s'], overrides: ['TimeoutStopSec=4'] });
    if (!set) return;
    const { service, trial } = set;
    const id = await trial.add({ ms: 8_000 });
    await running(redis, trial.queue, id);
    assert.equal((await inTurn(() => service.systemctl('stop'))).code, 0);
    await service.line('stopped', { exit: 0 });
    await failuresOf(set);
    await lost(set);
    assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 1, stalled: 0 });
  });

  it('a stop beyond the budget hands back, and the next start runs the job', async (t) => {
    const set = await start(t, { args: ['--timeout', '1s'] });
    if (!set) return;
    const { service, trial } = set;
    const id = await trial.add({ first: { ms: 600_000 } });
    await running(redis, trial.queue, id);
    assert.equal((await service.systemctl('stop')).code, 0);
    await failuresOf(set);
    assert.equal(await trial.queue.getJobState(id), 'waiting');
    assert.equal((await service.systemctl('start')).code, 0);
    await lost(set);
    assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 2, stalled: 0 });
  });

  it('a master that is killed comes back, and releases what it held', async (t) => {
    const set = await start(t);
    if (!set) return;
    const { box, service, trial } = set;
    const id = await trial.add({ first: { ms: 600_000 } });
    await running(redis, trial.queue, id);
    await registered(set);
    const MainPID = await mainPid(service);
    const before = await pidsOf(box, service);
    await box.run('kill', '-9', MainPID);
    const after = await restarted(service, MainPID);
    await lost(set);
    assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 2, stalled: 0 });
    const left = (await pidsOf(box, service)).filter((pid) => before.includes(pid));
    assert.deepEqual(left, [], 'nobody of before is left');
    assert.equal(after['NRestarts'], '1');
  });

  it('a master that hangs is found by the watchdog', async (t) => {
    const set = await start(t, { overrides: ['WatchdogSec=3', 'TimeoutAbortSec=2'] });
    if (!set) return;
    const { box, service, trial } = set;
    const id = await trial.add({ first: { ms: 600_000 } });
    await running(redis, trial.queue, id);
    await registered(set);
    const MainPID = await mainPid(service);
    await box.run('kill', '-STOP', MainPID);
    await restarted(service, MainPID);
    await lost(set);
    assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 2, stalled: 0 });
    const journal = await box.run('journalctl', '--unit', service.name, '--output', 'cat');
    assert.match(journal.stdout, /Watchdog timeout/);
  });

  longIt('the watchdog is fed while one child works, and no longer when all of them hang', async (t) => {
    const set = await start(t, {
      args: ['--timeout', '1s'],
      overrides: ['WatchdogSec=5', 'TimeoutAbortSec=2'],
      // a hung child renews no lock
      env: { APP_WORKER_OPTIONS: '{"lockDuration":300000}' },
    });
    if (!set) return;
    const { service, trial } = set;
    const MainPID = await mainPid(service);
    const first = await trial.add({ first: { spin: true } });
    await running(redis, trial.queue, first);
    // longer than it takes until the first counts as silent, and its watchdog would run out
    const busy = await trial.add({ ms: 18_000 });
    await waitFor('the other one ends', async () => (await trial.queue.getJobState(busy)) === 'completed');
    assert.equal((await service.state('MainPID'))['MainPID'], MainPID);
    const second = await trial.add({ first: { spin: true } });
    await restarted(service, MainPID);
    await lost(set);
    assert.deepEqual((await trial.counters(second)).attempts, 1);
  });

  it('swarm doctor finds what is wrong with a unit, and nothing with ours', async (t) => {
    const good = await start(t);
    if (!good) return;
    await registered(good);
    const fine = await unitFinding(good);
    assert.deepEqual(
      [fine.status, fine.text.startsWith(`${good.service.name}.service: `)],
      ['ok', true],
      fine.text,
    );
    const bad = ['Type=exec', 'OOMPolicy=stop', 'KillMode=process', 'TimeoutStopSec=5', 'Restart=no'];
    const set = await start(t, { overrides: bad });
    if (!set) return;
    await registered(set);
    const { status, text } = await unitFinding(set);
    assert.equal(status, 'warn', text);
    for (const part of [/OOMPolicy=stop/, /is killed 5s after a stop/, /KillMode=process/, /Restart=no/])
      assert.match(text, part);
  });

  it('the kernel kills a child at MemoryMax, and the unit goes on', async (t) => {
    const set = await start(t, { app: 'deaths.mjs', overrides: ['MemoryMax=600M', 'MemorySwapMax=0'] });
    if (!set) return;
    const { service, trial } = set;
    const MainPID = await mainPid(service);
    const id = await trial.add({ way: 'hog' });
    const exited = await service.line('exited', { signal: 'SIGKILL' });
    t.diagnostic(String(exited['evidence']));
    assert.equal(exited['cause'], 'oom-kill', JSON.stringify(exited));
    await lost(set);
    assert.deepEqual(await trial.counters(id), { attempts: 1, starts: 2, stalled: 0 });
    const after = await service.state('MainPID', 'ActiveState', 'NRestarts');
    assert.deepEqual(after, { MainPID, ActiveState: 'active', NRestarts: '0' });
    await waitFor('both are up', async () => {
      return (await service.state('StatusText'))['StatusText']?.startsWith('2/2 up');
    });
  });
});

/** What `swarm doctor` inside says of the unit. */
async function unitFinding(set: {
  box: SystemdBox;
  trial: Trial;
}): Promise<{ status: string; text: string }> {
  const { box, trial } = set;
  const where = ['--redis', trial.redis.url, '--namespace', trial.namespace];
  const { stdout, stderr } = await box.swarm('test/apps', 'doctor', '--json', ...where);
  assert.equal(stderr, '');
  const findings = JSON.parse(stdout) as {
    check: string;
    status: string;
    found: string;
    details: string[];
  }[];
  const finding = findings.find(({ check }) => check === 'service-unit');
  return {
    status: finding?.status ?? '',
    text: [finding?.found, ...(finding?.details ?? [])].join('\n'),
  };
}

/** Everybody in the unit's cgroup. */
async function pidsOf(box: SystemdBox, { name }: Service): Promise<string[]> {
  const { stdout } = await box.run('systemd-cgls', '--no-pager', '--full', '--unit', name);
  return [...stdout.matchAll(/[├└]─\s*(\d+) /g)].map(([, pid]) => pid ?? '');
}

/** Never 0 or nothing, which `kill` takes for the group that it is in itself: the tests' own. */
async function mainPid(service: Service): Promise<string> {
  return waitFor('systemd names the master', async () => {
    const { MainPID = '' } = await service.state('MainPID');
    return Number(MainPID) > 1 ? MainPID : null;
  });
}

/** Waits for another master, with its children ready. */
async function restarted(service: Service, before: string | undefined): Promise<Record<string, string>> {
  return waitFor('systemd has started it again', async () => {
    const state = await service.state('MainPID', 'ActiveState', 'NRestarts');
    const isAnother = state['MainPID'] !== '0' && state['MainPID'] !== before;
    return isAnother && state['ActiveState'] === 'active' ? state : null;
  });
}
