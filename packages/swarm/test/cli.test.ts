/** The command itself, as a process. What a master or a registry command does is tested where they are. */
import assert from 'node:assert/strict';
import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseCommandLine } from '../dist/command-line.js';
import { COMMAND_NAMES } from '../dist/command-table.js';
import { terminalScreen } from '../dist/commands/screen.js';

const BIN = fileURLToPath(new URL('../bin/swarm.js', import.meta.url));
const DEADLINE_MS = 30_000;

interface Ran {
  code: number | string | null | undefined;
  stdout: string;
  stderr: string;
}

let cwd: string;

beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'swarm-cli-'));
});
afterEach(() => rmSync(cwd, { recursive: true, force: true }));

function swarm(args: string[], env: NodeJS.ProcessEnv = {}): Promise<Ran> {
  return new Promise((resolve) => {
    const options = { cwd, env: { PATH: process.env.PATH, ...env }, timeout: DEADLINE_MS };
    execFile(process.execPath, [BIN, ...args], options, (error, stdout, stderr) => {
      resolve({ code: error ? error.code : 0, stdout, stderr });
    });
  });
}

/** One line on stderr, nothing on stdout, exit 64. */
async function refuses(args: string[], line: RegExp | string, env?: NodeJS.ProcessEnv): Promise<void> {
  const { code, stdout, stderr } = await swarm(args, env);
  assert.equal(code, 64, stderr);
  assert.equal(stdout, '');
  assert.equal(stderr.trimEnd().split('\n').length, 1, stderr);
  if (typeof line === 'string') assert.equal(stderr, `swarm: ${line}\n`);
  else assert.match(stderr, line);
}

describe('swarm, as a process', () => {
  it('helps, with examples, in 80 columns', async () => {
    const each = COMMAND_NAMES.map((name) => [name, '--help']);
    for (const args of [...each, ['--help'], ['run', '-h'], ['--count', 'x', 'redis', '--help']]) {
      const { code, stdout, stderr } = await swarm(args);
      assert.deepEqual([code, stderr], [0, '']);
      assert.match(stdout, /\nExamples\n/);
      assert.ok(
        stdout.split('\n').every((line) => line.length <= 80),
        stdout,
      );
    }
  });

  it('tells its version', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
      version: string;
    };
    assert.deepEqual(await swarm(['--version']), { code: 0, stdout: `${version}\n`, stderr: '' });
  });

  it('completes', async () => {
    const script = await swarm(['completion'], { SHELL: '/bin/bash' });
    assert.match(script.stdout, /complete .* swarm\n/);
    const words = (await swarm(['--get-yargs-completions', 'swarm', 'ps', '--n'])).stdout.split('\n');
    assert.ok(words.includes('--namespace') && !words.includes('--count'), words.join(' '));
    for (const [typed, expected] of [
      [
        ['init', ''],
        ['systemd', 'upstart', 'heroku', 'docker', 'kubernetes'],
      ],
      [
        ['redis', ''],
        ['cli', 'stop'],
      ],
      [['init', 'sy'], ['systemd']],
      [[''], ['run', 'ps', 'init', 'completion']],
    ] as const) {
      const { stdout } = await swarm(['--get-yargs-completions', 'swarm', ...typed]);
      const offered = stdout.split('\n');
      for (const word of expected) assert.ok(offered.includes(word), `${typed} → ${offered}`);
    }
  });

  it('refuses bad values in one line', async () => {
    await refuses(['--count', '0'], 'SWARM_BAD_COUNT: --count takes a whole number from 1 to 512, got "0"');
    await refuses(
      ['--count', 'four'],
      'SWARM_BAD_COUNT: --count takes a whole number from 1 to 512, got "four"',
    );
    await refuses(['run', '--count=513'], /got "513"/);
    await refuses(
      ['--timeout', '25'],
      /^swarm: SWARM_BAD_TIMEOUT: --timeout takes .*250ms, 25s, 2m or 1h, got "25"$/m,
    );
    await refuses([], 'SWARM_BAD_COUNT: COUNT takes a whole number from 1 to 512, got "four"', {
      COUNT: 'four',
    });
  });

  it('refuses what it does not know, with a suggestion', async () => {
    await refuses(
      ['--cuont', '4'],
      'SWARM_UNKNOWN_OPTION: there is no option --cuont: did you mean --count?',
    );
    await refuses(['jbos'], /SWARM_APP_NOT_FOUND: there is no app "jbos".* Did you mean swarm jobs\?/);
    await refuses([], /SWARM_APP_NOT_FOUND: no app was named, and .* none of worker.js/);
  });

  it('says what a config file threw, and its stack only when debugging', async () => {
    writeFileSync(join(cwd, 'swarm.config.mjs'), 'throw new Error("no DATABASE_URL")');
    await refuses(['config'], 'SWARM_CONFIG_FAILED: swarm.config.mjs:1: no DATABASE_URL');
    for (const [args, env] of [
      [['config', '--log-level', 'debug'], {}],
      [['config'], { SWARM_LOG_LEVEL: 'debug' }],
    ] as const) {
      assert.match((await swarm([...args], env)).stderr, /caused by Error: no DATABASE_URL\n +at /);
    }
  });

  it('config --json: one document, whatever the config file prints', async () => {
    writeFileSync(
      join(cwd, 'swarm.config.mjs'),
      'console.log("noise"); export default { namespace: "shop" }',
    );
    const args = [
      'config',
      'x',
      '--json',
      '--count',
      '4',
      '--redis',
      'rediss://me:hunter2@h:1',
      '-q',
      'a,4',
      '-q',
      'b',
    ];
    writeFileSync(join(cwd, 'x.js'), '');
    const { code, stdout, stderr } = await swarm(args, { SWARM_TIMEOUT: '90s' });
    assert.equal(code, 0, stderr);
    assert.equal(stderr, 'noise\n');
    assert.ok(!stdout.includes('hunter2'));
    const shown = JSON.parse(stdout) as Record<string, { value: unknown; origin: string }>;
    assert.deepEqual(shown.count, { value: 4, origin: 'flag' });
    assert.deepEqual(shown.timeout, { value: '90s', origin: 'env SWARM_TIMEOUT' });
    assert.deepEqual(shown.namespace, { value: 'shop', origin: 'file swarm.config.mjs' });
    assert.deepEqual(shown.queues, { value: ['a,4', 'b'], origin: 'flag' });
    assert.equal(shown.app?.origin, 'argument');
  });

  it('config: a table', async () => {
    const { code, stdout } = await swarm(['config'], { NUM_WORKERS: '2' });
    assert.equal(code, 0);
    assert.match(stdout, /^app +\(none found\) +default$/m);
    assert.match(stdout, /^count +2 +env NUM_WORKERS$/m);
    assert.ok(stdout.split('\n').every((line) => line.length <= 80));
  });
});

describe('the command line', () => {
  const parse = (text: string) => parseCommandLine(text === '' ? [] : text.split(' '));

  it('runs by default, and with options on either side', () => {
    for (const text of [
      'worker.js --count 4',
      '--count 4 worker.js',
      'run worker.js --count=4',
      '--count 4 run worker.js',
    ]) {
      const { command, app, flags } = parse(text);
      assert.deepEqual(
        { command, app, flags },
        { command: 'run', app: 'worker.js', flags: { count: '4' } },
        text,
      );
    }
    assert.deepEqual(parse('--count 4').app, undefined);
    assert.deepEqual([parse('./ps').command, parse('./ps').app], ['run', './ps']);
    assert.deepEqual([parse('run ps').command, parse('run ps').app], ['run', 'ps']);
    assert.equal(parse('--strict worker.js').app, 'worker.js', 'a switch takes no value');
  });

  it('leaves what comes after -- to the app', () => {
    const line = parse('a.js -c 2 -- --help -c 3 x');
    assert.deepEqual(
      [line.appArguments, line.help, line.flags],
      [['--help', '-c', '3', 'x'], false, { concurrency: '2' }],
    );
  });

  it('repeats what is repeatable, and takes the last of the rest', () => {
    assert.deepEqual(
      parse('-q a,4 -q b --label x worker.js --label y --count 1 --count 2 --strict --no-strict').flags,
      {
        queues: ['a,4', 'b'],
        labels: ['x', 'y'],
        count: '2',
        strict: false,
      },
    );
    assert.deepEqual(parse('--node-arg --expose-gc --node-arg=--no-warnings --no-watchdog').flags, {
      nodeArgs: ['--expose-gc', '--no-warnings'],
      watchdog: false,
    });
  });

  it('keeps texts as they were typed', () => {
    assert.deepEqual(parse('007 --tag 1e3 --namespace 0x10').flags, { tag: '1e3', namespace: '0x10' });
    assert.equal(parse('007').app, '007');
  });

  it('has commands with words and switches of their own', () => {
    assert.deepEqual([parse('redis stop').word, parse('redis').word], ['stop', undefined]);
    assert.ok(parse('ps --json --namespace x').switches.has('json'));
    assert.ok(parse('--json ps').switches.has('json'));
    assert.deepEqual(parse('scale web1 mail=4 --json').words, ['web1', 'mail=4']);
    assert.deepEqual(parse('roll').words, []);
  });

  const refused: [string, RegExp][] = [
    ['ps --count 4', /--count is not an option of swarm ps\. Its options: swarm ps --help/],
    ['pss --json', /--json is not an option of swarm run\. Did you mean swarm ps\?/],
    ['--no-watchdgo', /there is no option --no-watchdgo: did you mean --no-watchdog\?/],
    ['-x', /there is no option -x; see swarm run --help/],
    ['--max-memroy 1GB', /there is no option --max-memroy: did you mean --max-memory\?/],
    ['jobs --by-job', /--by-job is not an option of swarm jobs/],
    ['a.js b', /takes one app, got "a.js" and "b": arguments for the app come after --/],
    ['ps x', /swarm ps takes no argument, got "x"/],
    ['redis stpo', /takes one of cli, stop, or nothing, got "stpo": did you mean stop\?/],
    ['redis cli x', /got "x"/],
    ['jobs -- x', /swarm jobs takes nothing after --/],
    ['stop', /swarm stop takes <target>, got nothing/],
    ['scale web1', /swarm scale takes <master> <n>, got "web1"/],
    ['roll web1 web2', /swarm roll takes \[master\], got "web1" "web2"/],
    ['recycle --count 4 1', /--count is not an option of swarm recycle/],
  ];
  for (const [text, message] of refused) {
    it(`refuses: swarm ${text}`, () => assert.throws(() => parse(text), message));
  }
});

describe('what a command has to say', () => {
  it('and cannot: a line, and exit 74', { skip: !existsSync('/dev/full') && 'there is no /dev/full' }, () => {
    const full = openSync('/dev/full', 'w');
    try {
      for (const args of [
        ['--help'],
        ['--version'],
        ['config', '--json'],
        ['init', 'docker'],
        ['completion'],
      ]) {
        const options = { cwd, env: { PATH: process.env['PATH'] }, timeout: DEADLINE_MS };
        const { status, stderr } = spawnSync(process.execPath, [BIN, ...args], {
          ...options,
          stdio: ['ignore', full, 'pipe'],
          encoding: 'utf8',
        });
        assert.equal(status, 74, args.join(' '));
        assert.match(stderr, /^swarm: SWARM_UNWRITTEN: stdout cannot be written \(ENOSPC.*\n$/);
      }
    } finally {
      closeSync(full);
    }
  });

  it('and nobody reads: no word, and the exit code of those that SIGPIPE ends', async () => {
    const child = spawn(process.execPath, [BIN, 'config'], {
      cwd,
      env: { PATH: process.env['PATH'] },
      timeout: DEADLINE_MS,
    });
    child.stdout.destroy();
    let said = '';
    child.stderr.on('data', (text) => {
      said += text;
    });
    const [code] = await once(child, 'close');
    assert.deepEqual([code, said], [141, '']);
  });

  it('is cut to a terminal, and to nothing else', () => {
    const width = (columns: string | undefined, isTTY: boolean, isWide?: boolean): number => {
      const stdout = Object.getOwnPropertyDescriptor(process.stdout, 'isTTY');
      const before = process.env['COLUMNS'];
      Object.defineProperty(process.stdout, 'isTTY', { value: isTTY, configurable: true });
      if (columns === undefined) delete process.env['COLUMNS'];
      else process.env['COLUMNS'] = columns;
      try {
        return terminalScreen(isWide).width;
      } finally {
        if (stdout) Object.defineProperty(process.stdout, 'isTTY', stdout);
        else Reflect.deleteProperty(process.stdout, 'isTTY');
        if (before === undefined) delete process.env['COLUMNS'];
        else process.env['COLUMNS'] = before;
      }
    };
    assert.ok(width(undefined, false) > 10_000);
    assert.ok(width('100', true, true) > 10_000);
    assert.equal(width('100', false), 100);
    if (!process.stdout.columns) assert.deepEqual([width('100', true), width(undefined, true)], [100, 80]);
  });
});
