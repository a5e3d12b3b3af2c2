/** What processes have used, from the kernel's own books. */
import { readFileSync } from 'node:fs';
import { readStat } from '../../../packages/swarm/dist/process/proc.js';

/** Linux's, on every architecture that Node runs on. */
const MS_PER_TICK = 10;

/** CPU time of these processes since their start, all threads; those that are gone count nothing. */
export function cpuMs(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const stat = readStat(pid);
    return sum + (stat ? (stat.utimeTicks + stat.stimeTicks) * MS_PER_TICK : 0);
  }, 0);
}

/** CPU time that the whole machine has spent since boot, on whatever; what a hypervisor took away counts too. */
export function machineCpuMs(): number {
  const [line = ''] = readFileSync('/proc/stat', 'utf8').split('\n', 1);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softIrq = 0, stolen = 0] = line
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return (user + nice + system + irq + softIrq + stolen) * MS_PER_TICK;
}
