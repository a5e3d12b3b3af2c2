/** On Heroku: the line of the Procfile in a dyno that is played, with the Redis that Heroku gives. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { noJobLost } from '../support/accounts.js';
import { Dyno, whyNoDyno } from '../support/dyno.js';
import { running } from '../support/jobs.js';
import { temporaryDirectory } from '../support/programs.js';
import { freePort, startRedis, type TestRedis } from '../support/redis.js';
import { appPath, swarmCommand } from '../support/swarm.js';
import { Trial } from '../support/trial.js';

const BIN = fileURLToPath(new URL('../../../packages/swarm/bin/swarm.js', import.meta.url));

describe('in a dyno', () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  /** What Heroku and the Node buildpack set, and a PATH with `swarm`. */
  async function environment(
    t: TestContext,
    trial: Trial,
    more: Record<string, string> = {},
  ): Promise<Record<string, string>> {
    const bin = join(await temporaryDirectory(t), 'node_modules/.bin');
    await mkdir(bin, { recursive: true });
    await symlink(BIN, join(bin, 'swarm'));
    return {
      PATH: `${process.env['PATH']}:${bin}`,
      DYNO: 'worker.1',
      MEMORY_AVAILABLE: '1024',
      WEB_MEMORY: '512',
      WEB_CONCURRENCY: '2',
      REDIS_URL: redis.url,
      SWARM_NAMESPACE: trial.namespace,
      QUEUE_NAME: trial.queue.name,
      QUEUE_REDIS_PORT: String(redis.port),
      ...more,
    };
  }

  /** The command of the Procfile that `swarm init heroku` writes. */
  async function procfileLine(...args: string[]): Promise<string> {
    const { stdout } = await swarmCommand(['init', 'heroku', ...args]);
    const [, line = ''] = /^worker: (.*)\n$/.exec(stdout) ?? [];
    return line;
  }

  it('TERM to every process, again and again, is one stop, done before KILL', async (t) => {
    const why = whyNoDyno();
    if (why !== null) return t.skip(why);
    const trial = new Trial(t, redis);
    const line = await procfileLine(appPath('fault-worker.mjs'), '--count', '2', '--timeout', '4s');
    const dyno = new Dyno(t, line, await environment(t, trial));
    const started = await dyno.line('starting');
    assert.match(String(started['identity']), /^worker\.1:\d+:/, 'named as the dyno');
    const [long, short] = [await trial.add({ first: { ms: 600_000 } }), await trial.add({ ms: 1_500 })];
    for (const id of [long, short]) await running(redis, trial.queue, id);
    assert.equal(await dyno.restart(5), 0);
    assert.equal(dyno.wasKilled, false);
    assert.equal(dyno.lines.filter(({ message }) => message === 'stopping').length, 1);
    assert.equal(dyno.lines.filter(({ message }) => message === 'draining').length, 2);
    assert.deepEqual(
      [await trial.queue.getJobState(short), await trial.queue.getJobState(long)],
      ['completed', 'waiting'],
    );
    const next = trial.start(1);
    await noJobLost({ redis, jobs: [{ queue: trial.queue, ids: trial.ids }] });
    assert.deepEqual(await trial.counters(long), { attempts: 1, starts: 2, stalled: 0 });
    await next.stop();
  });

  it('memory decides how many children there are, and how large', async (t) => {
    const trial = new Trial(t, redis);
    const env = await environment(t, trial, { WEB_MEMORY: '1000' });
    const { stdout } = await swarmCommand(['config', appPath('fault-worker.mjs'), '--json'], {
      env,
    });
    const shown = JSON.parse(stdout) as Record<string, { value: unknown; origin: string }>;
    assert.deepEqual(shown['count'], { value: 1, origin: 'dyno, MEMORY_AVAILABLE=1024' });
    assert.deepEqual(shown['maxMemory'], { value: '924MiB', origin: 'dyno, MEMORY_AVAILABLE=1024' });
  });

  it("Heroku's self-signed certificate: the error names the option, and with it a swarm app works", async (t) => {
    const directory = await temporaryDirectory(t);
    const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
    const request = [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-keyout',
      key,
      '-out',
      cert,
      '-days',
      '2',
      '-subj',
      '/CN=ec2',
    ];
    try {
      execFileSync('openssl', request, { stdio: 'ignore' });
    } catch {
      return t.skip('no openssl to make a certificate with');
    }
    const tlsPort = await freePort();
    const server = await startRedis([
      ...['--tls-port', String(tlsPort), '--tls-auth-clients', 'no'],
      ...['--tls-key-file', key, '--tls-cert-file', cert, '--tls-ca-cert-file', cert],
    ]);
    t.after(() => server.close());
    const trial = new Trial(t, server);
    const url = `rediss://127.0.0.1:${tlsPort}`;
    const env = { DYNO: 'worker.1', MEMORY_AVAILABLE: '512', QUEUE_NAME: trial.queue.name };
    const app = 'fault-app.mjs';
    const refused = trial.start(1, { app, args: ['--redis', url], env });
    assert.equal(await refused.exited(), 69);
    assert.match(refused.stderr, /^swarm: SWARM_REDIS_TLS: .*self.signed.* --redis-tls-no-verify\n$/);

    const swarm = trial.start(1, { app, args: ['--redis', url, '--redis-tls-no-verify'], env });
    await swarm.ready(1);
    await trial.addMany(5, {});
    await noJobLost({ redis: server, jobs: [{ queue: trial.queue, ids: trial.ids }] });
    assert.equal(await swarm.stop(), 0);
  });
});
