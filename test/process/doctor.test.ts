/** `swarm doctor` about real masters and children, in the bad states that it is there for. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Finding } from '../../packages/swarm/dist/doctor/index.js';
import { makeMemoryCgroup } from '../support/memory-cgroup.js';
import { makePidsCgroup } from '../support/pids-cgroup.js';
import { killMarked, MARK } from '../support/processes.js';
import { temporaryDirectory } from '../support/programs.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { appPath, type CommandResult, cleanEnv, swarmCommand } from '../support/swarm.js';
import { Trial } from '../support/trial.js';
import { waitFor } from '../support/wait.js';

const BIN = fileURLToPath(new URL('../../../packages/swarm/bin/swarm.js', import.meta.url));
const FAKETIME = findLibrary('libfaketime.so.1');

let redis: TestRedis;
before(async () => {
  redis = await startRedis(['--appendonly', 'yes']);
});
after(() => redis.close());

interface Told extends CommandResult {
  findings: Map<string, Finding>;
}

/** In a directory without a config file or an app. */
async function doctor(
  t: TestContext,
  trial: Trial,
  args: readonly string[] = [],
  env: Record<string, string> = {},
): Promise<Told> {
  const words = ['doctor', '--json', '--redis', trial.redis.url, '--namespace', trial.namespace, ...args];
  const result = await swarmCommand(words, { env, cwd: await temporaryDirectory(t) });
  assert.equal(result.stderr, '');
  const list = JSON.parse(result.stdout) as Finding[];
  const failed = list.some(({ status }) => status === 'fail');
  assert.equal(result.code, failed ? 1 : 0, result.stdout);
  return { ...result, findings: new Map(list.map((finding) => [finding.check, finding])) };
}

/** On a Redis of its own: the doctor looks at all queues of one, and others make theirs bad. */
async function trialAlone(t: TestContext): Promise<Trial> {
  const own = await startRedis(['--appendonly', 'yes']);
  const trial = new Trial(t, own);
  t.after(() => own.close());
  return trial;
}

function says({ findings }: Told, check: string, status: string, text: RegExp): void {
  const finding = findings.get(check);
  const told = [finding?.found, ...(finding?.details ?? [])].join('\n');
  assert.match(told, text, check);
  assert.equal(finding?.status, status, told);
}

describe('swarm doctor', { concurrency: 3 }, () => {
  it('on a good machine has no warning', async (t) => {
    const trial = await trialAlone(t);
    const swarm = trial.start(2, { app: 'doctor-worker.mjs', args: ['--max-memory', '400MB'] });
    await swarm.ready(2);
    await trial.addMany(3, { ms: 10 });
    const { findings, code } = await doctor(t, trial, ['--db-max', '100']);
    // which Node runs the tests, and that npm has started them, is nobody's fault
    const bad = [...findings.values()].filter(
      ({ status, check }) => status !== 'ok' && !['node-version', 'started-by'].includes(check),
    );
    assert.deepEqual(bad, []);
    assert.equal(code, 0);
    const looked = [
      'heap-limits',
      'malloc-arenas',
      'jemalloc',
      'open-files',
      'started-by',
      'children',
      'job-locks',
    ];
    for (const check of looked) assert.equal(findings.get(check)?.skipped, false, check);
    assert.match(
      findings.get('redis-clients')?.found ?? '',
      /1 master and 2 children have about 6, 2 a child \(measured\)/,
    );
    assert.match(findings.get('clocks')?.found ?? '', /^1 master and this host within \d+ ms/);
  });

  it('finds what a master was started with, or without', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(1, {
      app: 'doctor-worker.mjs',
      args: ['--max-memory', '200MB', '--node-arg', '--max-old-space-size=4000'],
      env: { MALLOC_ARENA_MAX: '32' },
      by: ['prlimit', '--nofile=512:512'],
    });
    await swarm.ready(1);
    const told = await doctor(t, trial, ['--db-max', '1']);
    says(
      told,
      'open-files',
      'warn',
      /the master \(pid \d+\) may have no more than 512 files[\s\S]*slot 0 \(pid \d+\)/,
    );
    says(told, 'malloc-arenas', 'warn', /MALLOC_ARENA_MAX is 32 in 1 child/);
    says(told, 'heap-limits', 'warn', /may grow to 4\d\d\dMB, and --max-memory-hard is 300MB/);
    says(
      told,
      'database-pool',
      'warn',
      /1 child × 1 \(1 job at once, one connection each\) = 1, in a roll 2, of 1/,
    );
  });

  it('finds cgroups that are too small', async (t) => {
    const [memory, pids] = [makeMemoryCgroup(400e6), makePidsCgroup()];
    if (typeof memory === 'string') return t.skip(memory);
    if (typeof pids === 'string') return t.skip(pids);
    const trial = new Trial(t, redis);
    t.after(async () => {
      await Promise.all(trial.masters.map((swarm) => swarm.close()));
      await memory.remove();
      await pids.remove();
    });
    const swarm = trial.start(2, { app: 'doctor-worker.mjs', args: ['--max-memory', '300MB'] });
    await swarm.ready(2);
    for (const pid of [swarm.pid, ...swarm.children.values()]) pids.add(pid);
    memory.add(swarm.pid);
    pids.limit(50);
    const told = await doctor(t, trial);
    says(
      told,
      'memory-limits',
      'warn',
      /2 children of \S+ may take 600MB by --max-memory, and its cgroup \(\S+\) has 400MB/,
    );
    says(told, 'process-limits', 'fail', /\d+ of 50 processes and threads are there/);
  });

  it('finds who started the master', async (t) => {
    const trial = new Trial(t, redis);
    const directory = await temporaryDirectory(t);
    const words = [
      process.execPath,
      BIN,
      appPath('doctor-worker.mjs'),
      '--count',
      '1',
      '--log-format',
      'json',
    ];
    const where = ['--redis', redis.url, '--namespace', trial.namespace];
    await writeFile(
      join(directory, 'package.json'),
      JSON.stringify({ scripts: { worker: [...words, ...where].join(' ') } }),
    );
    const queue = {
      QUEUE_NAME: trial.queue.name,
      QUEUE_REDIS_PORT: String(redis.port),
      [MARK]: trial.namespace,
    };
    const npm = spawn('npm', ['run', 'worker'], {
      cwd: directory,
      env: { ...cleanEnv(), ...queue },
      stdio: 'ignore',
    });
    t.after(() => {
      npm.kill('SIGKILL');
      killMarked(trial.namespace);
    });
    const told = await waitFor('its child is up', async () => {
      const looked = await doctor(t, trial);
      return looked.findings.get('children')?.found === '1 of 1 up' ? looked : null;
    });
    says(told, 'started-by', 'warn', /the master \(pid \d+\) was started by npm/);
  });

  it('finds a child that keeps dying, its deaths, and jobs that nobody takes', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(1, { app: 'doctor-worker.mjs', env: { APP_PREFIX: 'other' } });
    await swarm.ready(1);
    await trial.add({});
    const pid = [...swarm.children.values()][0] as number;
    process.kill(pid, 'SIGKILL');
    await swarm.line('exited', { pid });
    const told = await waitFor('the death is on record', async () => {
      const looked = await doctor(t, trial);
      return looked.findings.get('deaths')?.status === 'warn' ? looked : null;
    });
    says(told, 'deaths', 'warn', /1 child died in the last day: 1 signal\nthe last: signal, .* pid/);
    says(
      told,
      'queues-taken',
      'fail',
      /nobody takes jobs of the prefix "bull"; the children take those of "other"/,
    );
    says(told, 'job-attempts', 'warn', /jobs without attempts wait in "\w+" \(job\)/);
    assert.equal(told.code, 1);
    await trial.queue.obliterate();
  });

  it('finds locks that are shorter than what blocks', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(1, { app: 'doctor-worker.mjs', env: { APP_LOCK_MS: '2000' } });
    await swarm.ready(1);
    await trial.addMany(12, { block: 1_700 });
    const told = await waitFor('the block is seen', async () => {
      const looked = await doctor(t, trial);
      return looked.findings.get('job-locks')?.status !== 'ok' ? looked : null;
    });
    says(
      told,
      'job-locks',
      told.findings.get('job-locks')?.status ?? '',
      /locks of "\w+" last 2s, and a child of it was blocked for \d+s/,
    );
  });

  it('finds a clock that is wrong', {
    skip: FAKETIME === null && 'libfaketime is not to be had here',
  }, async (t) => {
    const trial = new Trial(t, redis);
    const env = { LD_PRELOAD: FAKETIME ?? '', FAKETIME: '+5m', DONT_FAKE_MONOTONIC: '1' };
    const swarm = trial.start(1, { app: 'doctor-worker.mjs', env });
    await swarm.ready(1);
    // a master knows its offset from its first beat on, and tells it with the next
    const told = await waitFor('the master has said so', async () => {
      const looked = await doctor(t, trial);
      return looked.findings.get('clocks')?.status === 'fail' ? looked : null;
    });
    says(
      told,
      'clocks',
      'fail',
      /the clock of the host of \S+ is (5m|4m 59s)( \d+s)? ahead of that of Redis/,
    );
    const own = await doctor(t, trial, [], env);
    says(own, 'clocks', 'fail', /the clock of this host is (5m|4m 59s)( \d+s)? ahead/);
  });

  it('fits a terminal of 80 columns, says no to nonsense, and watches until it is told to end', async (t) => {
    const trial = await trialAlone(t);
    const cwd = await temporaryDirectory(t);
    const where = ['--redis', trial.redis.url, '--namespace', trial.namespace];
    const { stdout, code } = await swarmCommand(['doctor', ...where], { cwd, env: { COLUMNS: '80' } });
    assert.equal(code, 0);
    assert.deepEqual(
      stdout.split('\n').filter((line) => line.length > 80),
      [],
    );
    assert.match(
      stdout,
      /^namespace ns-\w+ on redis:\/\/127[\s\S]*\nRedis\n {2}ok {4}redis-connection[\s\S]*\n\d+ ok, /,
    );

    const bad = await swarmCommand(['doctor', '--db-max', 'many', ...where], { cwd });
    assert.deepEqual([bad.code, bad.stdout], [64, '']);
    assert.match(
      bad.stderr,
      /SWARM_BAD_DB_MAX: --db-max takes a number of connections from 1 to 999999, got "many"/,
    );

    const watching = spawn(process.execPath, [BIN, 'doctor', '--watch', '--json', ...where], {
      cwd,
      env: cleanEnv(),
    });
    t.after(() => watching.kill('SIGKILL'));
    let lines = '';
    watching.stdout.setEncoding('utf8').on('data', (text: string) => {
      lines += text;
    });
    await waitFor('a first round', () => lines.includes('\n'));
    const ended = new Promise((resolve) => watching.once('exit', resolve));
    watching.kill('SIGINT');
    assert.equal(await ended, 0);
    assert.equal(JSON.parse(lines.split('\n')[0] as string)[0].check, 'redis-connection');
  });
});

/** Debian has it in a directory of the architecture. Those of /usr/lib are looked into, and nothing below them. */
function findLibrary(name: string): string | null {
  for (const directory of ['/usr/lib', '/usr/local/lib']) {
    if (!existsSync(directory)) continue;
    const places = [directory, ...readdirSync(directory).map((entry) => join(directory, entry))];
    const found = places.map((place) => join(place, 'faketime', name)).find((path) => existsSync(path));
    if (found !== undefined) return found;
  }
  return null;
}
