/** Registry text → death records, as tolerant as `decode.ts`: what is malformed gives null or a default. */
import {
  DEATH_CAUSES,
  type DeathCause,
  type DeathJob,
  type DeathRecord,
  type Evidence,
  JOB_OUTCOMES,
  type JobOutcome,
  type MemoryPoint,
  type OomEvidence,
  type UncaughtEvidence,
} from '../death.js';
import type { Blame } from '../protocol.js';
import { decodeDigest } from './decode-dump.js';
import { count, type Fields, fieldsOf, list, numberOf, parse, string, stringOrNull } from './fields.js';

/** null: no record can be made of the text. */
export function decodeDeathRecord(text: string): DeathRecord | null {
  const fields = parse(text);
  if (fields === null) return null;
  const { identity, cause } = fields;
  const atMs = numberOf(fields['atMs']);
  if (typeof identity !== 'string' || atMs === null || !isCause(cause)) return null;
  return {
    atMs,
    identity,
    master: string(fields['master']),
    host: string(fields['host']),
    tag: string(fields['tag']),
    slot: count(fields['slot']),
    group: string(fields['group'], 'default'),
    pid: count(fields['pid']),
    generation: count(fields['generation']),
    cause,
    evidence: decodeEvidence(fieldsOf(fields['evidence']) ?? {}),
    code: numberOf(fields['code']),
    signal: stringOrNull(fields['signal']),
    uptimeMs: count(fields['uptimeMs']),
    rssBytes: numberOf(fields['rssBytes']),
    pssBytes: numberOf(fields['pssBytes']),
    heapUsedBytes: numberOf(fields['heapUsedBytes']),
    memory: list(fields['memory'], decodePoint),
    jobs: list(fields['jobs'], decodeJob),
    stderr: list(fields['stderr'], stringOrNull),
    addons: list(fields['addons'], stringOrNull),
    dump: decodeDigest(fields['dump']),
    node: string(fields['node']),
  };
}

export function decodeCause(value: unknown): DeathCause | null {
  return isCause(value) ? value : null;
}

function isCause(value: unknown): value is DeathCause {
  return (DEATH_CAUSES as readonly unknown[]).includes(value);
}

function decodeEvidence(fields: Fields): Evidence {
  return {
    summary: string(fields['summary']),
    hint: stringOrNull(fields['hint']),
    killedFor: stringOrNull(fields['killedFor']),
    leavesFor: stringOrNull(fields['leavesFor']),
    wasReady: fields['wasReady'] === true,
    drained: fields['drained'] === true,
    oom: decodeOom(fieldsOf(fields['oom'])),
    heapOom: stringOrNull(fields['heapOom']),
    uncaught: decodeUncaught(fieldsOf(fields['uncaught'])),
  };
}

function decodeOom(fields: Fields | null): OomEvidence | null {
  if (fields === null) return null;
  return {
    counterFile: stringOrNull(fields['counterFile']),
    counted: count(fields['counted']),
    kernelLogRead: fields['kernelLogRead'] === true,
    kernelLog: stringOrNull(fields['kernelLog']),
    anonRssBytes: numberOf(fields['anonRssBytes']),
    onMachine: numberOf(fields['onMachine']),
  };
}

function decodeUncaught(fields: Fields | null): UncaughtEvidence | null {
  if (fields === null) return null;
  const phase = fields['phase'] === 'boot' ? 'boot' : 'run';
  return { phase, message: string(fields['message']), stack: string(fields['stack']) };
}

function decodePoint(value: unknown): MemoryPoint | null {
  if (!Array.isArray(value)) return null;
  const secondsAgo = numberOf(value[0]);
  return secondsAgo === null
    ? null
    : [secondsAgo, numberOf(value[1]), numberOf(value[2]), numberOf(value[3])];
}

function decodeJob(value: unknown): DeathJob | null {
  const job = fieldsOf(value);
  const queue = job?.['queue'];
  const id = job?.['id'];
  if (typeof queue !== 'string' || typeof id !== 'string') return null;
  const outcome = job?.['outcome'];
  return {
    queue,
    id,
    name: string(job?.['name']),
    startedAtMs: numberOf(job?.['startedAtMs']),
    outcome: (JOB_OUTCOMES as readonly unknown[]).includes(outcome) ? (outcome as JobOutcome) : 'pending',
    blame: decodeBlame(fieldsOf(job?.['blame'])),
  };
}

function decodeBlame(fields: Fields | null): Blame | null {
  return fields && { exact: count(fields['exact']), shared: count(fields['shared']) };
}
