/** Fault 32: children that print too much, or rubbish, and a reader of the master's stdout that stops or goes. */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { Registry } from 'bullmq-swarm/registry';
import { completed } from '../support/jobs.js';
import { isAlive, peakRssBytes } from '../support/processes.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import type { LogLine, Swarm } from '../support/swarm.js';
import { Trial } from '../support/trial.js';
import { waitFor } from '../support/wait.js';

/** A master that just runs has some 70 MB; its sink holds 8 MiB, a long line 64 KiB. */
const MAX_RSS_BYTES = 200e6;
const LINES = 100_000;
const LINE_BYTES = 1_000;
/** `runs 1`, an empty one, `flood ends`. */
const OTHER_LINES = 3;
const DROPPED = 'output dropped: it was not read, or could not be written';

describe('output', () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  it('of 100 MB is passed on or counted, line by line, in bounded memory', async (t) => {
    const trial = new Trial(t, redis);
    const flood = new FloodCount();
    const swarm = trial.start(1, { keep: (line) => flood.count(line) });
    await swarm.ready(1);
    await trial.add({ flood: { lines: LINES, lineBytes: LINE_BYTES } });
    await completed(trial.queue, 1);
    bounded(t, swarm);
    await trial.nothingLost(new Map([[swarm, 1]]));
    assert.equal(await swarm.stop(), 0);
    flood.isAccountedFor(t, swarm, LINES + OTHER_LINES);
  });

  it('of one line of 50 MB, and of binary garbage, is cut and made printable', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(1);
    await swarm.ready(1);
    await trial.add({ flood: { longLineBytes: 50_000_000, garbageBytes: 1_000_000 } });
    await swarm.line('flood ends');
    bounded(t, swarm);
    const [long] = swarm.lines.filter(
      ({ message, stream }) => stream === 'stdout' && message.startsWith('long y'),
    );
    assert.match(long?.message ?? '', /^long y{65531} … \[cut, 49934469 bytes more\]$/);
    await trial.nothingLost(new Map([[swarm, 1]]));
  });

  it('that nobody reads does not hold up supervision; what was dropped is counted', async (t) => {
    const trial = new Trial(t, redis);
    const flood = new FloodCount();
    const swarm = trial.start(2, { keep: (line) => flood.count(line) });
    const [victim = 0] = await swarm.ready(2);
    swarm.stdout?.pause();
    await trial.addMany(2, { flood: { lines: 20_000, lineBytes: LINE_BYTES } });
    await completed(trial.queue, 2);

    process.kill(victim, 'SIGKILL');
    await replaced(trial, swarm, victim);
    await trial.addMany(4, { ms: 10 });
    await completed(trial.queue, 6);
    bounded(t, swarm);

    swarm.stdout?.resume();
    await trial.addMany(2, { flood: { lines: 1 } });
    await trial.nothingLost(new Map([[swarm, 2]]));
    assert.equal(await swarm.stop(), 0);
    assert.ok(droppedLines(swarm) > 0);
    // of the master's own lines those were dropped that came meanwhile
    const own = swarm.lines.filter(({ stream }) => stream === undefined).length;
    t.diagnostic(
      `${flood.passed} lines passed, ${droppedLines(swarm)} dropped, ${own} lines of the master's own`,
    );
  });

  it('whose reader is gone (EPIPE) ends nothing', async (t) => {
    const trial = new Trial(t, redis);
    const swarm = trial.start(2);
    const [victim = 0] = await swarm.ready(2);
    swarm.stdout?.destroy();
    await trial.addMany(2, { flood: { lines: 10_000, lineBytes: LINE_BYTES } });
    await completed(trial.queue, 2);
    process.kill(victim, 'SIGKILL');
    await replaced(trial, swarm, victim);
    await trial.addMany(4, { ms: 10 });
    await completed(trial.queue, 6);
    bounded(t, swarm);
    assert.equal(await swarm.stop(), 0);
    await waitFor('nobody is left', () => swarm.processes.length === 0);
    await trial.nothingLost(new Map());
  });
});

/** Counts what children print instead of keeping it. */
class FloodCount {
  passed = 0;

  count({ stream }: LogLine): boolean {
    if (stream !== undefined) this.passed += 1;
    return stream === undefined;
  }

  isAccountedFor(t: TestContext, swarm: Swarm, printed: number): void {
    const dropped = droppedLines(swarm);
    t.diagnostic(`${this.passed} lines passed, ${dropped} dropped`);
    assert.equal(this.passed + dropped, printed);
  }
}

function droppedLines(swarm: Swarm): number {
  return swarm.all(DROPPED).reduce((sum, line) => sum + Number(line['lines']), 0);
}

function bounded(t: TestContext, swarm: Swarm): void {
  const peakBytes = peakRssBytes(swarm.pid);
  t.diagnostic(`the master's memory was at most ${Math.round(peakBytes / 1e6)} MB`);
  assert.ok(peakBytes < MAX_RSS_BYTES, `the master had ${peakBytes} bytes`);
}

/** By the registry: the log is not read. */
async function replaced(trial: Trial, swarm: Swarm, pid: number): Promise<void> {
  const registry = new Registry({ redis: trial.redis.url, namespace: trial.namespace });
  try {
    await waitFor(`the child ${pid} is replaced`, async () => {
      const children = (await registry.children()).filter(({ state }) => state === 'up');
      return children.length === 2 && children.every((child) => child.pid !== pid && isAlive(child.pid));
    });
  } finally {
    await registry.close();
  }
  assert.ok(isAlive(swarm.pid));
}
