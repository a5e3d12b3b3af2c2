/** Fault 33: the disk is full where the embedded Redis writes. It is said, children go on, and all of it heals. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { Queue } from 'bullmq';
import { markedProcesses } from '../support/processes.js';
import { temporaryDirectory } from '../support/programs.js';
import { processesIn } from '../support/state-home.js';
import { Swarm } from '../support/swarm.js';
import { waitFor } from '../support/wait.js';

/** $0: where it is mounted; $1: what is done before; the rest: the command. */
const MOUNT = 'mount -t tmpfs -o size=4m tmpfs "$0" && { eval "$1"; shift; exec "$@"; }';
const FILL = 'dd if=/dev/zero of="$0/filler" bs=4k 2>/dev/null';

/** A swarm whose state directory is on a small disk of its own; null: none can be mounted here. */
async function start(t: TestContext, prepare = ':'): Promise<{ swarm: Swarm; disk: () => string } | null> {
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
    env: { XDG_STATE_HOME: directory, APP_QUEUE: 'q' },
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
});
