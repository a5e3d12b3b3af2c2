/**
 * Registry text → records. Anybody may write to a Redis, and other versions of swarm do: what is malformed
 * gives null or a default and never throws. Only what a record makes no sense without is required.
 */
import type { ActiveJob, Holding, WorkerInfo } from '../protocol.js';
import { decodeCause } from './decode-death.js';
import {
  count,
  type Fields,
  fieldsOf,
  list,
  numberOf,
  parse,
  parseJson,
  string,
  stringOrNull,
} from './fields.js';
import type {
  ChildRecord,
  ChildState,
  JobDurationRecord,
  JobMemoryRecord,
  LastDeath,
  MasterInfo,
  MasterRecord,
  MasterState,
  Owed,
  WorkerRecord,
} from './schema.js';
import { STALE_AFTER_MS } from './writer.js';

const CHILD_STATES: readonly string[] = [
  'starting',
  'up',
  'quiet',
  'stopping',
  'backoff',
  'failed',
] satisfies ChildState[];
const MASTER_STATES: readonly string[] = ['starting', 'up', 'quiet', 'stopping'] satisfies MasterState[];
const CHILD_FIELD = 'child:';

export interface DecodedMaster {
  /** null: no record can be made of the hash. */
  master: MasterRecord | null;
  /** What was skipped, for people. */
  warnings: string[];
}

/** `hash` as HGETALL gives it, `nowMs` by Redis's clock. */
export function decodeMaster(
  identity: string,
  hash: Readonly<Record<string, string>>,
  nowMs: number,
): DecodedMaster {
  const warnings: string[] = [];
  const info = decodeInfo(identity, parse(hash['info']));
  const beatAtMs = numberOf(Number(hash['beatAtMs'] ?? Number.NaN));
  const state = hash['state'] ?? '';
  if (info === null || beatAtMs === null || !MASTER_STATES.includes(state)) {
    return { master: null, warnings: [`master ${identity}: malformed entry skipped`] };
  }
  const children: ChildRecord[] = [];
  for (const [field, text] of Object.entries(hash)) {
    if (!field.startsWith(CHILD_FIELD)) continue;
    const child = decodeChild(parse(text));
    if (child) children.push(child);
    else warnings.push(`master ${identity}: malformed ${field} skipped`);
  }
  children.sort((a, b) => compare(a.group, b.group) || a.slot - b.slot || a.generation - b.generation);
  const master: MasterRecord = {
    identity,
    host: info.host,
    pid: info.pid,
    state: state as MasterState,
    generation: count(Number(hash['generation'])),
    startedAtMs: info.startedAtMs,
    beatAtMs,
    stale: nowMs - beatAtMs > STALE_AFTER_MS,
    tag: info.tag,
    version: info.version,
    count: count(Number(hash['count'])),
    children,
    info,
    owed: list(parseJson(hash['owed']), decodeOwed),
    jobMemory: list(parseJson(hash['jobMemory']), decodeJobMemory),
    jobDurations: list(parseJson(hash['jobDurations']), decodeJobDuration),
    rttUs: numberOf(hash['rttUs'] === undefined ? null : Number(hash['rttUs'])),
    clockOffsetMs: numberOf(hash['clockOffsetMs'] === undefined ? null : Number(hash['clockOffsetMs'])),
  };
  const { rollError } = hash;
  return { master: rollError === undefined ? master : { ...master, rollError }, warnings };
}

function decodeInfo(identity: string, fields: Fields | null): MasterInfo | null {
  if (fields === null) return null;
  const pid = numberOf(fields['pid']);
  if (typeof fields['host'] !== 'string' || pid === null) return null;
  return {
    identity,
    host: fields['host'],
    bootId: stringOrNull(fields['bootId']),
    pidNamespace: stringOrNull(fields['pidNamespace']),
    pid,
    pidStartTicks: numberOf(fields['pidStartTicks']),
    startedAtMs: count(fields['startedAtMs']),
    version: string(fields['version']),
    node: string(fields['node']),
    tag: string(fields['tag']),
    labels: list(fields['labels'], stringOrNull),
    app: string(fields['app']),
    redisId: stringOrNull(fields['redisId']),
    config: fieldsOf(fields['config']) ?? {},
  };
}

/** null: not a child's record. */
export function decodeChild(fields: Fields | null): ChildRecord | null {
  if (fields === null) return null;
  const { identity, state } = fields;
  const slot = numberOf(fields['slot']);
  if (typeof identity !== 'string' || slot === null || slot < 0) return null;
  if (typeof state !== 'string' || !CHILD_STATES.includes(state)) return null;
  return {
    identity,
    slot,
    group: string(fields['group'], 'default'),
    state: state as ChildState,
    generation: count(fields['generation']),
    pid: count(fields['pid']),
    pidStartTicks: numberOf(fields['pidStartTicks']),
    startedAtMs: count(fields['startedAtMs']),
    readyAtMs: numberOf(fields['readyAtMs']),
    beatAtMs: numberOf(fields['beatAtMs']),
    rssBytes: numberOf(fields['rssBytes']),
    pssBytes: numberOf(fields['pssBytes']),
    heapUsedBytes: numberOf(fields['heapUsedBytes']),
    heapLimitBytes: numberOf(fields['heapLimitBytes']),
    cpuPercent: numberOf(fields['cpuPercent']),
    loopLagMs: numberOf(fields['loopLagMs']),
    elu: numberOf(fields['elu']),
    busy: count(fields['busy']),
    concurrency: count(fields['concurrency']),
    jobs: list(fields['jobs'], decodeJob),
    processed: count(fields['processed']),
    failed: count(fields['failed']),
    restarts: count(fields['restarts']),
    lastDeath: decodeDeath(fieldsOf(fields['lastDeath'])),
    stuckSinceMs: numberOf(fields['stuckSinceMs']),
    workers: list(fields['workers'], decodeWorker),
  };
}

function decodeJob(value: unknown): ActiveJob | null {
  const job = fieldsOf(value);
  if (!job || typeof job['queue'] !== 'string' || typeof job['id'] !== 'string') return null;
  return {
    queue: job['queue'],
    id: job['id'],
    name: string(job['name']),
    startedAtMs: count(job['startedAtMs']),
  };
}

function decodeWorker(value: unknown): WorkerRecord | null {
  const worker = fieldsOf(value);
  const queue = worker?.['queue'];
  const prefix = worker?.['prefix'];
  const tokenPrefix = worker?.['tokenPrefix'];
  const redisId = worker?.['redisId'];
  // A release acts on these: an empty token prefix would be everybody's.
  if (typeof queue !== 'string' || typeof prefix !== 'string') return null;
  if (typeof tokenPrefix !== 'string' || tokenPrefix === '' || typeof redisId !== 'string') return null;
  const concurrency = numberOf(worker?.['concurrency']);
  const started = numberOf(worker?.['started']);
  return {
    queue,
    prefix,
    tokenPrefix,
    redisId,
    ...decodeLock(fieldsOf(worker?.['lock'])),
    ...(concurrency === null ? {} : { concurrency }),
    ...(started === null ? {} : { started }),
  };
}

function decodeLock(lock: Fields | null): Pick<WorkerInfo, 'lock'> {
  const durationMs = numberOf(lock?.['durationMs']);
  const renewMs = numberOf(lock?.['renewMs']);
  return durationMs === null || renewMs === null ? {} : { lock: { durationMs, renewMs } };
}

function decodeOwed(value: unknown): Owed | null {
  const owed = fieldsOf(value);
  if (!owed || typeof owed['owner'] !== 'string') return null;
  return { owner: owed['owner'], holdings: list(owed['holdings'], decodeHolding) };
}

function decodeJobMemory(value: unknown): JobMemoryRecord | null {
  const kind = fieldsOf(value);
  if (!kind || typeof kind['queue'] !== 'string' || typeof kind['name'] !== 'string') return null;
  return {
    queue: kind['queue'],
    name: kind['name'],
    runs: count(kind['runs']),
    medianBytes: numberOf(kind['medianBytes']) ?? 0,
    p95Bytes: numberOf(kind['p95Bytes']) ?? 0,
    approximate: kind['approximate'] === true,
  };
}

function decodeJobDuration(value: unknown): JobDurationRecord | null {
  const kind = fieldsOf(value);
  if (!kind || typeof kind['queue'] !== 'string' || typeof kind['name'] !== 'string') return null;
  return {
    queue: kind['queue'],
    name: kind['name'],
    runs: count(kind['runs']),
    medianMs: count(kind['medianMs']),
    p95Ms: count(kind['p95Ms']),
  };
}

function decodeHolding(value: unknown): Holding | null {
  const holding = fieldsOf(value);
  const queue = holding?.['queue'];
  const prefix = holding?.['prefix'];
  const redisId = holding?.['redisId'];
  if (typeof queue !== 'string' || typeof prefix !== 'string' || typeof redisId !== 'string') return null;
  const tokenPrefixes = list(holding?.['tokenPrefixes'], stringOrNull).filter((prefix) => prefix !== '');
  return { queue, prefix, redisId, tokenPrefixes, jobIds: list(holding?.['jobIds'], stringOrNull) };
}

function decodeDeath(death: Fields | null): LastDeath | null {
  if (death === null || typeof death['identity'] !== 'string') return null;
  return {
    atMs: count(death['atMs']),
    identity: death['identity'],
    pid: count(death['pid']),
    code: numberOf(death['code']),
    signal: stringOrNull(death['signal']),
    cause: decodeCause(death['cause']),
  };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
