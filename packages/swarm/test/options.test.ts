import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { COMMAND_NAMES } from '../dist/command-table.js';
import { helpText } from '../dist/help.js';
import { type OptionSources, type RawFlags, resolveOption } from '../dist/option-sources.js';
import { fileKeys, OPTION_NAMES, optionRow, optionRows, parseOption } from '../dist/options.js';
import { nearest } from '../dist/suggest.js';

const NOTHING: OptionSources = { flags: {}, env: {}, file: null };
const FILE = 'swarm.config.json';

function code(error: unknown): unknown {
  return (error as { code?: unknown }).code;
}

describe('the table of options', () => {
  it('gives each option a variable of its flag’s name, and nobody the same one', () => {
    for (const row of OPTION_NAMES.map(optionRow)) {
      const own = `SWARM_${row.negated ? 'NO_' : ''}${row.flag.toUpperCase().replaceAll('-', '_')}`;
      assert.ok(row.env.includes(own), `${own} of --${row.flag}`);
    }
    const names = OPTION_NAMES.flatMap((name) => [...optionRow(name).env]);
    assert.equal(new Set(names).size, names.length);
    const flags = OPTION_NAMES.flatMap((name) => [optionRow(name).flag, optionRow(name).alias ?? name]);
    assert.deepEqual(
      flags.filter((flag) => flag === 'help' || flag === 'h' || flag === 'version' || flag === 'v'),
      [],
    );
  });

  it('has defaults that are values of their option', () => {
    for (const name of OPTION_NAMES) assert.doesNotThrow(() => resolveOption(name, NOTHING), name);
    assert.equal(resolveOption('timeout', NOTHING).value, 25_000);
    assert.equal(resolveOption('bootTimeout', NOTHING).value, 60_000);
    assert.equal(resolveOption('watchdog', NOTHING).value, true);
    assert.equal(resolveOption('prefix', NOTHING).value, 'bull');
  });

  it('names flags in the documentation as they are typed', () => {
    const flags = optionRows().map((row) => row.flag);
    for (const flag of ['--count N', '-c, --concurrency N', '--no-watchdog', '-q, --queue NAME[,WEIGHT]']) {
      assert.ok(flags.includes(flag), flag);
    }
  });

  it('knows an option in a file by its name and by its flag', () => {
    assert.deepEqual(fileKeys('queues'), ['queues', 'queue']);
    assert.deepEqual(fileKeys('watchdog'), ['watchdog', 'noWatchdog']);
    assert.deepEqual(fileKeys('bootTimeout'), ['bootTimeout']);
    assert.deepEqual(fileKeys('config'), []);
  });

  it('fits 80 columns in every help text', () => {
    for (const command of [null, ...COMMAND_NAMES]) {
      const wide = helpText(command)
        .split('\n')
        .filter((line) => line.length > 80);
      assert.deepEqual(wide, []);
      assert.match(helpText(command), /\nExamples\n/);
    }
  });
});

describe('precedence', () => {
  const sources: [string, Partial<OptionSources>][] = [
    ['flag', { flags: { count: '1' } }],
    ['env SWARM_COUNT', { env: { SWARM_COUNT: '2' } }],
    ['env COUNT', { env: { COUNT: '3' } }],
    ['env NUM_WORKERS', { env: { NUM_WORKERS: '4' } }],
    [`file ${FILE}`, { file: { options: { count: 5 }, shown: FILE } }],
  ];

  it('is flag, variables in their order, file, default, whatever else is set', () => {
    fc.assert(
      fc.property(fc.subarray(sources), (given) => {
        const env: NodeJS.ProcessEnv = Object.assign({}, ...given.map(([, part]) => part.env ?? {}));
        const merged: OptionSources = Object.assign({}, NOTHING, ...given.map(([, part]) => part), { env });
        const first = given[0];
        const { value, origin } = resolveOption('count', merged);
        assert.equal(origin, first?.[0] ?? 'default');
        assert.equal(value, first ? sources.indexOf(first) + 1 : null);
      }),
    );
  });

  it('does not read what is overridden, and takes an empty variable for none', () => {
    const env = { SWARM_COUNT: '', COUNT: '3', NUM_WORKERS: 'four' };
    assert.deepEqual(resolveOption('count', { ...NOTHING, env }), { value: 3, origin: 'env COUNT' });
  });
});

describe('values', () => {
  const bad = (name: Parameters<typeof resolveOption>[0], sources: Partial<OptionSources>, message: RegExp) =>
    assert.throws(() => resolveOption(name, { ...NOTHING, ...sources }), message);

  it('are refused with who gave them, the bound and what was got', () => {
    assert.throws(
      () => parseOption('count', 'four', '--count'),
      (error) =>
        code(error) === 'SWARM_BAD_COUNT' &&
        (error as Error).message === '--count takes a whole number from 1 to 512, got "four"',
    );
    bad('count', { flags: { count: '0' } }, /^SwarmError: --count takes .* got "0"$/);
    bad('count', { flags: { count: '513' } }, /got "513"$/);
    bad('count', { env: { NUM_WORKERS: '1.5' } }, /^SwarmError: NUM_WORKERS takes .* got "1.5"$/);
    bad(
      'count',
      { file: { options: { count: -1 }, shown: FILE } },
      /: count in swarm.config.json takes .* got "-1"$/,
    );
    bad('timeout', { flags: { timeout: '25' } }, /such as 250ms, 25s, 2m or 1h, got "25"$/);
    bad('timeout', { flags: { timeout: '25h' } }, /from 0s to 24h/);
    bad('bootTimeout', { flags: { bootTimeout: '0s' } }, /--boot-timeout takes a duration from 1ms/);
    bad('strict', { env: { SWARM_STRICT: 'maybe' } }, /SWARM_STRICT takes true or false, got "maybe"/);
    bad('logLevel', { flags: { logLevel: 'loud' } }, /takes debug, info, warn or error/);
    bad('nodeArgs', { flags: { nodeArgs: ['worker.js'] } }, /--node-arg takes an option of node/);
  });

  it('of Redis never appear in a message', () => {
    for (const text of ['http://u:hunter2@h', 'hunter2@h:1', 'u:hunter2@[', 'redis://hunter2@h']) {
      assert.throws(
        () => resolveOption('redis', { ...NOTHING, env: { REDIS_URL: text } }),
        (error) => (error as Error).message.includes('REDIS_URL') && !String(error).includes('hunter2'),
        text,
      );
    }
    for (const text of ['embedded', 'redis://:pw@h', 'rediss://h:1/2', 'unix:///run/redis.sock']) {
      assert.equal(resolveOption('redis', { ...NOTHING, flags: { redis: text } }).value, text);
    }
  });

  it('of queues have an optional weight', () => {
    const queues = (given: RawFlags['queues'] & object) =>
      resolveOption('queues', { ...NOTHING, flags: { queues: given } }).value;
    assert.deepEqual(queues(['a,4', 'b']), [
      { name: 'a', weight: 4 },
      { name: 'b', weight: null },
    ]);
    assert.deepEqual(resolveOption('queues', { ...NOTHING, env: { SWARM_QUEUES: ' a,4  b,1 ' } }), {
      value: [
        { name: 'a', weight: 4 },
        { name: 'b', weight: 1 },
      ],
      origin: 'env SWARM_QUEUES',
    });
    for (const text of ['', 'a:b', 'a,0', 'a,x', 'a,1001', ',3', 'a,1,2', 'a b']) {
      assert.throws(() => queues([text]), /--queue takes NAME/, text);
    }
    assert.throws(() => queues(['a,4', 'b', 'a']), /takes each queue once, got "a" twice/);
  });

  it('of the negated variable mean the opposite', () => {
    const watchdog = (env: NodeJS.ProcessEnv) => resolveOption('watchdog', { ...NOTHING, env }).value;
    assert.equal(watchdog({ SWARM_NO_WATCHDOG: '1' }), false);
    assert.equal(watchdog({ SWARM_NO_WATCHDOG: 'false' }), true);
    assert.equal(watchdog({ SWARM_WATCHDOG: 'off' }), false);
  });
});

describe('suggestions', () => {
  it('find the neighbour and leave strangers alone', () => {
    const words = ['count', 'concurrency', 'config', 'queue', 'redis'];
    assert.equal(nearest('cuont', words), 'count');
    assert.equal(nearest('coutn', words), 'count');
    assert.equal(nearest('conc', words), 'concurrency');
    assert.equal(nearest('ps', words), null);
    assert.equal(nearest('worker', words), null);
  });

  it('find every word with one character lost', () => {
    const words = OPTION_NAMES.filter((name) => name.length > 4);
    fc.assert(
      fc.property(fc.constantFrom(...words), fc.nat(), (word, at) => {
        const index = at % word.length;
        assert.equal(nearest(word.slice(0, index) + word.slice(index + 1), words), word);
      }),
    );
  });
});
