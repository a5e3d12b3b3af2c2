/** Reads a whole registry in two round trips, however many masters there are. */

import type { JobRef } from '../protocol.js';
import { decodeMaster } from './decode.js';
import { registryKeys } from './keys.js';
import type {
  ChildRecord,
  JobDurationRecord,
  JobMemoryOnHost,
  MasterRecord,
  RunningJob,
  SlowJob,
} from './schema.js';

/** As much of an ioredis client (5 or 6, cluster or not) as reading needs. */
export interface RegistryClient {
  pipeline(commands: string[][]): { exec(): Promise<[Error | null, unknown][] | null> };
}

export interface RegistrySnapshot {
  /** By host and start. Stale ones are in it, marked. */
  masters: MasterRecord[];
  /** Redis's clock when it was read, epoch ms: what the records' times compare with. */
  redisTimeMs: number;
  /** Entries that were skipped because they are malformed. */
  warnings: string[];
}

/** Somebody who looks each second is there again long before. */
const WATCHED_MS = 10_000;

export interface SnapshotOptions {
  /** Masters are to beat each second for the next 10 s, instead of every 5 s; default false. */
  watched?: boolean | undefined;
}

/** Throws `SWARM_BAD_NAMESPACE`, or the client's error when the connection fails. */
export async function readSnapshot(
  client: RegistryClient,
  namespace: string,
  { watched = false }: SnapshotOptions = {},
): Promise<RegistrySnapshot> {
  const keys = registryKeys(namespace);
  // a Redis that is full, or does not let us write, is read all the same
  if (watched)
    void client
      .pipeline([['set', keys.watched, '1', 'PX', String(WATCHED_MS)]])
      .exec()
      .catch(() => {});
  const warnings: string[] = [];
  const [members, time] = await run(client, [['zrange', keys.masters, '0', '-1'], ['time']], warnings);
  const redisTimeMs = timeMs(time);
  const identities = Array.isArray(members) ? members.filter((member) => typeof member === 'string') : [];
  const masters: MasterRecord[] = [];
  if (identities.length > 0) {
    const hashes = await run(
      client,
      identities.map((identity) => ['hgetall', keys.master(identity)]),
      warnings,
    );
    identities.forEach((identity, index) => {
      const hash = hashes[index];
      // Expired between its set and its hash, or just removed.
      if (!isTextRecord(hash) || Object.keys(hash).length === 0) return;
      const decoded = decodeMaster(identity, hash, redisTimeMs);
      warnings.push(...decoded.warnings);
      if (decoded.master) masters.push(decoded.master);
    });
  }
  masters.sort((a, b) => (a.host < b.host ? -1 : a.host > b.host ? 1 : a.startedAtMs - b.startedAtMs));
  return { masters, redisTimeMs, warnings };
}

/** What Redis refuses (a key of another type) becomes a warning and `undefined`; a lost connection throws. */
export async function run(
  client: RegistryClient,
  commands: string[][],
  warnings: string[],
): Promise<unknown[]> {
  const replies = (await client.pipeline(commands).exec()) ?? [];
  return replies.map(([error, reply], index) => {
    if (error === null) return reply;
    if (!/^WRONGTYPE/.test(error.message)) throw error;
    warnings.push(`${commands[index]?.[1]}: ${error.message}`);
    return undefined;
  });
}

function timeMs(reply: unknown): number {
  const [seconds, micros] = Array.isArray(reply) ? reply : [];
  return Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);
}

function isTextRecord(value: unknown): value is Record<string, string> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A child, with what its master knows of where it is. */
export interface ChildOnHost extends ChildRecord {
  host: string;
  /** Identity of its master. */
  master: string;
  tag: string;
}

/** Children of masters that are not stale. */
export function childrenOf({ masters }: RegistrySnapshot): ChildOnHost[] {
  return masters
    .filter((master) => !master.stale)
    .flatMap(({ children, host, identity, tag }) =>
      children.map((child) => ({ ...child, host, master: identity, tag })),
    );
}

/** Jobs that run now, and those that stale masters had when they were last heard of, the longest running first. */
export function jobsOf({ masters }: RegistrySnapshot): RunningJob[] {
  const jobs = masters.flatMap(({ children, host, stale }) =>
    children.flatMap(({ jobs, identity, slot, pid }) =>
      jobs.map((job) => ({ ...job, identity, slot, pid, host, stale })),
    ),
  );
  const runs = new Set(jobs.filter(({ stale }) => !stale).map(jobKey));
  // put back, and taken by another
  const listed = jobs.filter((job) => !job.stale || !runs.has(jobKey(job)));
  return listed.sort((a, b) => a.startedAtMs - b.startedAtMs);
}

function jobKey({ queue, id }: JobRef): string {
  return JSON.stringify([queue, id]);
}

/**
 * The same, those first that run for the largest multiple of what is usual, and last those of which nobody knows it. What
 * is usual says the job's own master, or where none of that kind has completed there yet, the one that knows most.
 */
export function slowJobsOf(snapshot: RegistrySnapshot): SlowJob[] {
  const masters = snapshot.masters.filter(({ stale }) => !stale);
  const usual = new Map<string, JobDurationRecord>();
  for (const { identity, jobDurations } of masters) {
    for (const kind of jobDurations) {
      if (kind.runs === 0 || kind.medianMs === 0) continue;
      usual.set(kindKey(kind, identity), kind);
      const known = usual.get(kindKey(kind, ''));
      if (!known || known.runs < kind.runs) usual.set(kindKey(kind, ''), kind);
    }
  }
  return childrenOf(snapshot)
    .flatMap(({ jobs, identity, slot, pid, host, master }) =>
      jobs.map((job): SlowJob => {
        const kind = usual.get(kindKey(job, master)) ?? usual.get(kindKey(job, ''));
        const usualMs = kind?.medianMs ?? null;
        const ageMs = Math.max(0, snapshot.redisTimeMs - job.startedAtMs);
        const multiple = usualMs === null ? null : Math.round((10 * ageMs) / usualMs) / 10;
        return { ...job, identity, slot, pid, host, stale: false, usualMs, multiple };
      }),
    )
    .sort((a, b) => (b.multiple ?? -1) - (a.multiple ?? -1) || a.startedAtMs - b.startedAtMs);
}

function kindKey({ queue, name }: { queue: string; name: string }, master: string): string {
  return JSON.stringify([queue, name, master]);
}

/** Kinds of jobs of masters that are not stale, those that leave most memory behind first. */
export function jobMemoryOf({ masters }: RegistrySnapshot): JobMemoryOnHost[] {
  return masters
    .filter((master) => !master.stale)
    .flatMap(({ jobMemory, host, identity, tag }) => {
      return jobMemory.map((kind) => ({ ...kind, host, master: identity, tag }));
    })
    .sort((a, b) => b.medianBytes - a.medianBytes || b.p95Bytes - a.p95Bytes);
}
