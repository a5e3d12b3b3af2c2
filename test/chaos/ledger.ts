/**
 * Judges what jobs wrote about their runs: was any of them lost, was any run twice at once, and did any run
 * twice without a fault as the reason? Pure.
 */

export interface LedgerLine {
  what: 'start' | 'end';
  queue: string;
  id: string;
  /** Lock token of the run. */
  run: string;
  pid: number;
  /** Epoch ms. */
  at: number;
}

/** One run of a job, from its start to its end, or to the end of its process. */
export interface Run {
  job: string;
  pid: number;
  fromMs: number;
  /** Epoch ms; null: it never ended, nor did its process. */
  toMs: number | null;
  /** The processor returned or threw. */
  finished: boolean;
}

export interface Verdict {
  runs: number;
  /** Jobs that never ran to an end, although they are said to have ended. */
  unfinished: string[];
  /** Jobs of which two runs were under way at one time. */
  overlapping: string[];
  /** Jobs that ran to the end more than once. */
  repeated: string[];
  /** Of these, those whose earlier run no fault had interrupted. */
  unexplained: string[];
}

/** The last line may be torn, by a full disk; what is no line of ours is no evidence. */
export function parseLedger(text: string): LedgerLine[] {
  return text.split('\n').flatMap((line) => {
    try {
      return line === '' ? [] : [JSON.parse(line) as LedgerLine];
    } catch {
      return [];
    }
  });
}

/** @param deaths when each process ended, epoch ms */
export function runsOf(lines: readonly LedgerLine[], deaths: ReadonlyMap<number, number>): Run[] {
  const runs: Run[] = [];
  const open = new Map<string, Run>();
  for (const { what, queue, id, run, pid, at } of lines) {
    const job = `${queue}/${id}`;
    const key = `${job} ${run} ${pid}`;
    if (what === 'start') {
      const begun: Run = { job, pid, fromMs: at, toMs: null, finished: false };
      open.set(key, begun);
      runs.push(begun);
      continue;
    }
    const begun = open.get(key);
    if (!begun) continue;
    begun.toMs = at;
    begun.finished = true;
    open.delete(key);
  }
  for (const run of runs) if (!run.finished) run.toMs = deaths.get(run.pid) ?? null;
  return runs;
}

/**
 * @param ended every job that BullMQ says has ended
 * @param interrupted whether a fault hit this process, or its Redis, between these times (epoch ms)
 */
export function judge(
  runs: readonly Run[],
  ended: readonly string[],
  interrupted: (pid: number, fromMs: number, toMs: number) => boolean,
): Verdict {
  const byJob = groupByJob(runs);
  const unfinished = ended.filter((job) => !byJob.get(job)?.some(({ finished }) => finished));
  const overlapping: string[] = [];
  const repeated: string[] = [];
  const unexplained: string[] = [];
  for (const [job, all] of byJob) {
    const sorted = all.toSorted((a, b) => a.fromMs - b.fromMs);
    if (sorted.some((run, at) => overlaps(run, sorted[at + 1]))) overlapping.push(job);
    const finished = sorted.filter((run) => run.finished);
    if (finished.length < 2) continue;
    repeated.push(job);
    const followed = finished.slice(0, -1);
    const isExplained = followed.every(({ pid, fromMs, toMs }, at) => {
      return interrupted(pid, fromMs, finished[at + 1]?.fromMs ?? toMs ?? fromMs);
    });
    if (!isExplained) unexplained.push(job);
  }
  return { runs: runs.length, unfinished, overlapping, repeated, unexplained };
}

function overlaps(run: Run, next: Run | undefined): boolean {
  return next !== undefined && (run.toMs === null || next.fromMs < run.toMs);
}

function groupByJob(runs: readonly Run[]): Map<string, Run[]> {
  const groups = new Map<string, Run[]>();
  for (const run of runs) {
    const list = groups.get(run.job);
    if (list) list.push(run);
    else groups.set(run.job, [run]);
  }
  return groups;
}
