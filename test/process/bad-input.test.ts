/** Mistakes at every door of `swarm`: one line that says what to do, the right exit code, no stack trace. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { after, before, describe, it, type TestContext } from 'node:test';
import { project, temporaryDirectory } from '../support/programs.js';
import { freePort, startRedis, type TestRedis } from '../support/redis.js';
import { appPath, type CommandResult, Swarm, swarmCommand } from '../support/swarm.js';
import { fullDescribe, fullIt } from '../support/tier.js';

const STACK_LINE = /\n {4}at /;

let redis: TestRedis;

before(async () => {
  redis = await startRedis(['--appendonly', 'yes']);
});

after(() => redis.close());

interface Mistake {
  args?: readonly string[];
  env?: Record<string, string>;
  cwd?: string;
  exits: 64 | 69 | 70;
  says: RegExp;
}

async function assertRefused({ args = [], env = {}, cwd, exits, says }: Mistake): Promise<CommandResult> {
  const options = {
    env: { SWARM_LOG_FORMAT: 'json', REDIS_URL: redis.url, ...env },
    ...(cwd ? { cwd } : {}),
  };
  const result = await swarmCommand(args, options);
  assert.match(result.stderr, says);
  assert.match(result.stderr, /^swarm: SWARM_[A-Z_]+: /);
  assert.equal(result.code, exits, result.stderr);
  return result;
}

/** The same, in one line. */
async function assertRefusedBriefly(mistake: Mistake): Promise<void> {
  const { stderr } = await assertRefused(mistake);
  assert.match(stderr, /^[^\n]+\n$/);
}

describe('bad usage', { concurrency: 3 }, () => {
  const esm = appPath('esm.mjs');
  const mistakes: Record<string, Omit<Mistake, 'exits'>> = {
    'an unknown flag': {
      args: [esm, '--cuont', '2'],
      says: /SWARM_UNKNOWN_OPTION: .*--cuont: did you mean --count\?/,
    },
    'a duration without a unit': {
      args: [esm, '--timeout', '25'],
      says: /SWARM_BAD_TIMEOUT: --timeout takes .*250ms, 25s, 2m or 1h.*, got "25"/,
    },
    'a count of 0': {
      args: [esm, '--count', '0'],
      says: /SWARM_BAD_COUNT: --count takes .*1 to 512, got "0"/,
    },
    'a count in the environment that is none': {
      args: [esm],
      env: { SWARM_COUNT: 'four' },
      says: /SWARM_BAD_COUNT: SWARM_COUNT takes .*1 to 512, got "four"/,
    },
    'an app that is not there': {
      args: ['./jobs/mial.js'],
      says: /SWARM_APP_NOT_FOUND: there is no app "\.\/jobs\/mial\.js": looked for \/.*\/jobs\/mial\.js/,
    },
    'a command that is none': { args: ['pss'], says: /SWARM_APP_NOT_FOUND: .*Did you mean swarm ps\?/ },
    'a Redis URL that is none': {
      args: [esm, '--redis', 'localhost'],
      says: /SWARM_BAD_REDIS_URL: --redis takes redis:.*got "localhost"/,
    },
  };
  for (const [what, mistake] of Object.entries(mistakes)) {
    it(`is ${what}`, () => assertRefusedBriefly({ ...mistake, exits: 64 }));
  }

  it('is no app at all', async (t) => {
    const cwd = await temporaryDirectory(t);
    await assertRefusedBriefly({
      cwd,
      exits: 64,
      says: /SWARM_APP_NOT_FOUND: no app was named, and .* has none of worker\.js/,
    });
  });

  it('shows its stack to who debugs, and to nobody else', async () => {
    const { stderr } = await swarmCommand([esm, '--count', '0', '--log-level', 'debug']);
    assert.match(stderr, STACK_LINE);
  });
});

fullDescribe('a bad swarm.config', { concurrency: 3 }, () => {
  it('throws: its own message and line are shown, its stack to who debugs', async (t) => {
    const config = "\nthrow new Error('no secrets today');\n";
    const cwd = await project(t, { 'worker.mjs': { app: 'esm.mjs' }, 'swarm.config.mjs': config });
    await assertRefusedBriefly({
      cwd,
      exits: 64,
      says: /SWARM_CONFIG_FAILED: swarm\.config\.mjs:2: no secrets today\n/,
    });
    const { stderr } = await swarmCommand(['--log-level', 'debug'], { cwd });
    assert.match(stderr, /at file:.*swarm\.config\.mjs:2:7/);
  });

  it('has a key that is none', async (t) => {
    const cwd = await project(t, { 'worker.mjs': { app: 'esm.mjs' }, 'swarm.config.json': '{ "cuont": 2 }' });
    await assertRefusedBriefly({ cwd, exits: 64, says: /SWARM_BAD_CONFIG: .*"cuont": did you mean count\?/ });
  });

  it('has a value that is none', async (t) => {
    const cwd = await project(t, { 'worker.mjs': { app: 'esm.mjs' }, 'swarm.config.json': '{ "count": 0 }' });
    await assertRefusedBriefly({
      cwd,
      exits: 64,
      says: /SWARM_BAD_COUNT: count in swarm\.config\.json takes .*, got "0"/,
    });
  });
});

describe('a Redis that cannot be used', { concurrency: 3 }, () => {
  const refused = (url: string, says: RegExp, args: readonly string[] = []) =>
    assertRefusedBriefly({
      args: [appPath('esm.mjs'), '--count', '1', '--redis', url, ...args],
      exits: 69,
      says,
    });

  it('is down', async () => {
    const url = `redis://127.0.0.1:${await freePort()}`;
    await refused(url, /SWARM_REDIS_UNREACHABLE: no Redis at redis:.*connection refused.*start one/);
  });

  fullIt('is older than 6.2', async (t) => {
    await refused(await oldRedis(t), /SWARM_REDIS_TOO_OLD: .*5\.0\.14.*6\.2/);
  });

  fullIt('wants another password, which is not printed', async (t) => {
    const guarded = await startRedis(['--requirepass', 'sesame']);
    t.after(() => guarded.close());
    await refused(`redis://:sesam@127.0.0.1:${guarded.port}`, /^swarm: SWARM_REDIS_AUTH: ((?!sesam).)*\n$/);
  });

  fullIt('is not named where swarm runs as a service', async () => {
    const env = { REDIS_URL: '', DYNO: 'worker.1' };
    const says = /SWARM_REDIS_MISSING: .*DYNO is set.*REDIS_URL/;
    await assertRefusedBriefly({ args: [appPath('esm.mjs')], env, exits: 69, says });
  });

  fullIt('may throw jobs away: a warning, and under --strict an error', async (t) => {
    await redis.client.config('SET', 'maxmemory-policy', 'allkeys-lru');
    t.after(() => redis.client.config('SET', 'maxmemory-policy', 'noeviction'));
    await refused(redis.url, /SWARM_REDIS_EVICTS: .*allkeys-lru.*noeviction.*--strict/, ['--strict']);
    const swarm = new Swarm('main.cjs', {
      args: ['--count', '1', '--redis', redis.url],
      env: { QUEUE_REDIS_PORT: String(redis.port), APP_QUEUE: 'warned', SWARM_NAMESPACE: 'warned' },
    });
    t.after(() => swarm.close());
    await swarm.ready(1);
    const warnings = swarm.lines.filter(({ level }) => level === 'warn');
    assert.deepEqual(
      warnings.map(({ code }) => code),
      ['SWARM_REDIS_EVICTS'],
    );
  });

  /** A fake, because no server this old is at hand: it knows INFO only, like a Redis 5 with most of it forbidden. */
  async function oldRedis(t: TestContext): Promise<string> {
    const info = '# Server\r\nredis_version:5.0.14\r\nloading:0\r\nrole:master\r\n';
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.on('data', (data) => {
        for (const command of data.toString().split(/(?=\*\d+\r\n\$)/)) {
          const isInfo = /\$4\r\ninfo\r\n/i.test(command);
          socket.write(
            isInfo
              ? `$${info.length}\r\n${info}\r\n`
              : '-ERR unknown command `HELLO`, with args beginning with:\r\n',
          );
        }
      });
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => server.close());
    return `redis://127.0.0.1:${(server.address() as { port: number }).port}`;
  }
});

// they mostly wait: for the next try, or for the boot timeout
fullDescribe('an app that cannot boot', { concurrency: 2 }, () => {
  const booted = async (
    t: TestContext,
    source: string,
    says: RegExp,
    args: readonly string[] = [],
  ): Promise<CommandResult> => {
    const cwd = await project(t, { 'app.mjs': source });
    const env = { SWARM_NAMESPACE: cwd.replace(/.*\//, '') };
    return assertRefused({ args: ['app.mjs', '--count', '1', ...args], env, cwd, exits: 70, says });
  };

  it('has neither Workers nor defineApp(), and ends', async (t) => {
    const says =
      /app\.mjs ended without starting a BullMQ Worker: is this the file .*\? It exports no defineApp\(\), and its bullmq is 6\..*track\(worker\)/;
    const { stderr, stdout } = await booted(t, "console.log('hello');", says);
    assert.doesNotMatch(stderr, STACK_LINE);
    assert.equal(stdout.match(/hello/g)?.length, 1, 'what it does is done once');
  });

  it('has neither Workers nor defineApp(), and runs on', async (t) => {
    const says =
      /not ready within 600 ms \(--boot-timeout\): it has started no BullMQ Worker.*defineApp\(\).*track\(worker\)/;
    const { stderr, stdout } = await booted(t, 'setInterval(() => {}, 1_000);', says, [
      '--boot-timeout',
      '600ms',
    ]);
    assert.doesNotMatch(stderr, STACK_LINE);
    assert.equal(stdout.match(/"cause":"boot-timeout"/g)?.length, 3);
  });
});
