/** `swarm profile` and `swarm heap`: of real children, to files that tools open. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { temporaryDirectory } from '../support/programs.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { type CommandResult, type Swarm, swarmCommand } from '../support/swarm.js';
import { Trial } from '../support/trial.js';
import { waitFor } from '../support/wait.js';

let redis: TestRedis;
before(async () => {
  redis = await startRedis();
});
after(() => redis.close());

interface Place {
  trial: Trial;
  swarm: Swarm;
  pid: number;
  /** Where its files go. */
  captures: string;
  command: (...words: string[]) => Promise<CommandResult>;
}

async function place(
  t: TestContext,
  args: readonly string[] = [],
  env: Record<string, string> = {},
): Promise<Place> {
  const home = await temporaryDirectory(t);
  const trial = new Trial(t, redis);
  const swarm = trial.start(1, { app: 'doctor-worker.mjs', args, env: { XDG_STATE_HOME: home, ...env } });
  const [pid = 0] = await swarm.ready(1);
  const where = ['--redis', redis.url, '--namespace', trial.namespace];
  return {
    trial,
    swarm,
    pid,
    captures: join(home, 'swarm', 'captures'),
    command: (...words) => swarmCommand([...words, ...where]),
  };
}

describe('swarm profile', { concurrency: 3 }, () => {
  it('writes a CPU profile of a working child, for its user alone', async (t) => {
    const { trial, swarm, pid, captures, command } = await place(t);
    // at work for as long as it takes to ask for a profile and to take it, which nobody can tell
    const over = join(await temporaryDirectory(t), 'over');
    const id = await trial.add({ busyUntil: over });
    await waitFor('the job runs', async () => (await trial.queue.getJobState(id)) === 'active');
    const { code, stdout, stderr } = await command('profile', String(pid), '--for', '2s');
    await writeFile(over, '');
    assert.equal(code, 0, stderr);
    const file = stdout.trim();
    assert.match(file, new RegExp(`^${captures}/swarm-slot0-pid${pid}-\\d{8}T\\d{6}-\\w{4}\\.cpuprofile$`));
    assert.match(stderr, /on the host of \S+. Chrome opens it/);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const profile = JSON.parse(readFileSync(file, 'utf8'));
    assert.ok(profile.samples.length > 50, `${profile.samples.length} samples`);
    assert.equal(profile.samples.length, profile.timeDeltas.length);
    const names = profile.nodes.map((node: { callFrame: { url: string } }) => node.callFrame.url);
    assert.ok(
      names.some((url: string) => url.endsWith('doctor-worker.mjs')),
      `the app is not in it, but ${[...new Set(names)].join(' ')}`,
    );
    assert.deepEqual(
      swarm.all('profile', { pid }).map((line) => line['file']),
      [file],
    );
    const tookUs = profile.endTime - profile.startTime;
    t.diagnostic(`${profile.samples.length} samples over ${Math.round(tookUs / 1_000)} ms`);
    await trial.nothingLost(new Map([[swarm, 1]]));
  });

  it('is refused for a child that is blocked, and for what is no child', async (t) => {
    const { trial, swarm, pid, captures, command } = await place(t);
    const id = await trial.add({ block: 25_000 });
    await waitFor('the job runs', async () => (await trial.queue.getJobState(id)) === 'active');
    // asked at once, when its master may not know yet, and when it does
    const early = await command('profile', String(pid));
    assert.equal(early.code, 1);
    assert.match(
      early.stderr,
      /profile failed: the loop of this child (does not turn|has not turned for \d+s).*swarm dump/,
    );
    const late = await command('heap', String(pid), '--force', '--json');
    assert.equal(late.code, 1);
    const [result] = JSON.parse(late.stdout);
    assert.match(
      result.message,
      /the loop of this child has not turned for \d+s, so it can take no heap snapshot/,
    );
    // what was withdrawn is not done later
    await waitFor('the job is over', async () => (await trial.queue.getJobState(id)) === 'completed');
    const again = await command('profile', String(pid), '--for', '200ms');
    assert.equal(again.code, 0, again.stderr);
    assert.deepEqual(readdirSync(captures), [again.stdout.trim().split('/').at(-1)]);

    const master = await command('profile', String(swarm.pid));
    assert.deepEqual([master.code, master.stdout], [64, '']);
    assert.match(master.stderr, /SWARM_BAD_TARGET: profile takes a child/);
    const long = await command('profile', String(pid), '--for', '10m');
    assert.deepEqual([long.code, long.stdout], [64, '']);
    assert.match(long.stderr, /SWARM_BAD_FOR: --for takes a duration from 100ms to 5m/);
  });

  it('ends with the child', async (t) => {
    const { pid, captures, command } = await place(t);
    const asked = command('profile', String(pid), '--for', '2m');
    await waitFor('its file is there', () => existsSync(captures) && readdirSync(captures).length === 1);
    process.kill(pid, 'SIGKILL');
    const { code, stderr } = await asked;
    assert.equal(code, 1);
    assert.match(stderr, /profile failed: the child ended meanwhile/);
  });

  it('is given up when the child is told to leave', async (t) => {
    const { swarm, pid, captures, command } = await place(t);
    const asked = command('profile', String(pid), '--for', '2m');
    await waitFor('its file is there', () => existsSync(captures) && readdirSync(captures).length === 1);
    assert.equal(await swarm.stop(), 0);
    assert.equal((await asked).code, 1);
    assert.deepEqual(readdirSync(captures), []);
  });
});

describe('swarm heap', { concurrency: 3 }, () => {
  it('writes a snapshot of the heap, for its user alone; the child lives', async (t) => {
    const { trial, swarm, pid, captures, command } = await place(t, ['--max-memory', '150MB']);
    const { code, stdout, stderr } = await command('heap', String(pid), '--json');
    assert.deepEqual([code, stderr], [0, '']);
    const [{ file, state, message }] = JSON.parse(stdout);
    assert.equal(state, 'done', message);
    assert.ok(file.path.startsWith(captures) && file.path.endsWith('.heapsnapshot'));
    const { size, mode } = statSync(file.path);
    assert.deepEqual([mode & 0o777, file.bytes], [0o600, size]);
    const { snapshot, nodes, strings } = JSON.parse(readFileSync(file.path, 'utf8'));
    assert.equal(nodes.length, snapshot.node_count * snapshot.meta.node_fields.length);
    assert.ok(strings.includes('BullMQ') || strings.includes('Worker'));
    t.diagnostic(`${Math.round(size / 1e6)} MB, ${snapshot.node_count} nodes`);
    const id = await trial.add({});
    await waitFor('it works on', async () => (await trial.queue.getJobState(id)) === 'completed');
    assert.deepEqual(swarm.all('kill'), []);
  });

  it('is refused above a size; forced, it kills nobody, although it blocks and takes memory', async (t) => {
    const memory = ['--max-memory', '250MB', '--max-memory-hard', '300MB'];
    const stuck = ['--stuck-after', '1s', '--stuck-kill-after', '2s'];
    const { trial, swarm, pid, command } = await place(t, [...memory, ...stuck]);
    await trial.add({ fill: 200_000, numbers: 7e6 });
    await waitFor('its master knows that the heap is large', async () => {
      const [master] = JSON.parse((await command('ps', '--json')).stdout);
      return master?.children[0]?.heapUsedBytes > 64e6;
    });
    const refused = await command('heap', String(pid));
    assert.equal(refused.code, 1);
    assert.match(
      refused.stderr,
      /heap failed: its heap has \d+MB in use: a snapshot of more than 64MB may stop.*--force/,
    );
    const startedAtMs = performance.now();
    const { code, stderr } = await command('heap', String(pid), '--force');
    assert.equal(code, 0, `${stderr}\n${swarm.tail()}`);
    t.diagnostic(`${Math.round(performance.now() - startedAtMs)} ms`);
    assert.deepEqual(swarm.all('kill'), []);
    assert.deepEqual(
      swarm.all('exited', { pid }).filter((line) => line['cause'] === 'stuck'),
      [],
    );
  });

  it('says why it cannot be written', async (t) => {
    const { swarm, pid, command } = await place(t, [], {
      XDG_STATE_HOME: '/dev/null/no',
      TMPDIR: '/dev/full',
    });
    const { code, stderr } = await command('heap', String(pid));
    assert.equal(code, 1);
    assert.match(stderr, /heap failed: no heap snapshot: .*(ENOTDIR|ENOENT)/);
    assert.deepEqual([...swarm.children.values()], [pid]);
  });

  it('leaves no half of it on a disk that is full', async (t) => {
    const { pid, captures, command } = await place(t, [], {});
    // a limit on the size of files ends a write as a full disk does
    const limited = await limitFileSize(pid);
    if (limited !== null) return t.skip(limited);
    const { code, stderr } = await command('heap', String(pid));
    assert.equal(code, 1);
    assert.match(stderr, /heap failed: no heap snapshot: \S+\.heapsnapshot: (EFBIG|ENOSPC)/);
    assert.deepEqual(readdirSync(captures), []);
  });
});

/** null: the process may write no file of more than 1 MB. */
async function limitFileSize(pid: number): Promise<string | null> {
  const { spawnSync } = await import('node:child_process');
  const { status, stderr, error } = spawnSync('prlimit', ['--pid', String(pid), '--fsize=1000000'], {
    encoding: 'utf8',
  });
  return status === 0 ? null : (error?.message ?? stderr);
}
