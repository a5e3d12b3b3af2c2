/** What a child was over, in a line for the record of its end. Pure. */
import type { JobMemoryRecord } from '../registry/schema.js';
import type { Bounds, Excess, Reading } from '../supervisor/limits.js';
import { formatBytes, formatDuration } from '../units.js';

const MAX_KINDS = 3;
const MAX_NAME_LENGTH = 60;

export interface ExcessFacts {
  excess: Excess | 'max-memory-hard';
  reading: Reading;
  bounds: Pick<Bounds, 'softBytes' | 'hardBytes' | 'jobs' | 'ageMs'>;
  jobsDone: number;
  ageMs: number;
  /** Of all children of the master, those kinds of jobs first that leave most behind. */
  growth: readonly JobMemoryRecord[];
}

export function excessWords({ excess, reading, bounds, jobsDone, ageMs, growth }: ExcessFacts): string {
  const { rssBytes, pssBytes } = reading;
  switch (excess) {
    case 'max-memory': {
      const size = pssBytes === null ? `RSS ${bytes(rssBytes)}` : `PSS ${bytes(pssBytes)}`;
      const rss = pssBytes === null ? '' : `, RSS ${bytes(rssBytes)}`;
      return `max-memory: ${size} of ${bytes(bounds.softBytes)}${rss}, ${jobsDone} jobs done${growthWords(growth)}`;
    }
    case 'max-memory-hard':
      return `RSS ${bytes(rssBytes)} of ${bytes(bounds.hardBytes)}, ${jobsDone} jobs done${growthWords(growth)}`;
    case 'max-jobs':
      return `max-jobs: ${jobsDone} jobs done of ${bounds.jobs ?? 'none'}`;
    case 'max-age':
      return `max-age: ${formatDuration(ageMs)} of ${formatDuration(bounds.ageMs ?? 0)}`;
  }
}

function growthWords(growth: readonly JobMemoryRecord[]): string {
  const kinds = growth.filter(({ medianBytes }) => medianBytes > 0).slice(0, MAX_KINDS);
  if (kinds.length === 0) return '';
  const listed = kinds.map(({ queue, name, medianBytes, runs, approximate }) => {
    const kind = `${queue}/${name}`.slice(0, MAX_NAME_LENGTH);
    return `${kind} ${approximate ? 'about ' : ''}${bytes(medianBytes)} (${runs} runs)`;
  });
  return `; a run leaves behind, in all children: ${listed.join(', ')}`;
}

function bytes(value: number | null): string {
  return value === null ? 'unknown' : formatBytes(value);
}
