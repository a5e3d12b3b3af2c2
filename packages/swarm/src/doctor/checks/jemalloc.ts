/** Is jemalloc loaded where it was asked for; and would it help where it was not? */
import { findJemalloc } from '../../process/jemalloc.js';
import { formatBytes } from '../../units.js';
import { defineCheck, NotLookedAt, plural, type Verdict } from '../check.js';

export interface JemallocFacts {
  children: readonly {
    pid: number;
    wanted: boolean;
    loaded: boolean;
    rssBytes: number | null;
    heapUsedBytes: number | null;
  }[];
  /** The system has it. */
  isInstalled: boolean;
}

/** RSS that the heap does not explain: code, threads, buffers, and what the allocator keeps. */
const UNEXPLAINED_BYTES = 400e6;
const UNEXPLAINED_RATIO = 3;

export const jemalloc = defineCheck<JemallocFacts>({
  name: 'jemalloc',
  section: 'Machine',
  async gather(exam) {
    const children = (await exam.fleets()).flatMap((fleet) =>
      fleet.children.flatMap(({ pid, rssBytes, heapUsedBytes }) => {
        const maps = exam.machine.read(`/proc/${pid}/maps`);
        if (maps === null) return [];
        return [{ pid, wanted: fleet.jemalloc, loaded: /jemalloc/.test(maps), rssBytes, heapUsedBytes }];
      }),
    );
    if (children.length === 0) throw new NotLookedAt('no child runs on this host');
    return { children, isInstalled: isInstalled() };
  },
  judge: judgeJemalloc,
});

function isInstalled(): boolean {
  try {
    findJemalloc();
    return true;
  } catch {
    return false;
  }
}

export function judgeJemalloc({ children, isInstalled }: JemallocFacts): Verdict {
  const missing = children.filter(({ wanted, loaded }) => wanted && !loaded);
  if (missing.length > 0) {
    return {
      status: 'warn',
      found: `--jemalloc is on, and ${plural(missing.length, 'child has', 'children have')} not loaded it`,
      why: 'Those children use the allocator of the system, which gives less memory back',
      cure: [
        'see in the stderr of the children why ld.so ignores LD_PRELOAD',
        'swarm roll, if --jemalloc came later than they did',
      ],
    };
  }
  if (children.every(({ loaded }) => loaded)) return { status: 'ok', found: 'loaded in all children' };
  const bloated = children.filter(({ rssBytes, heapUsedBytes, loaded }) => {
    if (loaded || rssBytes === null || heapUsedBytes === null) return false;
    return rssBytes - heapUsedBytes > UNEXPLAINED_BYTES && rssBytes > heapUsedBytes * UNEXPLAINED_RATIO;
  });
  const [first] = bloated;
  if (!first) return { status: 'ok', found: 'not loaded, and no sign that it would help' };
  return {
    status: 'warn',
    found: `pid ${first.pid} has ${formatBytes(first.rssBytes ?? 0)} in memory, and a heap of ${formatBytes(first.heapUsedBytes ?? 0)}`,
    why: 'What is not heap is buffers, native addons, and memory that was freed in pieces too small to be given back: fragmentation',
    cure: [
      `--jemalloc${isInstalled ? '' : ' (apt-get install libjemalloc2)'}, which gives most of it back`,
      'if it goes on growing, a native addon or buffers leak: swarm ps --by-job',
    ],
  };
}
