import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { cgroupFree, parseMemAvailable, readFreeMemory } from '../dist/process/free-memory.js';

const MEMINFO = 'MemTotal:       24684068 kB\nMemFree:        21000000 kB\nMemAvailable:    1000000 kB\n';

/** A made-up `/proc` and `/sys`. */
const machine = (files: Record<string, string>) => (path: string) => files[path] ?? null;

describe('free memory', () => {
  it('of the machine is what it has available, not what lies idle', () => {
    assert.equal(parseMemAvailable(MEMINFO), 1_000_000 * 1_024);
    assert.equal(parseMemAvailable('MemFree: 1 kB\n'), null);
  });

  it('of a cgroup is its limit less its usage, old files not counted', () => {
    assert.equal(
      cgroupFree({ limits: ['1000\n'], usage: '900\n', stat: 'inactive_file 300\nfile 400\n' }),
      400,
    );
    assert.equal(cgroupFree({ limits: ['1000\n'], usage: '900\n', stat: null }), 100);
    assert.equal(cgroupFree({ limits: ['1000'], usage: '2000', stat: null }), 0, 'never less than nothing');
    const v1 = 'inactive_file 1\ntotal_inactive_file 50\n';
    assert.equal(
      cgroupFree({ limits: ['1000'], usage: '900', stat: v1 }),
      150,
      'what is below it counts too',
    );
    assert.equal(cgroupFree({ limits: ['1000', '500'], usage: '100', stat: null }), 400, 'the lower one');
    assert.equal(cgroupFree({ limits: ['max\n', 'max'], usage: '100', stat: null }), null);
    assert.equal(cgroupFree({ limits: ['9223372036854771712'], usage: '100', stat: null }), null);
    assert.equal(cgroupFree({ limits: [null], usage: '100', stat: null }), null);
    assert.equal(cgroupFree({ limits: ['1000'], usage: null, stat: null }), null);
  });

  it('is the least of all that is above us', () => {
    const v2 = {
      '/proc/meminfo': MEMINFO,
      '/proc/self/cgroup': '0::/a/b\n',
      '/sys/fs/cgroup/a/b/memory.max': 'max\n',
      '/sys/fs/cgroup/a/b/memory.current': '1000\n',
      '/sys/fs/cgroup/a/memory.max': '500000\n',
      '/sys/fs/cgroup/a/memory.current': '100000\n',
    };
    assert.equal(readFreeMemory(machine(v2)), 400_000);
    const v1 = {
      '/proc/meminfo': MEMINFO,
      '/proc/self/cgroup': '4:memory:/a\n1:cpu:/b\n',
      '/sys/fs/cgroup/memory/a/memory.limit_in_bytes': '500000\n',
      '/sys/fs/cgroup/memory/a/memory.usage_in_bytes': '200000\n',
      '/sys/fs/cgroup/memory/a/memory.stat': 'total_inactive_file 1000\n',
    };
    assert.equal(readFreeMemory(machine(v1)), 301_000);
    assert.equal(readFreeMemory(machine({ '/proc/meminfo': MEMINFO })), 1_000_000 * 1_024);
    assert.equal(readFreeMemory(machine({})), null);
  });

  it('can be read here', { skip: process.platform !== 'linux' && 'there is no /proc' }, () => {
    assert.ok((readFreeMemory() ?? 0) > 10e6);
  });
});
