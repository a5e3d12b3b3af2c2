/** Fault 33: the disk is full where the embedded Redis, or a profile, writes. It is said, children go on, and all of it heals. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { Queue } from 'bullmq';
import { markedProcesses } from '../support/processes.js';
import { temporaryDirectory } from '../support/programs.js';
import { startRedis } from '../support/redis.js';
import { processesIn } from '../support/state-home.js';
import { Swarm, swarmCommand } from '../support/swarm.js';
import { waitFor } from '../support/wait.js';

/** $0: where it is mounted; $1: what is done before; the rest: the command. */
const MOUNT = 'mount -t tmpfs -o size=4m tmpfs "$0" && { eval "$1"; shift; exec "$@"; }';
const FILL = 'dd if=/dev/zero of="$0/filler" bs=4k 2>/dev/null';

/** A swarm whose state directory is on a small disk of its own; null: none can be mounted here. */
async function start(
  t: TestContext,
  prepare = ':',
  env: Readonly<Record<string, string>> = {},
): Promise<{ swarm: Swarm; disk: () => string } | null> {
  const directory = await temporaryDirectory(t);
  const command = ['unshare', '--mount', 'sh', '-c', MOUNT, directory, prepare] as const;
  const [first, ...rest] = command;
  const { status, stderr, error } = spawnSync(first, [...rest, 'true'], { encoding: 'utf8' });
  if (status !== 0) {
    t.skip(`no disk of its own can be mounted here: ${error?.message ?? stderr.trim()}`);
    return null;
  }
  const swarm = new Swarm('redis-url.mjs', {
    args: ['--count', '2'],
    env: { XDG_STATE_HOME: directory, APP_QUEUE: 'q', ...env },
    host: { name: 'small', command },
  });
  t.after(async () => {
    await swarm.close();
    for (const pid of processesIn(directory)) process.kill(pid, 'SIGKILL');
  });
  return { swarm, disk: () => join(`/proc/${swarm.pid}/root`, directory) };
}

function fill(directory: string): string {
  const file = join(directory, 'filler');
  try {
    for (;;) writeFileSync(file, Buffer.alloc(4_096), { flag: 'a' });
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
  }
  return file;
}

describe('a full disk', () => {
  it('while an embedded Redis runs: said, supervised on, and healed', async (t) => {
    const set = await start(t);
    if (!set) return;
    const { swarm, disk } = set;
    const pids = await swarm.ready(2);
    const said = swarm.lines.find(({ message }) => message.startsWith('REDIS_URL is '));
    const url = said?.message.replace('REDIS_URL is ', '') ?? '';
    const queue = new Queue('q', { connection: { url, maxRetriesPerRequest: 1 } });
    queue.on('error', () => {});
    t.after(() => queue.close());
    const first = await queue.add('job', {});
    await waitFor('a job ends', async () => (await queue.getJobState(first.id as string)) === 'completed');

    const filler = fill(disk());
    await assert.rejects(
      waitFor('Redis takes no more', async () => {
        await queue.add('job', { filler: 'x'.repeat(10_000) });
        return false;
      }),
      /MISCONF/,
    );
    const lost = await waitFor('the master says so', () =>
      swarm.lines.find(({ message }) => message.startsWith('registry is not written')),
    );
    assert.match(String(lost['error']), /MISCONF.*(AOF|disk|No space)/);
    process.kill(pids[0] as number, 'SIGKILL');
    await swarm.line('exited', { pid: pids[0] as number });
    await swarm.line('spawned', {}, { nth: 3 });
    assert.ok(
      markedProcesses(swarm.mark).some(({ pid }) => pid === pids[1]),
      'the other child lives',
    );

    rmSync(filler);
    await swarm.line('registry is written again');
    await swarm.ready(2);
    await waitFor('all jobs end', async () => {
      const { waiting = 0, active = 0 } = await queue.getJobCounts('waiting', 'active');
      return waiting + active === 0;
    });
    assert.equal(await queue.getFailedCount(), 0);
    await queue.close();
    assert.equal(await swarm.stop(), 0);
  });

  it('before an embedded Redis is started: an error that names the place', async (t) => {
    const set = await start(t, FILL);
    if (!set) return;
    const { swarm } = set;
    assert.equal(await swarm.exited(), 69);
    assert.match(swarm.stderr, /^swarm: SWARM_\w+: .*(ENOSPC|no space|No space)/i);
    t.diagnostic(swarm.stderr.trim());
  });

  it('where a profile or a heap snapshot goes: an error, no half of it, and supervision as ever', async (t) => {
    const redis = await startRedis();
    t.after(() => redis.close());
    const where = ['--redis', redis.url];
    const set = await start(t, ':', { REDIS_URL: redis.url });
    if (!set) return;
    const { swarm, disk } = set;
    const [pid = 0, other = 0] = await swarm.ready(2);
    const captures = join(disk(), 'swarm', 'captures');
    // more than the disk has, whatever is on it
    const heap = await swarmCommand(['heap', String(pid), ...where]);
    assert.equal(heap.code, 1);
    assert.match(heap.stderr, /heap failed: no heap snapshot: \S+\.heapsnapshot: ENOSPC/);
    assert.deepEqual(readdirSync(captures), []);
    const filler = fill(disk());
    const profile = await swarmCommand(['profile', String(pid), '--for', '200ms', ...where]);
    assert.equal(profile.code, 1);
    assert.match(profile.stderr, /profile failed: no profile: \S+\.cpuprofile: ENOSPC/);
    assert.deepEqual(readdirSync(captures), []);

    process.kill(other, 'SIGKILL');
    await swarm.line('exited', { pid: other });
    await swarm.ready(2);
    rmSync(filler);
    const again = await swarmCommand(['profile', String(pid), '--for', '200ms', ...where]);
    assert.deepEqual([again.code, readdirSync(captures).length], [0, 1], again.stderr);
    assert.equal(await swarm.stop(), 0);
  });
});
