/** The files that `swarm init` writes: filled in from the configuration, quoted as each platform wants it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse as parseYaml } from './yaml-subset.js';

const BIN = fileURLToPath(new URL('../bin/swarm.js', import.meta.url));
const SECRET = 'redis://:hunter2@db:6379';

let cwd: string;

beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'swarm-init-'));
  writeFileSync(join(cwd, 'worker.js'), '');
  writeFileSync(join(cwd, 'package.json'), '{"name": "@shop/mail_jobs"}');
});
afterEach(() => rmSync(cwd, { recursive: true, force: true }));

function swarm(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const options = {
    cwd,
    env: { PATH: process.env['PATH'], ...env },
    encoding: 'utf8',
    timeout: 30_000,
  } as const;
  const { status, stdout, stderr } = spawnSync(process.execPath, [BIN, 'init', ...args], options);
  return { status, stdout, stderr };
}

function printed(...args: string[]): string {
  const { status, stdout, stderr } = swarm(args);
  assert.deepEqual([status, stderr], [0, '']);
  return stdout;
}

/** Lines `key value` or `Key=value`, comments left out; the last one of a key counts. */
function lines(text: string, separator: RegExp): Map<string, string> {
  const found = text.split('\n').filter((line) => /^[A-Za-z]/.test(line));
  return new Map(
    found.map((line) => {
      const at = separator.exec(line);
      return at ? [line.slice(0, at.index), line.slice(at.index + at[0].length)] : [line, ''];
    }),
  );
}

describe('swarm init systemd', () => {
  const unit = (...args: string[]) => lines(printed('systemd', ...args), /=/);

  it('writes what was given into the command, and budgets from it', () => {
    const keys = unit(
      './worker.js',
      '--count',
      '4',
      '--timeout',
      '40s',
      '--boot-timeout',
      '2m',
      '--',
      '--region',
      'eu',
    );
    const command = `${process.execPath} ${BIN} ./worker.js --count 4 --timeout 40s --boot-timeout 2m -- --region eu`;
    assert.equal(keys.get('ExecStart'), command);
    assert.equal(keys.get('WorkingDirectory'), cwd);
    assert.equal(keys.get('TimeoutStopSec'), '48');
    assert.equal(keys.get('TimeoutStartSec'), '150');
    assert.match(keys.get('Description') ?? '', /mail-jobs/);
  });

  it('has what a service of several processes needs', () => {
    const keys = unit();
    const wanted = {
      Type: 'notify',
      NotifyAccess: 'all',
      OOMPolicy: 'continue',
      KillMode: 'mixed',
      Delegate: 'yes',
      Restart: 'always',
      WatchdogSec: '60',
      NoNewPrivileges: 'yes',
      StartLimitIntervalSec: '0',
    };
    for (const [key, value] of Object.entries(wanted)) assert.equal(keys.get(key), value, key);
    assert.notEqual(keys.get('User'), 'root');
    assert.equal(keys.get('MemoryMax'), undefined);
  });

  it('leaves each child room for its own limit in MemoryMax', () => {
    assert.equal(unit('--count', '4', '--max-memory', '300MB').get('MemoryMax'), String(4 * 450e6 + 200e6));
    writeFileSync(
      join(cwd, 'swarm.config.json'),
      '{"groups": {"a": {"count": 2, "maxMemory": "100MB"}, "b": {"count": 1, "maxMemoryHard": "1GB"}}}',
    );
    assert.equal(unit().get('MemoryMax'), String(2 * 150e6 + 1e9 + 200e6));
  });

  it('quotes words as systemd reads them', () => {
    const command =
      unit('--label', 'a b%c$d', '--label', 'e"f\\g', '--node-arg=--expose-gc').get('ExecStart') ?? '';
    assert.ok(command.endsWith('--node-arg=--expose-gc --label "a b%%c$$d" --label "e\\"f\\\\g"'), command);
  });

  it('names no secret, and wants the file that has it', () => {
    const text = printed('systemd', '--redis', SECRET);
    assert.ok(!text.includes('hunter2') && !text.includes('--redis'));
    assert.match(text, /^EnvironmentFile=\/etc\/default\/mail-jobs$/m);
    assert.match(printed('systemd'), /^EnvironmentFile=-\/etc\/default\/mail-jobs$/m);
  });

  it('keeps a path with blanks one path, and names in their bounds', () => {
    const outside = cwd;
    cwd = join(outside, 'my "app"');
    try {
      mkdirSync(cwd);
      writeFileSync(join(cwd, 'worker.js'), '');
      writeFileSync(join(cwd, 'package.json'), '{"name": "@acme/notifications-delivery-service-workers"}');
      const text = printed('systemd', './worker.js');
      assert.ok(text.includes(`\nReadWritePaths="-${outside}/my \\"app\\""\n`), text);
      assert.ok(text.includes(`\nWorkingDirectory=${cwd}\n`), text);
      assert.match(text, /^EnvironmentFile=.*\/notifications-delivery-service$/m);
      writeFileSync(join(cwd, 'package.json'), '{"name": "3d-rendering-of-very-large-buildings"}');
      assert.match(printed('systemd'), /^EnvironmentFile=.*\/swarm-3d-rendering-of-very-larg$/m);
      assert.match(swarm(['systemd', '--name', 'ends-']).stderr, /SWARM_BAD_NAME: .*no dash last/);
    } finally {
      cwd = outside;
    }
  });

  it('sees a home through a link', (t) => {
    const home = mkdtempSync(join(homedir(), '.swarm-init-'));
    t.after(() => rmSync(home, { recursive: true }));
    assert.equal(unit().get('ProtectHome'), 'yes');
    writeFileSync(join(home, 'worker.js'), '');
    symlinkSync(join(home, 'worker.js'), join(cwd, 'linked.js'));
    // elsewhere than on Linux it is none that systemd would hide
    const isHidden = /^\/(home|root)\//.test(home);
    assert.equal(unit('./linked.js').get('ProtectHome'), isHidden ? undefined : 'yes');
  });

  it('gives an embedded Redis a place for its data', () => {
    const keys = unit('--redis', 'embedded');
    assert.equal(keys.get('StateDirectory'), 'mail-jobs');
    assert.match(keys.get('ExecStart') ?? '', / --redis embedded$/);
  });

  it('does not take over what this shell has set', () => {
    const { stdout } = swarm(['systemd'], { SWARM_TIMEOUT: '90s', COUNT: '77', SWARM_MAX_MEMORY: '1GB' });
    assert.match(stdout, /^TimeoutStopSec=33$/m);
    assert.ok(!stdout.includes('MemoryMax=') || stdout.includes('# with --max-memory, MemoryMax='));
  });

  it("uses the app's own swarm, which stays with it when it is deployed anew", () => {
    const own = join(cwd, 'node_modules/bullmq-swarm/bin');
    mkdirSync(own, { recursive: true });
    writeFileSync(join(own, 'swarm.js'), '');
    assert.equal(unit().get('ExecStart'), `${process.execPath} ${own}/swarm.js`);
  });
});

describe('swarm init heroku', () => {
  it('is one line, without npm and without secrets', () => {
    const text = printed('heroku', './worker.js', '--count', '2', '--label', "it's", '--redis', SECRET);
    assert.equal(text, `worker: swarm ./worker.js --count 2 --label 'it'\\''s'\n`);
  });
});

describe('swarm init docker', () => {
  it('has an init as PID 1, a health check, and says how long a stop takes', () => {
    const text = printed('docker', './worker.js', '--timeout', '10s', '--label', 'a "b"');
    assert.match(text, /^ENTRYPOINT \["tini", "--"\]$/m);
    const command = /^CMD (\[.*\])$/m.exec(text)?.[1] ?? '';
    assert.deepEqual(JSON.parse(command), [
      'node_modules/.bin/swarm',
      './worker.js',
      '--timeout',
      '10s',
      '--label',
      'a "b"',
    ]);
    assert.match(text, /--stop-timeout 18 /);
    assert.match(text, /^HEALTHCHECK .*\n.*\/readyz/m);
    assert.match(text, /^USER node$/m);
    assert.match(text, new RegExp(`^FROM node:${process.versions.node.split('.')[0]}-slim$`, 'm'));
  });
});

describe('swarm init kubernetes', () => {
  it('is a Deployment with probes, time to stop in and room for memory', () => {
    const text = printed(
      'kubernetes',
      './worker.js',
      '--count',
      '4',
      '--max-memory',
      '300MB',
      '--port',
      '9000',
    );
    const manifest = parseYaml(text);
    assert.equal(manifest.get('kind'), 'Deployment');
    assert.equal(manifest.get('spec.template.spec.terminationGracePeriodSeconds'), '33');
    const container = 'spec.template.spec.containers.0';
    assert.equal(manifest.get(`${container}.command`), '[tini, --]');
    assert.equal(manifest.get(`${container}.args.1`), '"./worker.js"');
    assert.match(manifest.get(`${container}.readinessProbe.httpGet`) ?? '', /\/readyz/);
    assert.match(manifest.get(`${container}.livenessProbe.httpGet`) ?? '', /\/healthz/);
    assert.match(manifest.get(`${container}.ports.0`) ?? '', /containerPort: 9000/);
    const mebibytes = Number(
      /memory: (\d+)Mi/.exec(manifest.get(`${container}.resources.limits`) ?? '')?.[1],
    );
    assert.ok(mebibytes * 2 ** 20 >= 4 * 450e6 + 200e6);
  });
});

describe('where a file is written', () => {
  it('nowhere unless asked', () => {
    assert.match(printed('heroku'), /^worker: swarm\n$/);
    assert.throws(() => readFileSync(join(cwd, 'Procfile')));
  });

  it('in its own place or another, and never over another without --force', () => {
    const first = swarm(['heroku', '--write']);
    assert.deepEqual([first.status, first.stdout], [0, `${join(cwd, 'Procfile')}\n`]);
    const again = swarm(['heroku', './worker.js', '--write']);
    assert.equal(again.status, 64);
    assert.match(
      again.stderr,
      /SWARM_FILE_EXISTS: .*Procfile is there already.* add this line to it: worker: swarm \.\/worker\.js\n$/,
    );
    assert.equal(readFileSync(join(cwd, 'Procfile'), 'utf8'), 'worker: swarm\n');
    assert.equal(swarm(['heroku', './worker.js', '--write', '--force']).status, 0);
    assert.equal(readFileSync(join(cwd, 'Procfile'), 'utf8'), 'worker: swarm ./worker.js\n');
    assert.equal(swarm(['docker', '--output', 'other']).status, 0);
    assert.match(readFileSync(join(cwd, 'other'), 'utf8'), /^FROM node/m);
  });

  it('and says what to do where it cannot', () => {
    const { status, stderr } = swarm(['docker', '--output', 'no/such/directory']);
    assert.equal(status, 64);
    assert.match(stderr, /SWARM_FILE_NOT_WRITTEN: .*no\/such\/directory could not be written \(ENOENT/);
  });

  it('refuses a platform, a name or a user that is none', () => {
    for (const [args, message] of [
      [['sytemd'], /takes one of systemd, .* got "sytemd": did you mean systemd\?/],
      [[], /takes one of systemd, .* got nothing/],
      [['systemd', '--name', 'a b'], /SWARM_BAD_NAME: --name takes 1 to 31 small letters/],
      [['systemd', '--user', 'root'], /SWARM_BAD_USER: --user takes the name of a user other than root/],
    ] as const) {
      const { status, stderr } = swarm(args);
      assert.equal(status, 64);
      assert.match(stderr, message);
    }
  });
});
