/** Does V8 know how much memory there is? */
import { HEAP_FLOOR_BYTES } from '../../process/heap-flags.js';
import { formatBytes } from '../../units.js';
import { defineCheck, NotLookedAt, type Problem, type Verdict, verdictOf } from '../check.js';
import type { FleetGroup } from '../fleet.js';

export interface HeapFacts {
  children: readonly ChildHeap[];
}

export interface ChildHeap {
  slot: number;
  pid: number;
  heapUsedBytes: number;
  heapLimitBytes: number;
  /** What the child may take before somebody kills it; null: anything. */
  bound: { bytes: number; what: string } | null;
  /** Nobody but swarm has chosen the heap's limit, and none would be lower. */
  isOurs: boolean;
}

/** swarm puts the old space where the hard limit is, and V8's limit counts the young space as well. */
const BEYOND = 1.3;
const NEARLY_FULL = 0.9;

export const heapLimits = defineCheck<HeapFacts>({
  name: 'heap-limits',
  section: 'Machine',
  async gather(exam) {
    const fleets = await exam.fleets();
    const children = fleets.flatMap((fleet) => {
      const cgroup = exam.machine.memoryLimit(fleet.pid ?? 'self');
      return fleet.children.flatMap(({ slot, pid, group, heapUsedBytes, heapLimitBytes }): ChildHeap[] => {
        if (heapUsedBytes === null || heapLimitBytes === null) return [];
        const limits = fleet.groups.find(({ name }) => name === group);
        const bound = boundOf(limits ?? null, cgroup?.value ?? null);
        return [{ slot, pid, heapUsedBytes, heapLimitBytes, bound, isOurs: isOurs(limits, heapLimitBytes) }];
      });
    });
    if (children.length === 0) throw new NotLookedAt('no child runs on this host');
    return { children };
  },
  judge: judgeHeaps,
});

/** swarm gives a heap no less than it takes to boot, also where the hard limit is lower: that is nobody's mistake. */
function isOurs(limits: Pick<FleetGroup, 'maxMemoryBytes'> | undefined, heapLimitBytes: number): boolean {
  const isFitted = limits !== undefined && limits.maxMemoryBytes !== null;
  return isFitted && heapLimitBytes <= HEAP_FLOOR_BYTES * BEYOND;
}

function boundOf(limits: FleetGroup | null, cgroupBytes: number | null): ChildHeap['bound'] {
  const hardBytes = limits?.maxMemoryHardBytes ?? null;
  if (hardBytes !== null && (cgroupBytes === null || hardBytes <= cgroupBytes))
    return { bytes: hardBytes, what: '--max-memory-hard' };
  return cgroupBytes === null ? null : { bytes: cgroupBytes, what: "its cgroup's limit" };
}

export function judgeHeaps({ children }: HeapFacts): Verdict {
  const problems = children.flatMap((child) => problemOf(child) ?? []);
  const most = Math.max(...children.map(({ heapUsedBytes }) => heapUsedBytes));
  const limit = Math.min(...children.map(({ heapLimitBytes }) => heapLimitBytes));
  const fine = `heaps of up to ${formatBytes(most)}, with a limit of ${formatBytes(limit)}`;
  const why =
    'V8 lets a heap grow towards the limit that it knows of before it collects in earnest: with one that is too high, the kernel or the hard limit kills first; with one that is nearly met, V8 spends its time collecting and then aborts';
  return verdictOf(problems, fine, why);
}

function problemOf({ slot, pid, heapUsedBytes, heapLimitBytes, bound, isOurs }: ChildHeap): Problem | null {
  const who = `slot ${slot} (pid ${pid})`;
  if (heapUsedBytes > heapLimitBytes * NEARLY_FULL) {
    return {
      status: 'warn',
      found: `the heap of ${who} is nearly full: ${formatBytes(heapUsedBytes)} of ${formatBytes(heapLimitBytes)}`,
      cure: `swarm heap ${pid} shows what it holds, swarm ps --by-job which job leaves it behind; if it needs as much: --node-arg --max-old-space-size=<MB>`,
    };
  }
  if (bound === null || isOurs || heapLimitBytes <= bound.bytes * BEYOND) return null;
  return {
    status: 'warn',
    found: `the heap of ${who} may grow to ${formatBytes(heapLimitBytes)}, and ${bound.what} is ${formatBytes(bound.bytes)}`,
    cure: 'set --max-memory, from which swarm sets the limit of the heap, or leave --max-old-space-size out of --node-arg and NODE_OPTIONS',
  };
}
