import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import os from 'node:os';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import {
  isAlive,
  parseStat,
  rawHostName,
  readBootId,
  readPidNamespace,
  readStartTicks,
  readStat,
} from '../dist/process/proc.js';

const isLinux = process.platform === 'linux';

test('parseStat reads its fields whatever the process calls itself', () => {
  fc.assert(
    fc.property(fc.string(), fc.array(fc.nat(), { minLength: 49, maxLength: 49 }), (name, numbers) => {
      assert.deepEqual(parseStat(`4711 (${name}) S ${numbers.join(' ')}\n`), {
        state: 'S',
        ppid: numbers[0],
        pgrp: numbers[1],
        flags: numbers[5],
        utimeTicks: numbers[10],
        stimeTicks: numbers[11],
        startTicks: numbers[18],
        rssPages: numbers[20],
      });
    }),
  );
  for (const broken of ['', '4711', '4711 (node) S 1 2', '4711 (node) S x y z', ') 7'.repeat(30)]) {
    assert.equal(parseStat(broken), null, broken);
  }
});

test('the facts of this process and host', { skip: !isLinux && 'there is no /proc' }, () => {
  const stat = readStat(process.pid);
  assert.equal(stat?.ppid, process.ppid);
  assert.ok((stat?.rssPages ?? 0) > 1000);
  assert.equal(readStartTicks(process.pid), stat?.startTicks);
  assert.match(readBootId() ?? '', /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  assert.match(readPidNamespace() ?? '', /^\d+$/);
  assert.equal(rawHostName(), os.hostname());
});

test('isAlive tells living, gone and impossible pids apart', async () => {
  assert.equal(isAlive(process.pid), true);
  assert.equal(isAlive(1), true, 'a process of another user lives as well');
  for (const pid of [0, -1, 1.5, Number.NaN]) {
    assert.equal(isAlive(pid), false, String(pid));
    assert.equal(readStat(pid), null, String(pid));
  }
  const child = spawn(process.execPath, ['-e', '']);
  const pid = await pidOf(child);
  await once(child, 'exit');
  assert.equal(isAlive(pid), false);
  assert.equal(readStartTicks(pid), null);
});

test('a zombie is not alive', { skip: !isLinux && 'there is no /proc' }, async (context) => {
  // The shell becomes a `sleep`, which never waits for the process that the shell started.
  const child = spawn('sh', ['-c', 'sleep 0.5 & echo $!; exec sleep 60'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  context.after(() => child.kill('SIGKILL'));
  const [output] = (await once(child.stdout, 'data')) as [Buffer];
  const zombie = Number(output.toString());
  await waitFor(() => readStat(zombie)?.state === 'Z', 'the process to be a zombie');
  assert.equal(isAlive(zombie), false);
});

async function pidOf(child: ChildProcess): Promise<number> {
  if (child.pid === undefined) await once(child, 'spawn');
  assert.ok(child.pid !== undefined);
  return child.pid;
}

async function waitFor(condition: () => boolean, what: string): Promise<void> {
  const deadlineMs = performance.now() + 10_000;
  while (!condition()) {
    assert.ok(performance.now() < deadlineMs, `waited 10 s for ${what}`);
    await delay(10);
  }
}
