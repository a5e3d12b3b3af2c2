import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { parseRollup, type Sample, Sampler } from '../dist/process/memory.js';

const NOTHING: Sample = { rssBytes: null, cpuPercent: null, pssBytes: null };
const isLinux = process.platform === 'linux';

/** A child that burns CPU until it is killed. */
async function startBusyChild(context: TestContext): Promise<{ child: ChildProcess; pid: number }> {
  const child = spawn(process.execPath, ['-e', 'console.log("up"); for (;;);'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  context.after(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  assert.ok(child.pid !== undefined);
  return { child, pid: child.pid };
}

test('parseRollup reads RSS and PSS in bytes', () => {
  const text = `00400000-7ffe2 ---p 00000000 00:00 0  [rollup]
Rss:               60948 kB
Pss:               27794 kB
Pss_Dirty:         19892 kB
`;
  assert.deepEqual(parseRollup(text), { rssBytes: 60948 * 1024, pssBytes: 27794 * 1024 });
  assert.equal(parseRollup(''), null);
  assert.equal(parseRollup('Pss_Dirty: 1 kB\nRss: 2 kB\n'), null);
});

test('samples children, and a pid that vanished does not spoil the others', async (context) => {
  const sampler = new Sampler({ pssIntervalMs: 0 });
  context.after(() => sampler.close());
  const [stays, leaves] = await Promise.all([startBusyChild(context), startBusyChild(context)]);

  const first = await sampler.sample([stays.pid, leaves.pid]);
  for (const { pid } of [stays, leaves]) {
    const sample = first.get(pid);
    assert.ok((sample?.rssBytes ?? 0) > 20e6, `RSS of a node process, got ${sample?.rssBytes}`);
    assert.equal(sample?.cpuPercent, null, 'one sample tells no CPU');
    if (isLinux) assert.ok((sample?.pssBytes ?? 0) > 5e6, `PSS of a node process, got ${sample?.pssBytes}`);
    else assert.equal(sample?.pssBytes, null);
  }

  leaves.child.kill('SIGKILL');
  await once(leaves.child, 'exit');
  const deadlineMs = performance.now() + 10_000;
  let cpuPercent: number | null = null;
  while (cpuPercent === null || cpuPercent < 5) {
    assert.ok(performance.now() < deadlineMs, `waited 10 s for the CPU of a busy child, got ${cpuPercent}`);
    await delay(100);
    const next = await sampler.sample([leaves.pid, stays.pid]);
    assert.deepEqual(next.get(leaves.pid), NOTHING);
    assert.ok((next.get(stays.pid)?.rssBytes ?? 0) > 20e6);
    cpuPercent = next.get(stays.pid)?.cpuPercent ?? null;
  }
});

test('answers for nobody, for pids that cannot be, and for a single one that is gone', async (context) => {
  const sampler = new Sampler();
  context.after(() => sampler.close());
  assert.deepEqual(await sampler.sample([]), new Map());
  assert.deepEqual(
    await sampler.sample([0, -1]),
    new Map([
      [0, NOTHING],
      [-1, NOTHING],
    ]),
  );
  const child = spawn(process.execPath, ['-e', '']);
  await once(child, 'exit');
  assert.ok(child.pid !== undefined);
  assert.deepEqual(await sampler.sample([child.pid]), new Map([[child.pid, NOTHING]]));
});

test('remembers PSS between two readings', { skip: !isLinux && 'there is no PSS' }, async (context) => {
  const sampler = new Sampler({ pssIntervalMs: 60_000 });
  context.after(() => sampler.close());
  const before = await sampler.sample([process.pid]);
  const ballast = Buffer.alloc(30e6, 1);
  const after = await sampler.sample([process.pid]);
  assert.equal(ballast.length, 30e6);
  assert.equal(after.get(process.pid)?.pssBytes, before.get(process.pid)?.pssBytes);
  assert.ok((after.get(process.pid)?.rssBytes ?? 0) > (before.get(process.pid)?.rssBytes ?? 0) + 20e6);
});

test('reads PSS each time above a limit, and only there', {
  skip: !isLinux && 'there is no PSS',
}, async (context) => {
  const sampler = new Sampler({ pssIntervalMs: 60_000 });
  context.after(() => sampler.close());
  const pssWith = async (limitBytes: number): Promise<number> => {
    const samples = await sampler.sample([process.pid], new Map([[process.pid, limitBytes]]));
    return samples.get(process.pid)?.pssBytes ?? 0;
  };
  const before = await pssWith(1);
  // more than what other tests left behind and a collection may free meanwhile
  const ballast = Buffer.alloc(120e6, 1);
  assert.equal(await pssWith(1e12), before, 'below the limit, nothing could come of it');
  assert.ok((await pssWith(1)) > before + 20e6, 'above it, every reading counts');
  assert.equal(ballast.length, 120e6);
});
