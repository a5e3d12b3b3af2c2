import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { findConfigFile, loadConfigFile } from '../dist/config-file.js';

const ENV = { PATH: process.env.PATH };
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'swarm-config-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function write(name: string, text: string): void {
  writeFileSync(join(directory, name), text);
}

function load(name: string, text: string) {
  write(name, text);
  return loadConfigFile(null, directory, ENV);
}

async function refused(name: string, text: string, code: string, message: RegExp | string): Promise<Error> {
  let caught: unknown;
  await load(name, text).catch((error: unknown) => {
    caught = error;
  });
  assert.ok(caught instanceof Error, `${name} was not refused`);
  assert.equal((caught as Error & { code?: string }).code, code, caught.message);
  assert.equal((caught as Error & { exitCode?: number }).exitCode, 64);
  if (typeof message === 'string') assert.equal(caught.message, message);
  else assert.match(caught.message, message);
  return caught;
}

describe('finding the file', () => {
  it('takes the first of the documented names', async () => {
    assert.equal(findConfigFile(directory), null);
    assert.equal(await loadConfigFile(null, directory, ENV), null);
    write('swarm.config.json', '{}');
    write('swarm.config.mjs', 'export default {}');
    assert.equal(findConfigFile(directory), join(directory, 'swarm.config.mjs'));
  });

  it('names who named a file that is not there', async () => {
    await assert.rejects(
      loadConfigFile({ path: 'x.mjs', source: '--config' }, directory, ENV),
      /--config names x.mjs, where there is no file/,
    );
  });
});

describe('forms of the file', () => {
  const forms: [string, string][] = [
    ['swarm.config.json', '{"count": 3}'],
    ['swarm.config.mjs', 'export default { count: 3 }'],
    ['swarm.config.cjs', 'module.exports = { count: 3 }'],
    [
      'swarm.config.cjs',
      'Object.defineProperty(exports, "__esModule", { value: true }); exports.default = { count: 3 }',
    ],
    ['swarm.config.js', 'module.exports = () => ({ count: 3 })'],
    ['swarm.config.mjs', 'export default Promise.resolve({ count: 3 })'],
    ['swarm.config.mjs', 'export default async () => ({ count: 3, tag: undefined })'],
  ];
  for (const [name, text] of forms) {
    it(`${name}: ${text}`, async () => {
      const file = await load(name, text);
      assert.deepEqual(file?.options, { count: 3 });
      assert.equal(file?.shown, name);
      assert.equal(file?.groups, null);
    });
  }

  it('TypeScript, by node itself or by the app’s own tsx, else a cure', async () => {
    const text = 'type Count = number; const count: Count = 3; export default { count };';
    const native = (process.features as { typescript?: unknown }).typescript;
    if (!native)
      await refused(
        'swarm.config.mts',
        text,
        'SWARM_CONFIG_TYPESCRIPT',
        /npm install -D tsx.*swarm\.config\.mjs/,
      );
    const modules = dirname(dirname(createRequire(import.meta.url).resolve('tsx/package.json')));
    symlinkSync(modules, join(directory, 'node_modules'));
    assert.deepEqual((await load('swarm.config.mts', text))?.options, { count: 3 });
    rmSync(join(directory, 'swarm.config.mts'));
    assert.deepEqual((await load('swarm.config.ts', text))?.options, { count: 3 });
  });

  it('reads groups, and their variables as texts', async () => {
    const file = await load(
      'swarm.config.json',
      '{"app": "a.js", "groups": {"mail": {"count": 2, "queues": ["a,4"], "env": {"A": 1, "B": true, "C": "x"}}}}',
    );
    assert.equal(file?.app, 'a.js');
    assert.deepEqual(file?.groups, {
      mail: { options: { count: 2, queues: ['a,4'] }, env: { A: '1', B: 'true', C: 'x' } },
    });
  });

  it('turns noWatchdog around', async () => {
    assert.deepEqual((await load('swarm.config.json', '{"noWatchdog": true}'))?.options, { watchdog: false });
  });
});

describe('a file that is no configuration', () => {
  it('throws: its message and line, the stack as cause', async () => {
    const error = await refused(
      'swarm.config.mjs',
      '\nthrow new Error("no DATABASE_URL");',
      'SWARM_CONFIG_FAILED',
      'swarm.config.mjs:2: no DATABASE_URL',
    );
    assert.match((error.cause as Error).stack ?? '', /at file:.*swarm\.config\.mjs:2/);
  });

  it('rejects, exits, hangs on nothing, is malformed', async () => {
    const failed = (name: string, text: string, message: RegExp) =>
      refused(name, text, 'SWARM_CONFIG_FAILED', message);
    await failed('swarm.config.mjs', 'export default () => Promise.reject("no")', /^swarm.config.mjs: no$/);
    await failed('swarm.config.mjs', 'process.exit(3)', /ended its process \(exit code 3\) before/);
    await failed('swarm.config.mjs', 'await new Promise(() => {})', /ended its process \(exit code 13\)/);
    await failed(
      'swarm.config.mjs',
      'export default {',
      /^swarm.config.mjs: .* \(node --check swarm.config.mjs shows where\)$/,
    );
    rmSync(join(directory, 'swarm.config.mjs'));
    await failed('swarm.config.json', '{"count": ', /^swarm.config.json: .*JSON/);
  });

  it('is not quoted where it may hold a password', async () => {
    const secret = 's3cret';
    for (const [name, text] of [
      ['swarm.config.json', `{"redis": ${secret}}`],
      ['swarm.config.json', `{"redis": "redis://:x@h", ${secret}`],
      ['swarm.config.json', `"redis://:${secret}@h"`],
      ['swarm.config.json', `{"groups": [{"env": {"PASSWORD": "${secret}"}}]}`],
      ['swarm.config.json', `{"groups": {"mail": {"env": {"PASSWORD": ["${secret}"]}}}}`],
      ['swarm.config.json', `{"redis://${secret}@h": 1}`],
      ['swarm.config.mjs', `throw new Error("no database at postgres://${secret}@h/x")`],
      ['swarm.config.mjs', `throw new Error("GET https://h/x?api_key=${secret}: 401")`],
      ['swarm.config.mjs', `export default "redis://:${secret}@h"`],
    ] as const) {
      rmSync(join(directory, name === 'swarm.config.json' ? 'swarm.config.mjs' : 'swarm.config.json'), {
        force: true,
      });
      const error = await load(name, text).then(
        () => assert.fail(text),
        (reason: Error) => reason,
      );
      assert.match(error.message, /^swarm\.config\./);
      assert.doesNotMatch(error.message, /s3cret/, text);
    }
  });

  it('exports something else', async () => {
    const bad = (text: string, message: RegExp) =>
      refused('swarm.config.mjs', text, 'SWARM_BAD_CONFIG', message);
    await bad('export const count = 3', /has as its default export nothing, and it takes an object/);
    await bad('export default [1]', /has as its default export an array/);
    await bad('export default () => 3', /has as its default export 3/);
  });

  it('has keys that do not exist, with a suggestion', async () => {
    const bad = (text: string, message: string) =>
      refused('swarm.config.json', text, 'SWARM_BAD_CONFIG', message);
    await bad('{"cuont": 3}', 'swarm.config.json has an unknown key "cuont": did you mean count?');
    await bad('{"zzz": 3}', 'swarm.config.json has an unknown key "zzz"');
    await bad('{"config": "x"}', 'swarm.config.json has an unknown key "config"');
    await bad(
      '{"groups": {"mail": {"queue": "a", "concurency": 3}}}',
      'swarm.config.json has an unknown key "concurency" in groups.mail: did you mean concurrency?',
    );
    await bad(
      '{"groups": {"mail": {"strict": true}}}',
      'swarm.config.json has an unknown key "strict" in groups.mail',
    );
    await bad('{"queues": "a", "queue": "b"}', 'swarm.config.json has both queues and queue: keep one');
  });

  it('has values of the wrong type', async () => {
    const bad = (text: string, code: string, message: RegExp | string) =>
      refused('swarm.config.json', text, code, message);
    await bad(
      '{"count": [1]}',
      'SWARM_BAD_COUNT',
      'count in swarm.config.json takes a whole number from 1 to 512, got [1]',
    );
    await bad(
      '{"redis": ["redis://:hunter2@h"]}',
      'SWARM_BAD_REDIS',
      /^redis in .* got a value of type object$/,
    );
    await bad(
      '{"groups": {"mail": {"count": {}}}}',
      'SWARM_BAD_COUNT',
      'groups.mail.count in swarm.config.json takes a whole number from 1 to 512, got {}',
    );
    await bad(
      '{"app": 3}',
      'SWARM_BAD_CONFIG',
      /has a value of app that it cannot use: it takes the path of a file, got 3/,
    );
    await bad('{"groups": 3}', 'SWARM_BAD_CONFIG', /it takes an object of groups by name, got 3/);
    await bad('{"groups": {}}', 'SWARM_BAD_CONFIG', /groups without a group/);
    await bad('{"groups": {"mail": 3}}', 'SWARM_BAD_CONFIG', /groups.mail .* an object, got 3/);
    await bad('{"groups": {"a b": {}}}', 'SWARM_BAD_CONFIG', /has a group "a b": names are/);
    await bad(
      '{"groups": {"mail": {"env": {"A": []}}}}',
      'SWARM_BAD_CONFIG',
      /groups.mail.env.A .* a text, got an array/,
    );
  });
});
