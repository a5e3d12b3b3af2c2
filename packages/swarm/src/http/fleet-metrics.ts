/** A master and its children as metrics. Pure: what is measured is in the view and the tallies already. */
import type { MasterView } from '../master/onlookers.js';
import type { ChildRecord } from '../registry/schema.js';
import type { SlotState } from '../supervisor/state.js';
import type { MetricFamily, Sample } from './exposition.js';
import { isTurning } from './readiness.js';
import type { GroupTally } from './tallies.js';

const SLOT_STATES: readonly SlotState[] = ['starting', 'up', 'quiet', 'stopping', 'backoff', 'failed'];

/** @param nowMs epoch ms, by the clock of the records */
export function fleetMetrics(
  view: MasterView,
  tallies: ReadonlyMap<string, GroupTally>,
  nowMs: number,
): MetricFamily[] {
  return [...masterMetrics(view), ...groupMetrics(view, tallies), ...childMetrics(view, nowMs)];
}

function masterMetrics({ info, state }: MasterView): MetricFamily[] {
  const { identity, host, tag, version, node } = info;
  const namespace = String(info.config['namespace'] ?? '');
  return [
    gauge('swarm_info', 'The master, in labels; always 1.', [
      { labels: { identity, host, tag, namespace, version, node }, value: 1 },
    ]),
    gauge('swarm_generation', 'Rolls so far.', [{ value: state.generation }]),
    gauge('swarm_rolling', '1 while a roll is under way.', [{ value: state.roll === 'none' ? 0 : 1 }]),
    gauge('swarm_quiet', '1 while the master takes no new jobs.', [
      { value: state.phase === 'quiet' ? 1 : 0 },
    ]),
    gauge('swarm_redis_up', '1 while the registry in Redis can be written.', [
      { value: state.redisLost ? 0 : 1 },
    ]),
    gauge('swarm_releases_pending', 'Dead children whose jobs are not all accounted for yet.', [
      { value: state.releases.length },
    ]),
  ];
}

function groupMetrics({ state }: MasterView, tallies: ReadonlyMap<string, GroupTally>): MetricFamily[] {
  const groups = [...new Set(state.slots.map(({ group }) => group))];
  const slots = groups.flatMap((group) =>
    SLOT_STATES.map((name): Sample => {
      const value = state.slots.filter((slot) => slot.group === group && slot.state === name).length;
      return { labels: { group, state: name }, value };
    }),
  );
  const each = (read: (tally: GroupTally) => number): Sample[] =>
    [...tallies].map(([group, tally]) => ({ labels: { group }, value: read(tally) }));
  const deaths = [...tallies].flatMap(([group, tally]) =>
    Object.entries(tally.deaths).map(([cause, value]): Sample => ({ labels: { group, cause }, value })),
  );
  return [
    gauge('swarm_slots', 'Seats for children, by what their child does.', slots),
    counter(
      'swarm_deaths_total',
      'Ends of child processes by cause; stopped, rolled and recycled are as told.',
      deaths,
    ),
    counter(
      'swarm_jobs_processed_total',
      'Runs of jobs that ended, failed ones included.',
      each((t) => t.processed),
    ),
    counter(
      'swarm_jobs_failed_total',
      'Runs of jobs that failed.',
      each((t) => t.failed),
    ),
    counter(
      'swarm_jobs_released_total',
      'Jobs of dead children that were put back.',
      each((t) => t.released),
    ),
    counter(
      'swarm_jobs_quarantined_total',
      'Jobs that failed for good because their processes died.',
      each((t) => t.quarantined),
    ),
    counter(
      'swarm_jobs_handed_back_total',
      'Unfinished jobs that a leaving child put back.',
      each((t) => t.handedBack),
    ),
  ];
}

/** Of those who have their seat: who comes to it or leaves it would be a second one with the same labels. */
function childMetrics({ state, children }: MasterView, nowMs: number): MetricFamily[] {
  const records = new Map(children.map((child) => [child.identity, child]));
  const seated = state.slots.flatMap((slot) => {
    const child = records.get(slot.child?.identity ?? '');
    return child ? [{ slot, child, labels: { slot: slot.index, group: slot.group } }] : [];
  });
  const each = (read: (child: ChildRecord) => number | null): Sample[] =>
    seated.map(({ child, labels }) => ({ labels, value: read(child) }));
  const age = (atMs: number | null): number | null =>
    atMs === null ? null : Math.max(0, nowMs - atMs) / 1_000;
  const oldest = ({ jobs }: ChildRecord): number | null =>
    jobs.length === 0 ? 0 : age(Math.min(...jobs.map(({ startedAtMs }) => startedAtMs)));
  return [
    gauge(
      'swarm_child_info',
      'The child in a slot, in labels; always 1.',
      seated.map(({ child, labels }) => {
        const { pid, generation, identity } = child;
        return { labels: { ...labels, pid, generation, identity }, value: 1 };
      }),
    ),
    gauge(
      'swarm_child_up',
      '1 while the child takes jobs and its event loop turns.',
      seated.map(({ slot, child, labels }) => {
        return { labels, value: slot.state === 'up' && isTurning(child, nowMs) ? 1 : 0 };
      }),
    ),
    gauge(
      'swarm_child_start_time_seconds',
      'When the child was started, Unix time.',
      each((c) => c.startedAtMs / 1_000),
    ),
    gauge(
      'swarm_child_beat_age_seconds',
      'Since the child last reported.',
      each((c) => age(c.beatAtMs)),
    ),
    gauge(
      'swarm_child_resident_memory_bytes',
      'Resident set size of the child.',
      each((c) => c.rssBytes),
    ),
    gauge(
      'swarm_child_proportional_memory_bytes',
      'Proportional set size of the child: shared pages are divided among those who share them.',
      each((c) => c.pssBytes),
    ),
    gauge(
      'swarm_child_heap_used_bytes',
      'V8 heap in use.',
      each((c) => c.heapUsedBytes),
    ),
    gauge(
      'swarm_child_heap_limit_bytes',
      'V8 heap limit.',
      each((c) => c.heapLimitBytes),
    ),
    gauge(
      'swarm_child_cpu_ratio',
      'CPU use over the last second; 1 is one core.',
      each((c) => scaled(c.cpuPercent, 0.01)),
    ),
    gauge(
      'swarm_child_event_loop_lag_seconds',
      'Longest delay of the event loop of late.',
      each((c) => scaled(c.loopLagMs, 0.001)),
    ),
    gauge(
      'swarm_child_event_loop_utilization_ratio',
      'Share of time that the event loop was busy.',
      each((c) => c.elu),
    ),
    gauge(
      'swarm_child_jobs_active',
      'Jobs that run in the child.',
      each((c) => c.busy),
    ),
    gauge(
      'swarm_child_jobs_limit',
      'Jobs that the child runs at once, at most.',
      each((c) => c.concurrency),
    ),
    gauge(
      'swarm_child_oldest_job_age_seconds',
      'Since the oldest running job was begun; 0: none runs.',
      each(oldest),
    ),
    counter(
      'swarm_slot_restarts_total',
      'Unplanned replacements in a slot.',
      state.slots.map(({ index, group, restarts }) => ({ labels: { slot: index, group }, value: restarts })),
    ),
  ];
}

function scaled(value: number | null, factor: number): number | null {
  return value === null ? null : value * factor;
}

function gauge(name: string, help: string, samples: readonly Sample[]): MetricFamily {
  return { name, help, type: 'gauge', samples };
}

function counter(name: string, help: string, samples: readonly Sample[]): MetricFamily {
  return { name, help, type: 'counter', samples };
}
