import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { escapeControls } from '../dist/controls.js';
import {
  createLogger,
  formatJson,
  formatPretty,
  type LogEntry,
  type LogFields,
  type LoggerOptions,
} from '../dist/log.js';
import type { Dropped } from '../dist/output-sink.js';
import { maskSecrets } from '../dist/secrets.js';

class FakeSink {
  readonly lines: string[] = [];
  dropped: Dropped | null = null;
  constructor(readonly isTty = false) {}
  write(line: string): boolean {
    this.lines.push(line);
    return true;
  }
  takeDropped(): Dropped | null {
    const { dropped } = this;
    this.dropped = null;
    return dropped;
  }
}

function entry(message: string, fields: LogFields = {}): LogEntry {
  return { time: new Date(2030, 0, 2, 12, 0, 1, 23), level: 'warn', message, fields };
}

/** Sets NO_COLOR, or removes it, while `run` runs. */
function withNoColor(value: string | undefined, run: () => void): void {
  const before = process.env.NO_COLOR;
  const set = (next: string | undefined): void => {
    if (next === undefined) delete process.env.NO_COLOR;
    else process.env.NO_COLOR = next;
  };
  set(value);
  try {
    run();
  } finally {
    set(before);
  }
}

test('a pretty line has the shape that operators grep for', () => {
  const fields = {
    cause: 'oom-kill',
    pid: 4711,
    rss: '612MB',
    generation: 1,
    jobs: 1,
    slot: 2,
    gone: undefined,
  };
  const line = '12:00:01.023 WARN slot=2 generation=1 pid=4711 exited cause=oom-kill rss=612MB jobs=1';
  assert.equal(formatPretty(entry('exited', fields), false), line);
});

test('a pretty value is quoted where it could be misread', () => {
  const fields = {
    plain: '/a/b.js:1',
    space: 'a b',
    quote: 'say "hi"',
    equals: 'a=b',
    empty: '',
    line: 'a\nb',
    nil: null,
    ok: true,
  };
  assert.equal(
    formatPretty(entry('m', fields), false),
    '12:00:01.023 WARN m plain=/a/b.js:1 space="a b" quote="say \\"hi\\"" equals="a=b" empty="" line="a\\nb" nil=null ok=true',
  );
});

test('a stack is printed below its pretty line, and inside its json line', () => {
  const failed = entry('boot failed', { slot: 0, stack: 'Error: no\n    at f (a.js:1:2)\u001b[2J' });
  assert.equal(
    formatPretty(failed, false),
    '12:00:01.023 WARN slot=0 boot failed\n    Error: no\n        at f (a.js:1:2)\\x1b[2J',
  );
  assert.equal(JSON.parse(formatJson(failed)).stack, failed.fields.stack);
  assert.ok(!formatJson(failed).includes('\n'));
});

test('a json line has time, level, message, then the fields; a field cannot replace these', () => {
  const line = JSON.parse(
    formatJson(entry('exited', { slot: 2, level: 'fake', gone: undefined, code: null })),
  );
  const time = new Date(2030, 0, 2, 12, 0, 1, 23).toISOString();
  assert.deepEqual(
    Object.entries(line),
    Object.entries({ time, level: 'warn', message: 'exited', slot: 2, code: null }),
  );
});

test('nothing logged can forge a line or drive a terminal', () => {
  const hostile = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('\r\n', '\u009b2J', '\u001b]0;x\u0007', '\u2028'),
  );
  fc.assert(
    fc.property(hostile, fc.dictionary(fc.constantFrom('slot', 'a', 'b'), hostile), (message, fields) => {
      for (const line of [formatPretty(entry(message, fields), false), formatJson(entry(message, fields))]) {
        assert.match(line, /^(\P{Cc}|\t)*$/u);
      }
      assert.equal(JSON.parse(formatJson(entry(message))).message, maskSecrets(message));
    }),
  );
});

test('the password of any URL is masked, be it encoded or not', () => {
  const word = fc.stringMatching(/^[a-z0-9.%_-]{1,12}$/);
  // What nobody could tell from a port and a path, and from a second URL, is left out.
  const password = fc
    .stringMatching(/^[!-~é]{1,30}$/)
    .map((raw) => `SECRET${raw.replaceAll('://', '')}SECRET`);
  const url = fc.record({
    scheme: fc.constantFrom('redis', 'rediss', 'redis+sentinel', 'unix', 'HTTPS', 'postgres'),
    user: fc.oneof(fc.constant(''), word, fc.constant('me@example.org')),
    password,
    host: fc.oneof(word, fc.constant('[::1]'), fc.constant('h1:6379,h2:6379')),
    tail: fc.constantFrom('', ':6379', ':6379/0', '/0?family=6', '?password=SECRET2', '/#x'),
    before: fc.constantFrom('', 'connect ', '{"url":"', 'redis://:SECRET@a,'),
    after: fc.constantFrom('', ' refused', '"}', ', redis://:SECRET@b/1', '\nredis://u:SECRET@c'),
  });
  fc.assert(
    fc.property(url, (p) => {
      const text = `${p.before}${p.scheme}://${p.user}:${p.password}@${p.host}${p.tail}${p.after}`;
      for (const line of [
        maskSecrets(text),
        formatPretty(entry(text, { url: text, stack: text }), false),
        formatJson(entry(text, { url: text, stack: text })),
      ]) {
        assert.ok(!line.includes('SECRET'), line);
      }
      assert.ok(maskSecrets(text).includes(`${p.scheme}://${p.user}:***@${p.host}`), maskSecrets(text));
    }),
  );
});

test('a URL without a password is printed as it is', () => {
  for (const text of [
    'redis://localhost:6379/0',
    'redis://user:password@host, as messages say it',
    'https://host/search?page=2&keys=x',
    'a setting of 3 = three',
    'https://registry.example:443/@scope/name@1.2.3',
    'file:///app/node_modules/.store/a@1.2.3/index.js:10:5',
    'unix:///run/redis.sock',
    'no url: me@example.org:secret@x',
    'http://[::1]:6379/path',
  ]) {
    assert.equal(maskSecrets(text), text);
  }
});

test('what stands where a password does is masked, whatever it is called', () => {
  for (const [text, shown] of [
    ['redis://SECRET@host:6379/0', 'redis://***@host:6379/0'],
    ['https://host/x?api_key=SECRET&page=2', 'https://host/x?api_key=***&page=2'],
    ['https://host/x?sig=SECRET', 'https://host/x?sig=***'],
    ['https://host/x?access_token=SECRET#x', 'https://host/x?access_token=***#x'],
    ['psql host=db password=SECRET user=me', 'psql host=db password=*** user=me'],
    ['DB_PASSWORD=SECRET node app.js', 'DB_PASSWORD=*** node app.js'],
    ['stripe.api-key = SECRET, and more', 'stripe.api-key = ***, and more'],
  ] as const)
    assert.equal(maskSecrets(text), shown);
});

test('masking takes linear time', () => {
  const startedMs = performance.now();
  for (const piece of [
    '://a:',
    '://',
    'a://b:c',
    '://:x@',
    '?a',
    '?password',
    'a',
    '=a',
    'a.',
    'token=',
    'pw_',
  ]) {
    maskSecrets(`://${piece.repeat(400_000 / piece.length)}`);
  }
  assert.ok(performance.now() - startedMs < 5_000, `took ${performance.now() - startedMs} ms`);
});

test('levels below the chosen one are silent, child output is not', () => {
  const sink = new FakeSink();
  const logger = createLogger({ format: 'pretty', level: 'warn', sink });
  for (const level of ['debug', 'info', 'warn', 'error'] as const) logger[level](`a ${level}`, { slot: 1 });
  logger.childOutput({ slot: 1, pid: 7, stream: 'stdout', text: 'hello' });
  assert.deepEqual(
    sink.lines.map((line) => line.replace(/^[\d:.]{12} /, '')),
    ['WARN slot=1 a warn\n', 'ERROR slot=1 a error\n', 'slot=1 | hello\n'],
  );
});

test('a burst of any size is written at once, in order', () => {
  const sink = new FakeSink();
  const logger = createLogger({ format: 'json', level: 'info', sink });
  for (let index = 0; index < 1_000; index += 1) {
    if (index % 2 === 0) logger.info('tick', { index });
    else logger.childOutput({ slot: 1, pid: 7, stream: 'stderr', text: String(index) });
  }
  const seen = sink.lines.map((line) => JSON.parse(line)).map((line) => line.index ?? Number(line.message));
  assert.deepEqual(seen, [...Array(1_000).keys()]);
});

test('child output is wrapped in json', () => {
  const sink = new FakeSink();
  const logger = createLogger({ format: 'json', level: 'info', sink });
  const text = '\u001b[31m{"a":1}\u001b[0m \u009b2J \u0000 €';
  logger.childOutput({ slot: 3, pid: 7, stream: 'stderr', text });
  const line = sink.lines[0] ?? '';
  assert.match(line, /^\P{Cc}*\n$/u);
  const { time, ...rest } = JSON.parse(line);
  assert.ok(Math.abs(Date.parse(time) - Date.now()) < 10_000);
  assert.deepEqual(rest, { stream: 'stderr', slot: 3, pid: 7, message: text });
});

test("a child's colours reach a terminal and end with its line; its cursor movements do not", () => {
  const lineOf = (isTty: boolean): string => {
    const sink = new FakeSink(isTty);
    const logger = createLogger({ format: 'pretty', level: 'info', sink });
    logger.childOutput({ slot: 3, pid: 7, stream: 'stdout', text: '\ta \u001b[1;31mred\u001b[2J' });
    return sink.lines[0] ?? '';
  };
  assert.equal(lineOf(true), 'slot=3 | \ta \u001b[1;31mred\\x1b[2J\u001b[0m\n');
  assert.equal(lineOf(false), 'slot=3 | \ta red\\x1b[2J\n');
  assert.equal(escapeControls('a\nb\u001b[31m'), 'a\\nb\\x1b[31m');
});

test('levels are coloured on a terminal only, and never against NO_COLOR', () => {
  const isColored = (options: Omit<LoggerOptions, 'sink' | 'level'>, sink: FakeSink): boolean => {
    createLogger({ ...options, level: 'info', sink }).warn('m');
    return sink.lines.join('').includes('\u001b[33mWARN\u001b[0m m');
  };
  withNoColor(undefined, () => {
    assert.equal(isColored({ format: 'pretty' }, new FakeSink(true)), true);
    assert.equal(isColored({ format: 'pretty' }, new FakeSink(false)), false);
    assert.equal(isColored({ format: 'json' }, new FakeSink(true)), false);
  });
  withNoColor('', () => assert.equal(isColored({ format: 'pretty' }, new FakeSink(true)), true));
  withNoColor('1', () => assert.equal(isColored({ format: 'pretty' }, new FakeSink(true)), false));
});

test('a gap in the output is reported where it was', () => {
  const sink = new FakeSink();
  const logger = createLogger({ format: 'json', level: 'error', sink });
  logger.error('before');
  sink.dropped = { lines: 12, bytes: 3_400 };
  logger.childOutput({ slot: 1, pid: 7, stream: 'stdout', text: 'after' });
  const lines = sink.lines.map((line) => JSON.parse(line));
  assert.deepEqual(
    lines.map((line) => [line.message.split(':')[0], line.lines, line.bytes]),
    [
      ['before', undefined, undefined],
      ['output dropped', 12, 3_400],
      ['after', undefined, undefined],
    ],
  );
});
