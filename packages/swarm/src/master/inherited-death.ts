/**
 * The death of a child whose master could not record it, because it was killed or its host is lost. It is told by the
 * entry that the master left in the registry: how the child was when it was last heard of. Whoever puts its jobs back says
 * what became of them. How the process ended nobody knows, and the record says so.
 */
import type { DeathCause, DeathRecord, InheritedCause } from '../death.js';
import type { ChildRecord, MasterRecord } from '../registry/schema.js';
import { DeathJobs, deathJob } from './death-jobs.js';
import { originOf } from './origin.js';

interface Words {
  summary: string;
  hint: string | null;
}

const WORDS: Record<InheritedCause, Words> = {
  'master-died': {
    summary:
      'its master died without a word, and this process was gone when the next one looked: whether it left by itself is not known',
    hint: 'the system log of that host tells who killed the master (journalctl, dmesg), or that it went down',
  },
  'host-lost': {
    summary:
      'its master beats no more (host lost, cut off or suspended), and its jobs missed the renewal of their locks: what became of this process is not known',
    hint: 'if the host is there, its own log says more; a process that still runs there has lost its jobs to others',
  },
};

/** What is to be recorded of a child of a master that is gone; null: nothing, as its own master has done it. */
export function inheritedCause(
  { children, owed }: Pick<MasterRecord, 'children' | 'owed'>,
  identity: string,
  cause: InheritedCause,
): DeathCause | null {
  const child = children.find((other) => other.identity === identity);
  if (!child) return null;
  if (child.state !== 'backoff' && child.state !== 'failed') return cause;
  // it died before its master did, which waited for what became of its jobs
  const { lastDeath } = child;
  const isOwed = owed.some(({ owner }) => owner === identity);
  return isOwed && lastDeath?.identity === identity ? lastDeath.cause : null;
}

export class InheritedDeath {
  readonly owner: string;
  readonly jobs: DeathJobs;
  readonly #master: MasterRecord;
  readonly #child: ChildRecord;
  readonly #cause: DeathCause;

  constructor(master: MasterRecord, child: ChildRecord, cause: DeathCause) {
    this.owner = child.identity;
    this.#master = master;
    this.#child = child;
    this.#cause = cause;
    this.jobs = new DeathJobs(child.jobs.map((job) => deathJob(job, 'pending')));
  }

  record(): DeathRecord {
    const { info, beatAtMs } = this.#master;
    const child = this.#child;
    const { lastDeath } = child;
    const own = lastDeath?.identity === child.identity ? lastDeath : null;
    const atMs = own?.atMs ?? Math.max(beatAtMs, child.beatAtMs ?? 0);
    return {
      atMs,
      ...originOf(info, child),
      cause: this.#cause,
      evidence: {
        ...wordsOf(this.#cause),
        killedFor: null,
        leavesFor: null,
        wasReady: child.readyAtMs !== null,
        drained: false,
        oom: null,
        heapOom: null,
        uncaught: null,
      },
      code: own?.code ?? null,
      signal: own?.signal ?? null,
      uptimeMs: Math.max(0, atMs - child.startedAtMs),
      rssBytes: child.rssBytes,
      pssBytes: child.pssBytes,
      heapUsedBytes: child.heapUsedBytes,
      memory: [],
      jobs: [...this.jobs.list],
      stderr: [],
      addons: [],
      dump: null,
    };
  }
}

function wordsOf(cause: DeathCause): Words {
  if (cause === 'master-died' || cause === 'host-lost') return WORDS[cause];
  return { summary: 'so its master judged it, which died before it could record more', hint: null };
}
