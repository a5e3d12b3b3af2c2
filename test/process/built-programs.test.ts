/** Programs that are built, or want to be: TypeScript, and bundles. */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { assertRecovers, project, startSwarm, useQueue } from '../support/programs.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { appPath, swarmCommand } from '../support/swarm.js';

const TWO = ['--count', '2'];
const canStripTypes = Boolean((process.features as { typescript?: unknown }).typescript);

let redis: TestRedis;

before(async () => {
  redis = await startRedis();
});

after(() => redis.close());

describe('a TypeScript program', () => {
  it('runs', async (t) => {
    const swarm = startSwarm(t, 'typescript.ts', { redis, queue: 'typescript', args: TWO });
    await assertRecovers(t, swarm, useQueue(t, redis, 'typescript'));
  });

  it('is refused where neither node nor a tsx beside it can run it', { skip: canStripTypes }, async (t) => {
    const directory = await project(t, { 'jobs.ts': { app: 'typescript.ts' } });
    const { code, stderr } = await swarmCommand(['jobs.ts', '--redis', redis.url], { cwd: directory });
    assert.equal(code, 64);
    assert.match(stderr, /^swarm: SWARM_NO_TYPESCRIPT: .*jobs\.ts is TypeScript.*npm install tsx/);
    assert.doesNotMatch(stderr, /\n {4}at /);
  });
});

// one of them waits for a timeout
describe('a program whose bullmq is bundled', { concurrency: 2 }, () => {
  /** Everything in one file, as for a deploy without node_modules. */
  async function bundle(t: TestContext): Promise<string> {
    // it comes with tsx
    const esbuild = createRequire(createRequire(import.meta.url).resolve('tsx'))('esbuild') as {
      buildSync(options: Record<string, unknown>): unknown;
    };
    const file = join(await project(t, {}, {}), 'bundle.cjs');
    esbuild.buildSync({
      entryPoints: [appPath('bundled.mjs')],
      outfile: file,
      bundle: true,
      platform: 'node',
      external: ['pg', 'redis', 'bullmq-otel'],
    });
    return file;
  }

  it('runs when it calls track()', async (t) => {
    const env = { APP_TRACKS: 'yes' };
    const swarm = startSwarm(t, await bundle(t), { redis, queue: 'bundled', args: TWO, env });
    await assertRecovers(t, swarm, useQueue(t, redis, 'bundled'));
  });

  it('is told of track() once, and fails to boot, when it does not', async (t) => {
    // the hint comes after 5 s: time enough for both children to give it
    const args = [...TWO, '--boot-timeout', '9s'];
    const swarm = startSwarm(t, await bundle(t), { redis, queue: 'untracked', args });
    const isHint = ({ message }: { message: string }): boolean => message.includes('call track(worker)');
    await swarm.line('exited', { cause: 'boot-timeout' }, { nth: 2, timeoutMs: 40_000 });
    assert.equal(swarm.lines.filter(isHint).length, 1, swarm.tail());
    assert.equal(swarm.all('ready').length, 0);
  });
});
