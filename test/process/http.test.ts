/** `--port`: health and metrics of a real master, while its children do as they like. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { running } from '../support/jobs.js';
import { rssBytes } from '../support/processes.js';
import { temporaryDirectory } from '../support/programs.js';
import { freePort, startRedis, type TestRedis } from '../support/redis.js';
import { toolPath } from '../support/tools.js';
import { Trial } from '../support/trial.js';
import { waitFor } from '../support/wait.js';

const PROMTOOL = toolPath('promtool');
// seen from test/dist/process
const DOCUMENTS = ['DEPLOY.md', 'OPERATIONS.md'].map((name) =>
  readFileSync(new URL(`../../../docs/${name}`, import.meta.url), 'utf8'),
);

describe('health and metrics', () => {
  /** What Prometheus gets of the first of them. */
  let exposition = '';
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  async function ask(port: number, path: string): Promise<{ status: number; text: string }> {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(5_000) });
    return { status: response.status, text: await response.text() };
  }

  /** Value of a series; undefined: there is none. */
  async function metric(port: number, series: string): Promise<number | undefined> {
    const { text } = await ask(port, '/metrics');
    const line = text.split('\n').find((each) => each.startsWith(`${series} `));
    return line === undefined ? undefined : Number(line.slice(series.length + 1));
  }

  it('are those of its children, and Prometheus reads them', async (t) => {
    const trial = new Trial(t, redis);
    const port = await freePort();
    const swarm = trial.start(2, { args: ['--port', String(port)] });
    await swarm.line('listening');
    assert.equal((await ask(port, '/healthz')).status, 200);
    const early = await ask(port, '/readyz');
    if (early.status !== 200) assert.match(early.text, /starting|none of 2 is up/);
    const [pid = 0] = await swarm.ready(2);
    assert.deepEqual(await ask(port, '/readyz'), { status: 200, text: 'ready: 2/2 up\n' });

    await trial.addMany(20, {});
    const done = 'swarm_jobs_processed_total{group="default"}';
    await waitFor('the jobs are counted', async () => (await metric(port, done)) === 20);
    const id = await trial.add({ first: { ms: 600_000 } });
    await running(redis, trial.queue, id);
    const { pid: runner } = await trial.runs(id);
    process.kill(runner, 'SIGKILL');
    await waitFor('the death is counted', async () => {
      return (await metric(port, 'swarm_deaths_total{group="default",cause="signal"}')) === 1;
    });
    const released = 'swarm_jobs_released_total{group="default"}';
    await waitFor('the release is counted', async () => (await metric(port, released)) === 1);
    await waitFor('the job of the dead is counted too', async () => (await metric(port, done)) === 21);
    await waitFor('memory is measured', async () => {
      return (
        ((await metric(port, 'swarm_child_resident_memory_bytes{slot="0",group="default"}')) ?? 0) > 20e6
      );
    });
    assert.ok(pid > 0 && (await metric(port, 'swarm_redis_up')) === 1);

    exposition = (await ask(port, '/metrics')).text;
    assert.equal(await swarm.stop(), 0);
    await trial.nothingLost(new Map());
  });

  it('pass the checks of Prometheus, and so do the alerts of the documents', {
    skip: PROMTOOL === null && 'promtool is not to be had here (package prometheus)',
  }, async (t) => {
    assert.match(exposition, /^swarm_info\{/m);
    assert.deepEqual(promtool(['check', 'metrics'], exposition), [0, '']);
    // and it would say so
    assert.notEqual(promtool(['check', 'metrics'], 'swarm_jobs 1\nswarm_jobs 2\n')[0], 0);
    const file = join(await temporaryDirectory(t), 'rules.yml');
    const rules = DOCUMENTS.flatMap(alertsIn).join('').replace(/^/gm, '    ');
    await writeFile(file, `groups:\n- name: swarm\n  rules:\n${rules}`);
    const [code, said] = promtool(['check', 'rules', file]);
    assert.equal(code, 0, said);
    assert.match(said, /SUCCESS: \d+ rules found/);
  });

  it('have the names that the documents say', () => {
    const known = new Set([...exposition.matchAll(/^# TYPE (\w+)/gm)].map(([, name]) => name));
    const named = DOCUMENTS.flatMap((text) => [...text.matchAll(/\b(?:swarm|process)_[a-z_]*[a-z]\b/g)]);
    assert.ok(named.length > 20 && known.size > 20);
    assert.deepEqual(
      named.map(([name]) => name).filter((name) => !known.has(name)),
      [],
    );
  });

  it('answer while every child hangs, and say so', async (t) => {
    const trial = new Trial(t, redis);
    const port = await freePort();
    const swarm = trial.start(1, { args: ['--port', String(port)] });
    const [pid] = await swarm.ready(1);
    const id = await trial.add({ first: { spin: true } });
    await running(redis, trial.queue, id);
    const answer = await waitFor('it is not ready', async () => {
      const { status, text } = await ask(port, '/readyz');
      return status === 503 ? text : null;
    });
    assert.match(
      answer,
      new RegExp(`^group default: none of 1 is up: slot 0 \\(pid ${pid}\\) is silent for 1\\d`),
    );
    assert.equal((await ask(port, '/healthz')).status, 200);
    assert.equal(await metric(port, 'swarm_child_up{slot="0",group="default"}'), 0);
    process.kill(pid as number, 'SIGKILL');
    await waitFor('it is ready again', async () => (await ask(port, '/readyz')).status === 200);
    await trial.nothingLost(new Map([[swarm, 1]]));
  });

  it('are not there unless asked for, and a taken port is said before any child is started', async (t) => {
    const trial = new Trial(t, redis);
    const port = await freePort();
    const first = trial.start(1, { args: ['--port', String(port)] });
    await first.ready(1);
    const second = trial.start(1, { args: ['--port', String(port)] });
    assert.equal(await second.exited(), 64);
    assert.match(second.stderr, /^swarm: SWARM_PORT_UNUSABLE: --port \d+ .* another process has it/);
    assert.deepEqual(second.spawnedPids, []);
    assert.equal(await first.stop(), 0);
    const third = trial.start(1);
    await third.ready(1);
    await assert.rejects(ask(port, '/healthz'));
    t.diagnostic(`RSS of a master without --port: ${Math.round(rssBytes(third.pid) / 1e6)} MB`);
    await third.stop();
  });
});

/** Exit code, and everything that it said. */
function promtool(args: readonly string[], input = ''): [code: number | null, said: string] {
  const { status, stdout, stderr } = spawnSync(PROMTOOL as string, args, { input, encoding: 'utf8' });
  return [status, stdout + stderr];
}

function alertsIn(document: string): string[] {
  return [...document.matchAll(/^```yaml\n(- alert:[\s\S]*?)^```/gm)].map(([, text = '']) => text);
}
