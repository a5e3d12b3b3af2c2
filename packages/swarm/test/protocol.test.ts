import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  type ChildMessage,
  MAX_GROWTH_VALUES,
  MAX_JOB_KINDS,
  MAX_LISTED_JOBS,
  type MasterMessage,
  parseChildMessage,
  parseMasterMessage,
  wrap,
} from '../dist/protocol.js';

const job = fc.record({ queue: fc.string(), id: fc.string(), name: fc.string(), startedAtMs: fc.nat() });
const beat = fc.record({
  heapUsedBytes: fc.nat(),
  heapLimitBytes: fc.nat(),
  loopLagMs: fc.nat(),
  elu: fc.double({ min: 0, max: 1, noNaN: true }),
  busy: fc.nat(),
  concurrency: fc.nat(),
  jobs: fc.array(job, { maxLength: 5 }),
  processed: fc.nat(),
  failed: fc.nat(),
  started: fc.array(fc.tuple(fc.string(), fc.nat()), { maxLength: 3 }),
});
const worker = fc.record({
  queue: fc.string(),
  prefix: fc.string(),
  tokenPrefix: fc.string(),
  redisId: fc.string(),
});
const growth = fc.record({
  queue: fc.string(),
  name: fc.string(),
  approximate: fc.boolean(),
  runs: fc.nat(),
  values: fc.array(fc.integer(), { maxLength: 5 }),
});
const jobRef = fc.record({ queue: fc.string(), id: fc.string() });
const givenUp = fc.record({
  queue: fc.string(),
  id: fc.string(),
  startedAtMs: fc.nat(),
  reason: fc.string(),
});
const childMessage: fc.Arbitrary<ChildMessage> = fc.oneof(
  fc.record({ type: fc.constant('workerStarted' as const), worker }),
  fc.record({ type: fc.constant('beat' as const), beat }),
  fc.record({
    type: fc.constant('ready' as const),
    bullmqVersion: fc.option(fc.string()),
    concurrency: fc.nat(),
    canRelease: fc.boolean(),
  }),
  fc.record({ type: fc.constant('jobMemory' as const), kinds: fc.array(growth, { maxLength: 3 }) }),
  fc.record({
    type: fc.constant('drained' as const),
    handedBack: fc.array(job, { maxLength: 3 }),
    error: fc.option(fc.string()),
  }),
  fc.record({
    type: fc.constant('drained' as const),
    handedBack: fc.array(job, { maxLength: 3 }),
    error: fc.constant(null),
    left: fc.array(jobRef, { maxLength: 3 }),
  }),
  fc.record({
    type: fc.constant('locksExtended' as const),
    owner: fc.string(),
    extended: fc.nat(),
    unserved: fc.array(fc.string(), { maxLength: 3 }),
    error: fc.option(fc.string()),
  }),
  fc.record({
    type: fc.constant('jobTimeouts' as const),
    queues: fc.array(fc.record({ queue: fc.string(), timeoutMs: fc.option(fc.nat()) }), { maxLength: 3 }),
  }),
);
const holding = fc.record({
  queue: fc.string(),
  prefix: fc.string(),
  redisId: fc.string(),
  tokenPrefixes: fc.array(fc.string(), { maxLength: 3 }),
  jobIds: fc.array(fc.string(), { maxLength: 3 }),
});
const death = fc.record({
  id: fc.string(),
  cause: fc.string(),
  detail: fc.string(),
  atMs: fc.nat(),
  waiting: fc.array(jobRef, { maxLength: 3 }),
  pinned: fc.option(jobRef),
});
const masterMessage: fc.Arbitrary<MasterMessage> = fc.oneof(
  fc.constant({ type: 'quiet' as const }),
  fc.record({ type: fc.constant('stop' as const), drainTimeoutMs: fc.nat() }),
  fc.record({
    type: fc.constant('stop' as const),
    drainTimeoutMs: fc.nat(),
    givenUp: fc.array(givenUp, { maxLength: 3 }),
  }),
  fc.record({ type: fc.constant('abortJob' as const), job: givenUp }),
  fc.record({
    type: fc.constant('extendLocks' as const),
    owner: fc.string(),
    holdings: fc.array(
      fc.record({
        queue: fc.string(),
        prefix: fc.string(),
        redisId: fc.string(),
        tokenPrefix: fc.string(),
        durationMs: fc.nat(),
      }),
      { maxLength: 3 },
    ),
  }),
  fc.record({
    type: fc.constant('release' as const),
    releaseId: fc.string(),
    holdings: fc.array(holding, { maxLength: 3 }),
    death: fc.option(death),
    usesLimits: fc.boolean(),
    quarantineAfter: fc.option(fc.nat()),
  }),
);

/** As IPC carries it. */
const carry = (message: unknown): unknown => JSON.parse(JSON.stringify(message));

describe('protocol', () => {
  it('reads every message back as it was sent', () => {
    fc.assert(
      fc.property(childMessage, (message) => {
        assert.deepEqual(parseChildMessage(carry(wrap(message))), {
          kind: 'message',
          message: carry(message),
        });
      }),
    );
    fc.assert(
      fc.property(masterMessage, (message) => {
        assert.deepEqual(parseMasterMessage(carry(wrap(message))), {
          kind: 'message',
          message: carry(message),
        });
      }),
    );
  });

  it("leaves an app's own messages alone", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        fc.pre(!(typeof value === 'object' && value !== null && 'swarm' in value));
        assert.equal(parseChildMessage(value).kind, 'foreign');
      }),
    );
  });

  it('takes nothing malformed for a message, and never throws', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const { kind } = parseChildMessage({ swarm: value });
        assert.notEqual(kind, 'foreign');
      }),
    );
    fc.assert(
      fc.property(childMessage, fc.jsonValue(), fc.nat(), (message, junk, at) => {
        const broken = carry(message) as Record<string, unknown>;
        const fields = Object.keys(broken).filter((name) => name !== 'type');
        const field = fields[at % fields.length] as string;
        broken[field] = junk;
        const parsed = parseChildMessage({ swarm: broken });
        if (parsed.kind === 'malformed') assert.equal(parsed.why, `${message.type}.${field}`);
        else assert.deepEqual(parsed, { kind: 'message', message: broken });
      }),
    );
    for (const type of ['constructor', '__proto__', 'toString', '']) {
      assert.equal(parseChildMessage({ swarm: { type } }).kind, 'malformed');
    }
  });

  it('refuses a report of more kinds of jobs, or of more values, than agreed', () => {
    const kind = { queue: 'q', name: 'n', approximate: false, runs: 1, values: [1] };
    const kindOf = (kinds: unknown[]) => parseChildMessage({ swarm: { type: 'jobMemory', kinds } }).kind;
    assert.equal(kindOf(new Array(MAX_JOB_KINDS).fill(kind)), 'message');
    assert.equal(kindOf(new Array(MAX_JOB_KINDS + 1).fill(kind)), 'malformed');
    assert.equal(kindOf([{ ...kind, values: new Array(MAX_GROWTH_VALUES + 1).fill(1) }]), 'malformed');
    assert.equal(kindOf([{ ...kind, values: [null] }]), 'malformed');
  });

  it('refuses a beat that lists more jobs than agreed', () => {
    const jobs = Array.from({ length: MAX_LISTED_JOBS + 1 }, () => ({
      queue: 'q',
      id: '1',
      name: 'n',
      startedAtMs: 1,
    }));
    const [sample] = fc.sample(beat, 1);
    assert.equal(parseChildMessage({ swarm: { type: 'beat', beat: { ...sample, jobs } } }).kind, 'malformed');
  });
});
