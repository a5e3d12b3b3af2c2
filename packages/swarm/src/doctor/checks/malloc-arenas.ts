/** How many arenas may glibc's allocator keep in each child? */
import { defineCheck, NotLookedAt, plural, type Verdict } from '../check.js';

export interface ArenasFacts {
  /** `jemalloc`: it is loaded, and there are no arenas of glibc's. */
  children: readonly { pid: number; arenas: string | null; jemalloc: boolean }[];
  cpus: number;
}

/** swarm gives its children 2. */
const MANY = 4;

export const mallocArenas = defineCheck<ArenasFacts>({
  name: 'malloc-arenas',
  section: 'Machine',
  async gather(exam) {
    const { machine } = exam;
    const header = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined;
    if (!header?.header?.glibcVersionRuntime) throw new NotLookedAt("not glibc's allocator here");
    const children = (await exam.fleets()).flatMap((fleet) =>
      fleet.children.flatMap(({ pid }) => {
        const environment = machine.environment(pid);
        if (!environment) return [];
        const jemalloc = /jemalloc/.test(machine.read(`/proc/${pid}/maps`) ?? '');
        return [{ pid, arenas: environment.get('MALLOC_ARENA_MAX') ?? null, jemalloc }];
      }),
    );
    if (children.length === 0) throw new NotLookedAt('no child runs on this host');
    const cpus = (machine.read('/proc/cpuinfo') ?? '').match(/^processor/gm)?.length ?? 1;
    return { children, cpus };
  },
  judge: judgeArenas,
});

export function judgeArenas({ children, cpus }: ArenasFacts): Verdict {
  const many = children.filter(
    ({ arenas, jemalloc }) => !jemalloc && !(Number(arenas) > 0 && Number(arenas) <= MANY),
  );
  const [first] = many;
  if (!first) {
    const all = children.every(({ jemalloc }) => jemalloc)
      ? 'jemalloc, which has no arenas of glibc'
      : 'MALLOC_ARENA_MAX is low';
    return { status: 'ok', found: all };
  }
  const value = first.arenas === null || first.arenas === '' ? 'not set' : first.arenas;
  return {
    status: 'warn',
    found: `MALLOC_ARENA_MAX is ${value} in ${plural(many.length, 'child', 'children')}: up to ${8 * cpus} arenas each`,
    why: 'Each thread that allocates gets an arena of its own, and what is freed in one is of no use to another: memory grows, and is not given back (a tenth of RSS and more)',
    cure: ['unset MALLOC_ARENA_MAX where swarm is started (it sets 2), or set it to 2', 'or --jemalloc'],
  };
}
