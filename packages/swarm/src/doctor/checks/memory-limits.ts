/** Is there room for all children at their limits, before the kernel steps in? */
import { formatBytes } from '../../units.js';
import { defineCheck, type Problem, plural, type Verdict, verdictOf } from '../check.js';
import { countOf, type Fleet } from '../fleet.js';
import type { Bound } from '../machine.js';

export interface MemoryLimitsFacts {
  fleets: readonly FleetMemory[];
  /** Of the machine; null: not told. */
  totalBytes: number | null;
  /** Heroku's, whose words for it are R14 and R15. */
  isDyno: boolean;
}

export interface FleetMemory {
  name: string;
  count: number;
  /** All children at their soft limits; null: some have none. */
  softBytes: number | null;
  /** All children at their hard limits; null: some have none. */
  hardBytes: number | null;
  /** The tightest cgroup around the master. */
  cgroup: Bound | null;
}

/** The least that the master itself takes, with what is nobody's. */
const MASTER_BYTES = 100e6;

export const memoryLimits = defineCheck<MemoryLimitsFacts>({
  name: 'memory-limits',
  section: 'Machine',
  async gather(exam) {
    const { machine, env } = exam;
    const fleets = (await exam.fleets()).map((fleet) => ({
      name: fleet.name,
      count: countOf(fleet),
      softBytes: sum(fleet, 'maxMemoryBytes'),
      hardBytes: sum(fleet, 'maxMemoryHardBytes'),
      cgroup: machine.memoryLimit(fleet.pid ?? 'self'),
    }));
    return { fleets, totalBytes: machine.memory('MemTotal'), isDyno: env['DYNO'] !== undefined };
  },
  judge: judgeMemoryLimits,
});

function sum({ groups }: Fleet, limit: 'maxMemoryBytes' | 'maxMemoryHardBytes'): number | null {
  let bytes = 0;
  for (const group of groups) {
    const own = group[limit];
    if (own === null) return null;
    bytes += group.count * own;
  }
  return bytes;
}

export function judgeMemoryLimits({ fleets, totalBytes, isDyno }: MemoryLimitsFacts): Verdict {
  const problems = fleets.flatMap((fleet) => problemOf(fleet, totalBytes) ?? []);
  const dyno = isDyno
    ? '. On Heroku a dyno above its memory swaps (error R14: everything slows down, jobs stall), and at twice that it is killed (R15)'
    : '';
  const why = `The kernel kills a process that the limit has no room for, at any moment, in the middle of its jobs; swarm lets a child finish them and replaces it, but only if its own limits come first${dyno}`;
  return verdictOf(problems, fineText(fleets, totalBytes), why);
}

function problemOf(
  { name, count, softBytes, cgroup }: FleetMemory,
  totalBytes: number | null,
): Problem | null {
  const room = roomOf(cgroup, totalBytes);
  if (softBytes === null || room === null || softBytes + MASTER_BYTES <= room.bytes) return null;
  const each = Math.floor((room.bytes - MASTER_BYTES) / count / 1e6);
  return {
    status: 'warn',
    found: `${plural(count, 'child', 'children')} of ${name} may take ${formatBytes(softBytes)} by --max-memory, and ${room.what} has ${formatBytes(room.bytes)}`,
    cure:
      each >= 64
        ? `--max-memory ${each}MB, or fewer children (--count)`
        : 'fewer children (--count), or more memory',
  };
}

function roomOf(cgroup: Bound | null, totalBytes: number | null): { bytes: number; what: string } | null {
  if (cgroup && (totalBytes === null || cgroup.value < totalBytes)) {
    return { bytes: cgroup.value, what: `its cgroup (${cgroup.file})` };
  }
  return totalBytes === null ? null : { bytes: totalBytes, what: 'the machine' };
}

function fineText(fleets: readonly FleetMemory[], totalBytes: number | null): string {
  const unlimited = fleets.filter(({ softBytes }) => softBytes === null);
  const bounded = unlimited.find(({ cgroup }) => roomOf(cgroup, totalBytes)?.what.startsWith('its cgroup'));
  if (bounded) {
    const each = Math.floor(((bounded.cgroup?.value ?? 0) - MASTER_BYTES) / bounded.count / 1e6);
    return `no --max-memory; the cgroup has ${formatBytes(bounded.cgroup?.value ?? 0)}, which is ${each}MB for each of ${bounded.count}`;
  }
  if (unlimited.length > 0) return 'no --max-memory, and no cgroup limit below the memory of the machine';
  const most = Math.max(...fleets.map(({ softBytes }) => softBytes ?? 0));
  return `all children at their limits take ${formatBytes(most)}, and there is room for it`;
}
