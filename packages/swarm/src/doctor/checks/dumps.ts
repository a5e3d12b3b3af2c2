/** What hung in the last day, by the dumps that were taken of it. Those that somebody asked for tell of no trouble. */
import { type DumpRecord, whereItHangs } from '../../dump.js';
import { formatDuration } from '../../units.js';
import { defineCheck, listed, plural, type Verdict } from '../check.js';

export interface DumpsFacts {
  /** Of the last day, the newest first. */
  dumps: readonly Pick<
    DumpRecord,
    'trigger' | 'kind' | 'atMs' | 'pid' | 'blockedMs' | 'job' | 'stack' | 'native'
  >[];
  nowMs: number;
}

const ASKED_FOR: ReadonlySet<string> = new Set(['signal', 'command']);
/** Of the machine's, not of the code's. */
const NOT_CODE: ReadonlySet<string> = new Set(['stopped', 'starved', 'debugger']);

export const dumps = defineCheck<DumpsFacts>({
  name: 'dumps',
  section: 'Fleet',
  async gather(exam) {
    const { dumps } = await exam.dumps();
    const { redisTimeMs: nowMs } = await exam.snapshot();
    return { dumps, nowMs };
  },
  judge: judgeDumps,
});

export function judgeDumps({ dumps, nowMs }: DumpsFacts): Verdict {
  const own = dumps.filter(({ trigger }) => !ASKED_FOR.has(trigger));
  const [newest] = own;
  if (!newest) return { status: 'ok', found: 'nothing hung in the last day' };
  const longest = Math.max(...own.map(({ blockedMs }) => blockedMs));
  const places = new Map<string, number>();
  for (const dump of own) {
    const place = NOT_CODE.has(dump.kind) ? `the process was ${dump.kind}` : whereItHangs(dump) || dump.kind;
    places.set(place, (places.get(place) ?? 0) + 1);
  }
  const sorted = [...places].sort(([, a], [, b]) => b - a);
  const jobs = [...new Set(own.flatMap(({ job }) => (job ? [`${job.queue} ${job.name}`.trim()] : [])))];
  return {
    status: 'warn',
    found: `${plural(own.length, 'dump')} of children that hung in the last day, for up to ${formatDuration(longest)}`,
    details: [
      ...sorted.slice(0, 3).map(([place, count]) => `${count} × ${place}`),
      ...(jobs.length > 0 ? [`jobs: ${listed(jobs)}`] : []),
      `the last: pid ${newest.pid}, ${formatDuration(nowMs - newest.atMs)} ago`,
    ],
    why: 'While its loop stands, a child takes no job and answers nobody; its locks outlive that only as long as others extend them',
    cure: [
      `swarm dumps ${newest.pid} shows the stack and the job`,
      'split what computes for long (setImmediate between the parts), move it into a worker thread; replace what waits synchronously (execSync, readFileSync of a pipe)',
    ],
  };
}
