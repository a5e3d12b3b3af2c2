/**
 * When a service manager is told what: the whole protocol of sd_notify(3) that swarm speaks, as a pure function
 * of what was told before, what is so now, and the time.
 *
 * Time is asked for in small portions, again and again, and only while there is progress: a master that hangs in
 * its stop loses the rest of its budget, and one that hangs at any other time is restarted by the watchdog.
 */
import type { ServiceFacts } from './service-facts.js';

/** Assignments of one datagram. Of what they set, only the last value counts. */
export type Notice = Readonly<Record<string, string>>;

export interface ServiceMemory {
  /** READY was said once. */
  wasReady: boolean;
  isReloading: boolean;
  isStopping: boolean;
  headline: string | null;
  status: string | null;
  statusAtMs: number;
  extendedAtMs: number;
  fedAtMs: number;
}

const NEVER = Number.NEGATIVE_INFINITY;

export const NOTHING_TOLD: ServiceMemory = {
  wasReady: false,
  isReloading: false,
  isStopping: false,
  headline: null,
  status: null,
  statusAtMs: NEVER,
  extendedAtMs: NEVER,
  fedAtMs: NEVER,
};

/** A portion of time, and how long before its end the next one is asked for. */
const EXTEND_BY_MS = 15_000;
const EXTEND_EVERY_MS = 5_000;
/** Each notice is a process. */
const FIGURES_EVERY_MS = 10_000;
const HEADLINE_EVERY_MS = 1_000;
/** So often within its period, the watchdog is fed: one that got lost is made up for. */
const FEEDS_A_PERIOD = 3;

/**
 * @param nowMs monotonic, of the clock that systemd has (CLOCK_MONOTONIC)
 * @param watchdogMs null: there is none
 */
export function nextNotice(
  told: ServiceMemory,
  facts: ServiceFacts,
  nowMs: number,
  watchdogMs: number | null,
): { told: ServiceMemory; notice: Notice | null } {
  const change = lifecycle(told, facts, nowMs);
  const notice = {
    ...change,
    ...status(told, facts, nowMs),
    // another time limit holds from here on
    ...extension(Object.keys(change).length > 0 ? { ...told, extendedAtMs: NEVER } : told, facts, nowMs),
    ...watchdog(told, facts, nowMs, watchdogMs),
  };
  if (Object.keys(notice).length === 0) return { told, notice: null };
  const has = (name: string): boolean => name in notice;
  const isReloading = has('RELOADING') || (told.isReloading && !has('READY') && !has('STOPPING'));
  return {
    notice,
    told: {
      wasReady: told.wasReady || has('READY'),
      isReloading,
      isStopping: told.isStopping || has('STOPPING'),
      headline: has('STATUS') ? facts.headline : told.headline,
      status: has('STATUS') ? facts.headline + facts.figures : told.status,
      statusAtMs: has('STATUS') ? nowMs : told.statusAtMs,
      extendedAtMs: has('EXTEND_TIMEOUT_USEC') ? nowMs : told.extendedAtMs,
      fedAtMs: has('WATCHDOG') ? nowMs : told.fedAtMs,
    },
  };
}

function lifecycle(told: ServiceMemory, facts: ServiceFacts, nowMs: number): Notice {
  const { phase, isReady, isRolling } = facts;
  if (phase === 'stopping' || phase === 'stopped') return told.isStopping ? {} : { STOPPING: '1' };
  if (!told.wasReady) return isReady ? { READY: '1' } : {};
  if (isRolling && !told.isReloading)
    return { RELOADING: '1', MONOTONIC_USEC: String(Math.round(nowMs * 1_000)) };
  return !isRolling && told.isReloading ? { READY: '1' } : {};
}

function status(told: ServiceMemory, { headline, figures }: ServiceFacts, nowMs: number): Notice {
  if (headline + figures === told.status) return {};
  const everyMs = headline === told.headline ? FIGURES_EVERY_MS : HEADLINE_EVERY_MS;
  return nowMs - told.statusAtMs < everyMs ? {} : { STATUS: headline + figures };
}

/** A start, a roll and a stop have time limits; what they take is ours to bound. */
function extension(told: ServiceMemory, facts: ServiceFacts, nowMs: number): Notice {
  const { phase, isReady, isRolling, canProgress } = facts;
  const isTimed = (!told.wasReady && !isReady) || isRolling || phase === 'stopping' || phase === 'stopped';
  if (!isTimed || !canProgress || nowMs - told.extendedAtMs < EXTEND_EVERY_MS) return {};
  return { EXTEND_TIMEOUT_USEC: String(EXTEND_BY_MS * 1_000) };
}

function watchdog(
  told: ServiceMemory,
  { canProgress }: ServiceFacts,
  nowMs: number,
  periodMs: number | null,
): Notice {
  const isDue = periodMs !== null && nowMs - told.fedAtMs >= periodMs / FEEDS_A_PERIOD;
  return isDue && canProgress ? { WATCHDOG: '1' } : {};
}
