/** What of command lines and URLs is published: no more than tells programs and services apart. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { addressOf, publishedOf } from '../dist/master/dump-details.js';
import { programOf } from '../dist/secrets.js';
import { dumpRecord, frame, pendingIo } from './dump-samples.js';

describe('what a dump publishes', () => {
  it('of a command line is the name of its program', () => {
    for (const [command, name] of [
      ['/usr/bin/ffmpeg -i in.mp4', 'ffmpeg'],
      ['mysqldump -psecret', 'mysqldump'],
      ['sleep', 'sleep'],
      ['/bin/sh -c /opt/bin/convert secret.png', 'sh -c convert'],
      ['sh -c TOKEN=secret deploy', 'sh -c a program'],
      ['node -c secret', 'node'],
      ['postgres: me secret [local]', 'postgres'],
      ['TOKEN=secret', 'a program'],
      ['https://me:secret@host/', 'a program'],
      ['', ''],
    ] as const)
      assert.equal(programOf(command), name, command);
  });

  it('of a URL is the host, and the first part of the path if that is a word', () => {
    const address = (what: string) => addressOf({ type: 'fetch', what });
    for (const [what, shown] of [
      ['GET https://host/orders', 'GET https://host/orders'],
      ['GET https://host/orders/4711/secret?…', 'GET https://host/orders/…'],
      ['POST https://hooks.example/services/T000/B000/secret', 'POST https://hooks.example/services/…'],
      ['POST https://api.example/bot12345:secret/sendMessage', 'POST https://api.example/…'],
      ['GET http://host:8080/', 'GET http://host:8080/'],
      ['GET http://me:secret@host/v1/x', 'GET http://host/v1/…'],
      ['GET http://host/?…', 'GET http://host/?…'],
      ['GET http://host/users?token=secret', 'GET http://host/users?…'],
      ['GET http://host', 'GET http://host'],
      ['GET /secret-0f9e/x', 'GET /…'],
    ] as const)
      assert.equal(address(what), shown);
    assert.equal(addressOf({ type: 'dns', what: 'db.internal' }), 'db.internal');
  });

  it('holds no secret, whatever stands around it, unless it is asked for all of it', () => {
    const noise = fc.string({ unit: fc.constantFrom('a', '/', ' ', '?', '-', ':', '=', '.', '#') });
    fc.assert(
      fc.property(noise, noise, (before, after) => {
        const text = `/bin/sh -c run ${before} s3cret ${after}`;
        const what = `GET https://host/x/${before}s3cret${after}`;
        const record = dumpRecord(1, {
          native: { state: 'S', wchan: null, syscall: 'poll', target: null, command: text, cpuPercent: 0 },
          processes: [{ pid: 1, command: text, state: 'S', ageMs: 1, job: null }],
          io: [pendingIo(what)],
          stack: [{ ...frame('f'), file: `data:text/javascript,s3cret${after}` }],
        });
        assert.doesNotMatch(JSON.stringify(publishedOf(record, false)), /s3cret/);
        const { native, processes, io } = publishedOf(record, true);
        assert.deepEqual([native?.command, processes[0]?.command, io[0]?.what], [text, text, what]);
      }),
    );
  });
});
