/** What the host of a virtual machine gives to others while this machine wants it: no program here can do anything about it. */
import { readFileSync } from 'node:fs';

/** Begins to count; the function says the share of all CPU time since then, null where the kernel does not tell. */
export function countStolenTime(): () => number | null {
  const before = cpuTicks();
  return () => {
    const after = cpuTicks();
    if (!before || !after || after.all === before.all) return null;
    return (after.stolen - before.stolen) / (after.all - before.all);
  };
}

/** When the host takes more than this of the machine for others, what is measured shows whom that has hit. */
export const MAX_STOLEN = 0.03;

/** Measures again, at most so many times in all, where the host has disturbed it; the last one counts. */
export async function undisturbed<T>(measure: () => Promise<T>, tries = 3): Promise<T> {
  const stolen = countStolenTime();
  const result = await measure();
  const share = stolen() ?? 0;
  if (share <= MAX_STOLEN || tries === 1) return result;
  return undisturbed(measure, tries - 1);
}

function cpuTicks(): { all: number; stolen: number } | null {
  try {
    const [line = ''] = readFileSync('/proc/stat', 'utf8').split('\n');
    // user nice system idle iowait irq softirq steal; what comes after is in the first two
    const ticks = line.split(/\s+/).slice(1, 9).map(Number);
    return { all: ticks.reduce((sum, value) => sum + value, 0), stolen: ticks[7] ?? 0 };
  } catch {
    return null;
  }
}
