import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type CgroupMount,
  Cgroups,
  cgroupDirectory,
  parseCgroup,
  parseCgroupMounts,
  parseOomKills,
} from '../dist/process/cgroup.js';

const segment = fc.stringMatching(/^[a-zA-Z0-9_.@:-]{1,12}$/).filter((text) => text !== '.' && text !== '..');
const path = fc.array(segment, { maxLength: 4 }).map((parts) => `/${parts.join('/')}`);

test('parseCgroup finds the memory cgroup of either version, whatever else is there', () => {
  fc.assert(
    fc.property(path, path, fc.boolean(), fc.boolean(), (v1, v2, hasV1, hasV2) => {
      const lines = ['12:cpu,cpuacct:/x', '11:name=systemd:/memory', '10:hugetlb:/y'];
      if (hasV1) lines.push(`4:memory:${v1}`);
      if (hasV2) lines.push(`0::${v2}`);
      const expected = [
        ...(hasV1 ? [{ version: 1, path: v1 }] : []),
        ...(hasV2 ? [{ version: 2, path: v2 }] : []),
      ];
      assert.deepEqual(parseCgroup(`${lines.join('\n')}\n`), expected);
    }),
  );
  assert.deepEqual(parseCgroup('9:memory,hugetlb:/a:b\n'), [{ version: 1, path: '/a:b' }]);
});

test('parsers take any text', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      parseCgroup(text);
      parseCgroupMounts(text);
      assert.equal(parseOomKills(`${text}\noom_kill 7\n`), parseOomKills(text) ?? 7);
    }),
  );
});

test('parseCgroupMounts reads what proc(5) describes', () => {
  const text = [
    '22 27 0:21 / /proc rw,relatime - proc proc rw',
    '35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory',
    '29 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu',
    '41 31 0:38 /docker/ab\\040c /mnt/my\\134cgroup rw master:1 propagate_from:2 - cgroup2 cgroup2 rw,nsdelegate',
    '',
  ].join('\n');
  assert.deepEqual(parseCgroupMounts(text), [
    { version: 1, root: '/', mountPoint: '/sys/fs/cgroup/memory' },
    { version: 2, root: '/docker/ab c', mountPoint: '/mnt/my\\cgroup' },
  ]);
});

test('a cgroup is found under the part of the hierarchy that is mounted, and nowhere else', () => {
  fc.assert(
    fc.property(path, path, (root, below) => {
      const mounts: CgroupMount[] = [{ version: 2, root, mountPoint: '/mnt' }];
      const whole = root === '/' ? below : below === '/' ? root : root + below;
      assert.equal(
        cgroupDirectory({ version: 2, path: whole }, mounts),
        below === '/' ? '/mnt/' : `/mnt${below}`,
      );
      assert.equal(cgroupDirectory({ version: 1, path: whole }, mounts), null);
      if (root !== '/') assert.equal(cgroupDirectory({ version: 2, path: `${root}x` }, mounts), null);
      assert.equal(cgroupDirectory({ version: 2, path: `${root}/../x` }, mounts), null);
    }),
  );
});

test('parseOomKills reads the files of both versions', () => {
  assert.equal(parseOomKills('low 0\nhigh 0\nmax 34\noom 2\noom_kill 1\noom_group_kill 0\n'), 1);
  assert.equal(parseOomKills('oom_kill_disable 0\nunder_oom 0\noom_kill 12\n'), 12);
  assert.equal(parseOomKills('oom_kill_disable 0\nunder_oom 0\n'), null);
  assert.equal(parseOomKills(''), null);
});

test('the counter of a process that is not there', () => {
  assert.equal(new Cgroups().counterOf(2 ** 30), null);
});
