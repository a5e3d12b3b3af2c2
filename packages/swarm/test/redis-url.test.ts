import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { SwarmError } from '../dist/errors.js';
import { addressOf, parseRedisUrl, redactUrl, redisIdOf } from '../dist/redis/url.js';

const host = fc.constantFrom(
  'localhost',
  'redis',
  'db-1.example.com',
  '10.0.0.7',
  'my_redis',
  'räksmörgås.se',
);
const port = fc.integer({ min: 1, max: 65535 });
/** No plain control characters: an environment cannot hold a NUL, and percent-escapes carry the rest. */
const secret = fc.string({ unit: 'binary', minLength: 8, maxLength: 20 });

function parseError(text: string): SwarmError {
  try {
    parseRedisUrl(text, '--redis');
  } catch (error) {
    assert.ok(error instanceof SwarmError, `${text} throws ${String(error)}`);
    return error;
  }
  assert.fail(`${text} is accepted`);
}

describe('parseRedisUrl', () => {
  it('reads every form', () => {
    const base = { username: null, password: null };
    const single = { kind: 'single', ...base, tls: false, db: 0, family: 0 };
    const cases: [string, object][] = [
      ['redis://localhost', { ...single, host: 'localhost', port: 6379, shown: 'redis://localhost' }],
      [
        ' redis://localhost:7000/3\n',
        { ...single, host: 'localhost', port: 7000, db: 3, shown: 'redis://localhost:7000/3' },
      ],
      ['REDISS://h:1/', { ...single, host: 'h', port: 1, tls: true, shown: 'rediss://h:1/' }],
      ['redis://[::1]:7000', { ...single, host: '::1', port: 7000, shown: 'redis://[::1]:7000' }],
      [
        'redis://h?db=2&family=6',
        { ...single, host: 'h', port: 6379, db: 2, family: 6, shown: 'redis://h?db=2&family=6' },
      ],
      ['redis://:@h', { ...single, host: 'h', port: 6379, shown: 'redis://***@h' }],
      [
        'redis://u:p%40s@h',
        { ...single, host: 'h', port: 6379, username: 'u', password: 'p@s', shown: 'redis://***@h' },
      ],
      [
        'redis://:a#b/c?d@e@h',
        { ...single, host: 'h', port: 6379, password: 'a#b/c?d@e', shown: 'redis://***@h' },
      ],
      [
        'unix:///run/r.sock?db=4',
        { kind: 'unix', ...base, path: '/run/r.sock', db: 4, shown: 'unix:///run/r.sock?db=4' },
      ],
      [
        'redis+cluster://:pw@a:7000,b',
        {
          kind: 'cluster',
          username: null,
          password: 'pw',
          nodes: [
            { host: 'a', port: 7000 },
            { host: 'b', port: 6379 },
          ],
          tls: false,
          shown: 'redis+cluster://***@a:7000,b',
        },
      ],
      [
        'redis+sentinel://u:pw@a,b:26380/mymaster/2?sentinelPassword=other',
        {
          kind: 'sentinel',
          username: 'u',
          password: 'pw',
          sentinels: [
            { host: 'a', port: 26379 },
            { host: 'b', port: 26380 },
          ],
          masterName: 'mymaster',
          tls: false,
          db: 2,
          sentinelUsername: null,
          sentinelPassword: 'other',
          shown: 'redis+sentinel://***@a,b:26380/mymaster/2?sentinelPassword=***',
        },
      ],
    ];
    for (const [text, expected] of cases) assert.deepEqual(parseRedisUrl(text, '--redis'), expected, text);
  });

  it('gives back what a URL was made of', () => {
    fc.assert(
      fc.property(
        host,
        port,
        fc.option(secret),
        secret,
        fc.nat(20),
        (name, number, username, password, db) => {
          const user = username === null ? '' : encodeURIComponent(username);
          const url = `redis://${user}:${encodeURIComponent(password)}@${name}:${number}/${db}`;
          const target = parseRedisUrl(url, '--redis');
          assert.ok(target.kind === 'single');
          assert.deepEqual(
            [target.host, target.port, target.db, target.username, target.password],
            [name, number, db, username, password],
          );
        },
      ),
    );
  });

  it('says where a bad one came from and what is accepted', () => {
    const bad = [
      '',
      'localhost:6379',
      'http://h',
      'redis://',
      'redis://h:0',
      'redis://h:99999',
      'redis://h/x',
      'redis://h#x',
    ];
    bad.push(
      'redis://a,b',
      'redis://user@h',
      'redis+sentinel://h',
      'redis+cluster://h/1',
      'unix://h/x',
      'redis://h\nx',
      'redis://%ff:%ff@h',
    );
    for (const text of bad) {
      const error = parseError(text);
      assert.equal(error.code, 'SWARM_BAD_REDIS_URL', text);
      assert.equal(error.exitCode, 64);
      assert.match(
        error.message,
        /^--redis takes redis:\/\/.*rediss:.*redis\+sentinel:.*redis\+cluster:.*unix:/,
      );
    }
    assert.match(parseError('localhost:6379').message, /got "localhost:6379"/);
  });

  it('throws nothing but SwarmError, whatever the text', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc
        .tuple(
          fc.constantFrom('redis', 'rediss', 'redis+sentinel', 'redis+cluster', 'unix', 'x'),
          fc.string(),
        )
        .map(([scheme, rest]) => `${scheme}://${rest}`),
    );
    fc.assert(
      fc.property(text, (any) => {
        try {
          parseRedisUrl(any, '--redis');
        } catch (error) {
          assert.ok(error instanceof SwarmError, String(error));
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('redactUrl', () => {
  it('never shows a password, well-formed or not', () => {
    const form = fc.constantFrom(
      (pw: string) => `redis://:${pw}@host:6379/0`,
      (pw: string) => `rediss://user:${pw}@host`,
      (pw: string) => `redis://${pw}@host`,
      (pw: string) => `redis://:${pw}`,
      (pw: string) => `redis://:${pw}@`,
      (pw: string) => `redis://host:${pw}`,
      (pw: string) => `:${pw}@host`,
      (pw: string) => `user:${pw}`,
      (pw: string) => `http://:${pw}@host/`,
      (pw: string) => `redis+sentinel://:${pw}@a,b/name`,
      (pw: string) => `redis+sentinel://a/name?sentinelPassword=${pw}`,
      (pw: string) => `redis+cluster://u:${pw}@a:1,b:2`,
    );
    // Marked, so that finding it in the message cannot be chance.
    const password = fc.string({ unit: 'grapheme-ascii', maxLength: 10 }).map((text) => `xSECRETx${text}`);
    fc.assert(
      fc.property(form, password, (make, pw) => {
        const url = make(pw);
        assert.doesNotMatch(redactUrl(url), /SECRET/, url);
        try {
          parseRedisUrl(url, '--redis');
        } catch (error) {
          assert.doesNotMatch((error as Error).message, /SECRET/, url);
        }
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('redisIdOf', () => {
  const idOf = (url: string, hostname = 'web-1') =>
    redisIdOf(addressOf(parseRedisUrl(url, '--redis')), hostname);

  it('is short, and the same for the same place', () => {
    assert.match(idOf('redis://h'), /^[0-9a-f]{16}$/);
    assert.equal(idOf('redis://h'), idOf('redis://:pw@H:6379/0'));
    assert.equal(idOf('redis://h'), redisIdOf({ host: 'h', port: 6379 }));
    assert.equal(idOf('redis+cluster://a:1,b:2'), idOf('redis+cluster://b:2,a:1'));
    assert.equal(idOf('redis://localhost'), redisIdOf({}, 'web-1'));
    assert.equal(idOf('redis://127.0.0.1'), idOf('redis://localhost:6379'));
  });

  it('differs by host, port, database and master group', () => {
    const urls = [
      'redis://h',
      'redis://g',
      'redis://h:1',
      'redis://h/1',
      'redis+cluster://h',
      'redis+sentinel://h/a',
      'redis+sentinel://h/b',
      'unix:///a',
      'unix:///b',
    ];
    assert.equal(new Set(urls.map((url) => idOf(url))).size, urls.length);
  });

  it('keeps the local Redis of one host apart from that of another', () => {
    assert.notEqual(idOf('redis://localhost', 'web-1'), idOf('redis://localhost', 'web-2'));
    assert.notEqual(idOf('unix:///r.sock', 'web-1'), idOf('unix:///r.sock', 'web-2'));
    assert.equal(idOf('redis://shared', 'web-1'), idOf('redis://shared', 'web-2'));
  });
});
