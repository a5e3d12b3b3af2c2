/** Which masters are shown as gone before their beat is late. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { goneHere, type Here, readSnapshotHere } from '../dist/registry/gone-masters.js';
import type { HostPlace } from '../dist/registry/predecessors.js';
import type { RegistryClient } from '../dist/registry/reader.js';
import type { MasterRecord } from '../dist/registry/schema.js';
import { resolveTarget } from '../dist/registry/target.js';

const PLACE: HostPlace = { host: 'web-1', bootId: 'boot', pidNamespace: '4026531836' };
const NOW_S = 1_700_000_000;

/** Runs nothing but these pids, each since the tick that is its number. */
function here(running: readonly number[], place = PLACE): Here {
  return {
    place,
    isGone: (pid, startTicks) => !running.includes(pid) || (startTicks !== null && startTicks !== pid),
  };
}

function master(pid: number, more: Partial<HostPlace> & { startTicks?: number; stale?: boolean } = {}) {
  const { startTicks = pid, stale = false, ...place } = more;
  const info = { ...PLACE, ...place, pid, pidStartTicks: startTicks };
  return { identity: `web-1:${pid}:x`, stale, info } as unknown as MasterRecord;
}

describe('a master that beats', () => {
  const gone = (running: readonly number[], one: MasterRecord, place = PLACE) =>
    goneHere([one], here(running, place)).has(one.identity);

  it('is gone when its process is, also if another has its pid by now', () => {
    assert.ok(gone([], master(10)));
    assert.ok(!gone([10], master(10)));
    assert.ok(gone([10], master(10, { startTicks: 9 })));
  });

  it('is judged by its beat alone from any other place, and where the place is not known', () => {
    for (const other of [{ host: 'web-2' }, { bootId: 'other' }, { pidNamespace: '4026532001' }]) {
      assert.ok(!gone([], master(10, other)), JSON.stringify(other));
    }
    for (const unknown of [{ bootId: null }, { pidNamespace: null }]) {
      assert.ok(!gone([], master(10, unknown), { ...PLACE, ...unknown }), JSON.stringify(unknown));
    }
  });

  it('is never called gone while its process runs, wherever it is', () => {
    const place = fc.record({
      host: fc.constantFrom('a', 'b'),
      bootId: fc.constantFrom('x', 'y', null),
      pidNamespace: fc.constantFrom('1', '2', null),
    });
    fc.assert(
      fc.property(place, place, fc.integer({ min: 1, max: 9 }), (self, its, pid) => {
        assert.ok(!gone([pid], master(pid, its), self));
        const isHere = JSON.stringify(self) === JSON.stringify(its) && self.bootId && self.pidNamespace;
        assert.equal(gone([], master(pid, its), self), Boolean(isHere));
      }),
    );
  });

  it('is not looked for where the beat has said it already', () => {
    assert.ok(!gone([], master(10, { stale: true })));
  });
});

/** As many replies as readings of a registry with one master, which may have left by the later ones. */
function registryOf(readings: readonly boolean[]): RegistryClient & { readings: number } {
  const info = JSON.stringify({ ...PLACE, identity: 'web-1:10:x', pid: 10, pidStartTicks: 10 });
  const hash = { info, state: 'up', beatAtMs: String(NOW_S * 1_000), count: '1' };
  const client = {
    readings: 0,
    pipeline: (commands: string[][]) => ({
      exec: async () =>
        commands.map(([name]): [null, unknown] => {
          if (name === 'time') return [null, [String(NOW_S + 1), '0']];
          if (name === 'hgetall') return [null, hash];
          client.readings += 1;
          return [null, readings[client.readings - 1] ? ['web-1:10:x'] : []];
        }),
    }),
  };
  return client;
}

describe('a reading', () => {
  it('shows a killed master as stale, and takes no command for it', async () => {
    const { masters } = await readSnapshotHere(registryOf([true, true]), 'default', {}, here([]));
    assert.deepEqual(
      masters.map(({ stale, state }) => [stale, state]),
      [[true, 'up']],
    );
    assert.throws(() => resolveTarget(masters, 'web-1'), /is stale: its process is gone/);
  });

  it('does not show one that ended as told while it was read', async () => {
    const { masters } = await readSnapshotHere(registryOf([true, false]), 'default', {}, here([]));
    assert.deepEqual(masters, []);
  });

  it('reads once where nobody is gone', async () => {
    const client = registryOf([true, true]);
    const { masters } = await readSnapshotHere(client, 'default', {}, here([10]));
    assert.deepEqual([masters[0]?.stale, client.readings], [false, 1]);
  });
});
