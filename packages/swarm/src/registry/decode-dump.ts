/** Text of the registry, and what watchdogs say → dumps; as tolerant as `decode.ts`, and bounded: a child gone mad writes here too. */
import {
  DUMP_KINDS,
  DUMP_TRIGGERS,
  type DumpDigest,
  type DumpJob,
  type DumpKind,
  type DumpRecord,
  type DumpTrigger,
  type Findings,
  FRAME_OWNERS,
  type Frame,
  type FrameOwner,
  type Heap,
  type NativeSide,
  type PendingIo,
  type StartedProcess,
} from '../dump.js';
import { count, type Fields, fieldsOf, list, numberOf, parse, string, stringOrNull } from './fields.js';

const MAX_FRAMES = 64;
const MAX_ITEMS = 100;
const MAX_TEXT = 400;
const IO_TYPES = ['fetch', 'http', 'socket', 'dns'] as const;

/** null: no record can be made of the text. */
export function decodeDumpRecord(text: string): DumpRecord | null {
  const fields = parse(text);
  const findings = decodeFindings(fields);
  const digest = decodeDigestFacts(fields);
  if (!fields || !findings || !digest || typeof fields['identity'] !== 'string') return null;
  return {
    ...findings,
    ...digest,
    identity: fields['identity'],
    master: string(fields['master']),
    host: string(fields['host']),
    tag: string(fields['tag']),
    slot: count(fields['slot']),
    group: string(fields['group'], 'default'),
    pid: count(fields['pid']),
    generation: count(fields['generation']),
    node: string(fields['node']),
  };
}

export function decodeDigest(value: unknown): DumpDigest | null {
  const fields = fieldsOf(value);
  const findings = decodeFindings(fields);
  const facts = decodeDigestFacts(fields);
  if (!findings || !facts) return null;
  const { kind, isMoving, stack, job, native, io } = findings;
  return { ...facts, kind, isMoving, stack, job, native, io };
}

function decodeDigestFacts(
  fields: Fields | null,
): Pick<DumpRecord, 'id' | 'atMs' | 'trigger' | 'blockedMs'> | null {
  const atMs = numberOf(fields?.['atMs']);
  const trigger = oneOf<DumpTrigger>(DUMP_TRIGGERS, fields?.['trigger']);
  if (!fields || atMs === null || trigger === null) return null;
  return { id: string(fields['id']), atMs, trigger, blockedMs: count(fields['blockedMs']) };
}

/** null: it says nothing. */
export function decodeFindings(value: unknown): Findings | null {
  const fields = fieldsOf(value);
  const kind = oneOf<DumpKind>(DUMP_KINDS, fields?.['kind']);
  if (!fields || kind === null) return null;
  const moving = fields['isMoving'];
  return {
    kind,
    stack: some(fields['stack'], decodeFrame, MAX_FRAMES),
    tops: some(fields['tops'], decodeFrame, MAX_FRAMES),
    samples: count(fields['samples']),
    isMoving: typeof moving === 'boolean' ? moving : null,
    isAfterBlock: fields['isAfterBlock'] === true,
    job: decodeJob(fields['job']),
    jobs: some(fields['jobs'], decodeJob, MAX_ITEMS),
    native: decodeNative(fieldsOf(fields['native'])),
    processes: some(fields['processes'], decodeProcess, MAX_ITEMS),
    io: some(fields['io'], decodeIo, MAX_ITEMS),
    resources: decodeCounts(fieldsOf(fields['resources']) ?? {}),
    heap: decodeHeap(fieldsOf(fields['heap'])),
    elu: numberOf(fields['elu']),
    workerThreads: count(fields['workerThreads']),
    notes: some(fields['notes'], (note) => (typeof note === 'string' ? text(note) : null), MAX_ITEMS),
    tookMs: count(fields['tookMs']),
  };
}

function decodeFrame(value: unknown): Frame | null {
  const fields = fieldsOf(value);
  if (!fields) return null;
  return {
    function: text(fields['function']),
    file: textOrNull(fields['file']),
    line: numberOf(fields['line']),
    column: numberOf(fields['column']),
    isAsync: fields['isAsync'] === true,
    owner: oneOf<FrameOwner>(FRAME_OWNERS, fields['owner']) ?? 'app',
  };
}

function decodeJob(value: unknown): DumpJob | null {
  const fields = fieldsOf(value);
  const { queue, id } = fields ?? {};
  // a part of an id would name another job
  if (!fields || typeof queue !== 'string' || typeof id !== 'string') return null;
  const { attempt, startedAtMs } = fields;
  return {
    queue,
    id,
    name: text(fields['name']),
    attempt: numberOf(attempt),
    startedAtMs: count(startedAtMs),
  };
}

function decodeNative(fields: Fields | null): NativeSide | null {
  return (
    fields && {
      state: text(fields['state']),
      wchan: textOrNull(fields['wchan']),
      syscall: textOrNull(fields['syscall']),
      target: textOrNull(fields['target']),
      command: textOrNull(fields['command']),
      cpuPercent: numberOf(fields['cpuPercent']),
    }
  );
}

function decodeProcess(value: unknown): StartedProcess | null {
  const fields = fieldsOf(value);
  if (!fields) return null;
  const { pid, command, state, ageMs, job } = fields;
  const process = { pid: count(pid), command: text(command), state: text(state), ageMs: numberOf(ageMs) };
  return { ...process, job: decodeJobRef(job) };
}

function decodeJobRef(value: unknown): { queue: string; id: string } | null {
  const { queue, id } = fieldsOf(value) ?? {};
  return typeof queue === 'string' && typeof id === 'string' ? { queue, id } : null;
}

function decodeIo(value: unknown): PendingIo | null {
  const fields = fieldsOf(value);
  const type = oneOf<PendingIo['type']>(IO_TYPES, fields?.['type']);
  if (!fields || type === null) return null;
  return {
    type,
    what: text(fields['what']),
    peer: textOrNull(fields['peer']),
    phase: text(fields['phase']),
    ageMs: numberOf(fields['ageMs']),
    job: decodeJobRef(fields['job']),
  };
}

function decodeCounts(fields: Fields): Record<string, number> {
  const entries = Object.entries(fields).slice(0, MAX_ITEMS);
  return Object.fromEntries(entries.map(([type, value]) => [text(type), count(value)]));
}

function decodeHeap(fields: Fields | null): Heap | null {
  if (!fields) return null;
  const { usedBytes, limitBytes, externalBytes } = fields;
  return { usedBytes: count(usedBytes), limitBytes: count(limitBytes), externalBytes: count(externalBytes) };
}

function some<T>(value: unknown, decode: (item: unknown) => T | null, most: number): T[] {
  return list(Array.isArray(value) ? value.slice(0, most) : value, decode);
}

function oneOf<T extends string>(words: readonly T[], value: unknown): T | null {
  return words.find((word) => word === value) ?? null;
}

function text(value: unknown): string {
  return string(value).slice(0, MAX_TEXT);
}

function textOrNull(value: unknown): string | null {
  return stringOrNull(value)?.slice(0, MAX_TEXT) ?? null;
}
