/**
 * One death on its way to its record: what is known at once, and what comes in during the seconds after –
 * the rest of its stderr, and what became of the jobs that it held. Pure but for what its child still says.
 */
import type { DeathJob, DeathRecord, MemoryPoint } from '../death.js';
import type { DumpDigest } from '../dump.js';
import { type ChildHandle, isDrained } from '../process/child-handle.js';
import type { Judgement } from '../process/exit-cause.js';
import type { ActiveJob } from '../protocol.js';
import type { MasterInfo } from '../registry/schema.js';
import { maskSecrets } from '../secrets.js';
import { DeathJobs, deathJob } from './death-jobs.js';
import { originOf } from './origin.js';

const MAX_JOBS = 100;
const MAX_TEXT_LENGTH = 8 * 1_024;

/** What is asked of a child that is gone. */
export type Deceased = Pick<
  ChildHandle,
  | 'identity'
  | 'pid'
  | 'slot'
  | 'group'
  | 'generation'
  | 'startedAtMs'
  | 'readyAtMs'
  | 'exit'
  | 'drained'
  | 'uncaught'
  | 'bootTrouble'
  | 'heapOom'
  | 'beat'
  | 'jobs'
  | 'stderr'
  | 'addons'
>;

export interface LastMemory {
  rssBytes: number | null;
  pssBytes: number | null;
  points: MemoryPoint[];
}

export class DeathFile {
  readonly owner: string;
  readonly jobs: DeathJobs;
  /** Epoch ms by this host's clock. */
  readonly atMs = Date.now();
  readonly #child: Deceased;
  readonly #judgement: Judgement;
  readonly #memory: LastMemory;
  readonly #dump: DumpDigest | null;

  constructor(child: Deceased, judgement: Judgement, memory: LastMemory, dump: DumpDigest | null = null) {
    this.owner = child.identity;
    this.#child = child;
    this.#judgement = judgement;
    this.#memory = memory;
    this.#dump = dump;
    this.jobs = new DeathJobs(jobsAtEnd(child));
  }

  /** @param clockOffsetMs to be added to this host's times */
  record(master: MasterInfo, clockOffsetMs: number): DeathRecord {
    const child = this.#child;
    const { cause, evidence } = this.#judgement;
    const { uncaught } = evidence;
    const shift = (atMs: number | null): number | null => (atMs === null ? null : atMs + clockOffsetMs);
    return {
      atMs: this.atMs + clockOffsetMs,
      ...originOf(master, child),
      cause,
      evidence: {
        ...evidence,
        summary: text(evidence.summary),
        heapOom: evidence.heapOom && text(evidence.heapOom),
        uncaught: uncaught && { ...uncaught, message: text(uncaught.message), stack: text(uncaught.stack) },
      },
      code: child.exit?.code ?? null,
      signal: child.exit?.signal ?? null,
      uptimeMs: Math.max(0, this.atMs - child.startedAtMs),
      rssBytes: this.#memory.rssBytes,
      pssBytes: this.#memory.pssBytes,
      heapUsedBytes: child.beat?.heapUsedBytes ?? null,
      memory: this.#memory.points,
      jobs: this.jobs.list.slice(0, MAX_JOBS).map((job) => ({ ...job, startedAtMs: shift(job.startedAtMs) })),
      stderr: child.stderr.lines().map(maskSecrets),
      addons: [...child.addons],
      dump: this.#dump,
    };
  }
}

/** A child that said it holds nothing has said what it handed back; of another, the last beat tells. */
function jobsAtEnd(child: Deceased): DeathJob[] {
  const { drained, jobs } = child;
  const handedBack = (drained?.handedBack ?? []).map((job) => deathJob(job, 'handed-back'));
  if (isDrained(child)) return handedBack;
  const isBack = ({ queue, id }: ActiveJob): boolean =>
    handedBack.some((job) => job.queue === queue && job.id === id);
  return [...handedBack, ...jobs.filter((job) => !isBack(job)).map((job) => deathJob(job, 'pending'))];
}

/** Secrets of URLs are not for the registry, and nor are texts without end. */
function text(whole: string): string {
  return maskSecrets(whole).slice(0, MAX_TEXT_LENGTH);
}
