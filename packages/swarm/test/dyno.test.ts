/** What a dyno changes, and what is said at start about the place where a master is. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import fc from 'fast-check';
import { type LoadConfigInput, loadConfig } from '../dist/config.js';
import { dynoCount, dynoOf, dynoShareBytes } from '../dist/config-dyno.js';
import { startWarnings } from '../dist/platform/start-warnings.js';
import { readOomGroups } from '../dist/process/oom-group.js';

const MIB = 2 ** 20;
let cwd: string;

beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'swarm-dyno-'));
  writeFileSync(join(cwd, 'worker.js'), '');
});
afterEach(() => rmSync(cwd, { recursive: true, force: true }));

/** As the Node buildpack sets them, in MiB. */
function standard(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  return { DYNO: 'worker.1', MEMORY_AVAILABLE: '1024', WEB_MEMORY: '256', ...more };
}

function load(env: NodeJS.ProcessEnv, argv: LoadConfigInput['argv'] = {}) {
  return loadConfig({ argv, env, cwd, isTty: false, cpus: () => 8 });
}

describe('a dyno', () => {
  it('is one where DYNO is a name', () => {
    assert.equal(dynoOf({}), null);
    assert.equal(dynoOf({ DYNO: 'a b' }), null);
    assert.equal(dynoOf({ DYNO: 'run.4711' }, () => null)?.memoryBytes, null);
  });

  it('has the memory that the buildpack says, else the one of its cgroup, if that is a dyno’s', () => {
    assert.equal(dynoOf(standard())?.memoryBytes, 1024 * MIB);
    assert.equal(dynoOf({ DYNO: 'worker.1' }, () => 512 * MIB)?.memoryBytes, 512 * MIB);
    assert.equal(dynoOf({ DYNO: 'worker.1' }, () => 2 ** 63)?.memoryBytes, null);
    assert.equal(dynoOf({ DYNO: 'worker.1', MEMORY_AVAILABLE: 'lots' }, () => null)?.memoryBytes, null);
  });

  it('has as many children as its memory holds, and shares the rest among them', async () => {
    const { config, origins } = await load(standard());
    const [group] = config.groups;
    assert.equal(group?.count, 4);
    assert.equal(group?.maxMemoryBytes, Math.floor((1024 - 100) / 4) * MIB);
    assert.equal(group?.maxMemoryHardBytes, Math.round(1.5 * 231 * MIB));
    assert.equal(origins['count'], 'dyno, MEMORY_AVAILABLE=1024');
    assert.equal(origins['maxMemory'], 'dyno, MEMORY_AVAILABLE=1024');
  });

  it('leaves what was said as it was said', async () => {
    const { config } = await load(standard({ COUNT: '2' }), { maxMemory: '300MB' });
    assert.deepEqual([config.groups[0]?.count, config.groups[0]?.maxMemoryBytes], [2, 300e6]);
    const hard = await load(standard(), { maxMemoryHard: '150MB' });
    assert.deepEqual([hard.config.groups[0]?.maxMemoryBytes], [null]);
  });

  it('limits groups that have no limit', async () => {
    const groups = { mail: { count: 2 }, reports: { count: 1, maxMemory: '500MB' } };
    writeFileSync(join(cwd, 'swarm.config.json'), JSON.stringify({ groups }));
    const { config } = await load(standard());
    assert.deepEqual(
      config.groups.map(({ maxMemoryBytes }) => maxMemoryBytes),
      [308 * MIB, 500e6],
    );
  });

  it('is labelled with its app and release', async () => {
    const env = standard({ HEROKU_APP_NAME: 'shop', HEROKU_RELEASE_VERSION: 'v42' });
    assert.deepEqual((await load(env, { labels: ['eu'] })).config.labels, ['eu', 'shop', 'v42']);
    assert.deepEqual((await load({ HEROKU_RELEASE_VERSION: 'v42' })).config.labels, []);
  });

  it('any of them: children and master stay within its memory', () => {
    const sizes = fc.record({
      memory: fc.integer({ min: 256, max: 129_024 }),
      child: fc.integer({ min: 16, max: 4_096 }),
      cpus: fc.integer({ min: 1, max: 64 }),
    });
    fc.assert(
      fc.property(sizes, ({ memory, child, cpus }) => {
        const dyno = { name: 'x', memoryBytes: memory * MIB, childBytes: child * MIB, origin: '' };
        const count = dynoCount(dyno, cpus);
        assert.ok(count >= 1 && count <= cpus);
        const share = dynoShareBytes(dyno, count);
        assert.ok(share === null || count * share <= memory * MIB);
      }),
    );
  });
});

describe('warnings at start', () => {
  const codes = async (env: NodeJS.ProcessEnv, pid = 4711, argv: LoadConfigInput['argv'] = {}) => {
    const { config } = await load(env, argv);
    return startWarnings(config, { env, pid }).map(({ code }) => code);
  };

  it('none where nothing is wrong', async () => {
    assert.deepEqual(await codes({}), []);
    assert.deepEqual(await codes(standard()), []);
    assert.deepEqual(await codes({ npm_lifecycle_event: 'npx' }), [], 'a terminal');
  });

  it('PID 1, with the cure', async () => {
    assert.deepEqual(await codes({}, 1), ['SWARM_PID_ONE']);
    const { config } = await load({});
    assert.match(
      startWarnings(config, { env: {}, pid: 1 })[0]?.message ?? '',
      /zombie .*docker run --init.*tini/,
    );
  });

  it('a service that npm starts', async () => {
    for (const name of ['DYNO', 'INVOCATION_ID', 'KUBERNETES_SERVICE_HOST'])
      assert.deepEqual(await codes({ [name]: 'x', npm_lifecycle_event: 'start', MEMORY_AVAILABLE: '9000' }), [
        'SWARM_UNDER_NPM',
      ]);
  });

  it('a budget that Heroku does not give', async () => {
    assert.deepEqual(await codes(standard(), 4711, { timeout: '27s' }), []);
    assert.deepEqual(await codes(standard(), 4711, { timeout: '28s' }), ['SWARM_DYNO_TIMEOUT']);
  });

  it('a cgroup that the kernel kills as a whole, unless the children keep below it by themselves', async () => {
    const files: Record<string, string> = {
      '/proc/self/cgroup': '0::/pods/a\n',
      '/sys/fs/cgroup/pods/a/memory.oom.group': '1\n',
      '/sys/fs/cgroup/pods/a/memory.max': '1000000000\n',
      '/sys/fs/cgroup/pods/memory.oom.group': '0\n',
    };
    const oomGroups = readOomGroups((path) => files[path] ?? null);
    assert.deepEqual(oomGroups, [{ file: '/sys/fs/cgroup/pods/a/memory.oom.group', limitBytes: 1e9 }]);
    const said = async (argv: LoadConfigInput['argv'], groups = oomGroups) => {
      const { config } = await load({}, { count: '2', ...argv });
      return startWarnings(config, { env: {}, pid: 4711, oomGroups: groups }).map(({ message }) => message);
    };
    assert.match(
      (await said({}))[0] ?? '',
      /oom.group is 1: when the memory of 1000MB .* have no --max-memory;/,
    );
    assert.match(
      (await said({ maxMemory: '400MB' }))[0] ?? '',
      /may take 1200MB before .*; set --max-memory/,
    );
    assert.deepEqual(await said({ maxMemory: '300MB' }), []);
    assert.deepEqual(await said({}, []), []);
  });

  it('more memory than the dyno has', async () => {
    assert.deepEqual(await codes(standard(), 4711, { maxMemory: '400MB' }), ['SWARM_DYNO_MEMORY']);
    assert.deepEqual(await codes(standard(), 4711, { count: '40' }), ['SWARM_DYNO_MEMORY']);
  });
});
