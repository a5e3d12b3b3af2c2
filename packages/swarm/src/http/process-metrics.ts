/** The master's own process, under the names that all Prometheus clients use. */
import { type IntervalHistogram, monitorEventLoopDelay, performance } from 'node:perf_hooks';
import type { MetricFamily } from './exposition.js';

const RESOLUTION_MS = 20;

export class ProcessMetrics {
  readonly #delay: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });

  constructor() {
    this.#delay.enable();
  }

  collect(): MetricFamily[] {
    const { user, system } = process.cpuUsage();
    // until something was measured it is NaN
    const delayMs = Math.max(0, this.#delay.max / 1e6 - RESOLUTION_MS) || 0;
    this.#delay.reset();
    const one = (name: string, help: string, type: 'gauge' | 'counter', value: number): MetricFamily => {
      return { name, help, type, samples: [{ value }] };
    };
    return [
      one('process_cpu_seconds_total', 'CPU time of the master.', 'counter', (user + system) / 1e6),
      one(
        'process_resident_memory_bytes',
        'Resident set size of the master.',
        'gauge',
        process.memoryUsage.rss(),
      ),
      one(
        'process_start_time_seconds',
        'When the master was started, Unix time.',
        'gauge',
        performance.timeOrigin / 1_000,
      ),
      one(
        'swarm_master_event_loop_lag_seconds',
        "Longest delay of the master's event loop since the last scrape.",
        'gauge',
        delayMs / 1_000,
      ),
    ];
  }

  close(): void {
    this.#delay.disable();
  }
}
