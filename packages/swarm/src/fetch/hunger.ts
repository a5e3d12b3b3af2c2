/**
 * When a fetcher must be called one that does not fetch: it has room, nothing keeps it, jobs have waited in its queues
 * at every look for a while, and it has begun none. Pure.
 *
 * What it costs: nothing while jobs are begun; then one question to Redis for each queue at each look. The answer is
 * read at the next look.
 *
 * Invariant: whatever explains the silence starts the time anew. That is a job that began, no room, a pause, a limit,
 * an error of the Worker's own, a look that is late (the loop was blocked, the machine suspended), and an answer that was
 * long in coming (Redis was away).
 */

export const LOOK_MS = 10_000;
/** A look after a longer pause is late. */
const ON_TIME_MS = 1.5 * LOOK_MS;
/** BullMQ's own wait for jobs may take 10 s, and 15 s after an error of the connection. */
const LEAST_MS = 30_000;
const TIMES_USUAL = 10;

/** What became of the last question. */
export type QueueAnswer =
  | { kind: 'none' | 'pending' | 'failed' }
  /** How many jobs could be fetched. */
  | { kind: 'waiting'; jobs: number };

export interface FetcherSight {
  /** Monotonic. */
  atMs: number;
  /** Jobs begun so far. */
  begun: number;
  /** It could begin one more, as far as it is known in this process. */
  isFree: boolean;
  /** Its Workers have reported an error since the last look. */
  hadTrouble: boolean;
  /** How long a job commonly waits that could be begun. */
  usualWaitMs: number;
  answer: QueueAnswer;
}

export interface Hunger {
  atMs: number;
  begun: number;
  /** Since when jobs have waited at every look, or nobody has answered; null: they have not. */
  sinceMs: number | null;
  /** The last question was not answered at the last look. */
  wasPending: boolean;
}

/** `waiting` null: Redis does not answer this fetcher. */
export interface Alarm {
  waiting: number | null;
  forMs: number;
}

export function startHunger({ atMs, begun }: Pick<FetcherSight, 'atMs' | 'begun'>): Hunger {
  return { atMs, begun, sinceMs: null, wasPending: false };
}

/** @returns `asks`: Redis is to be asked what waits */
export function lookAtFetcher(
  before: Hunger,
  sight: FetcherSight,
): { hunger: Hunger; asks: boolean; alarm: Alarm | null } {
  const { atMs, begun, answer } = sight;
  const isPending = answer.kind === 'pending';
  const isExplained =
    atMs - before.atMs > ON_TIME_MS || begun !== before.begun || !sight.isFree || sight.hadTrouble;
  if (isExplained) return { hunger: startHunger(sight), asks: false, alarm: null };
  const isHungry = isPending || (answer.kind === 'waiting' && answer.jobs > 0 && !before.wasPending);
  // the question was asked at the last look
  const sinceMs = isHungry ? (before.sinceMs ?? before.atMs) : null;
  const forMs = sinceMs === null ? 0 : atMs - sinceMs;
  const isAlarm = sinceMs !== null && forMs >= Math.max(LEAST_MS, TIMES_USUAL * sight.usualWaitMs);
  const hunger: Hunger = { atMs, begun, sinceMs: isAlarm ? atMs : sinceMs, wasPending: isPending };
  const waiting = answer.kind === 'waiting' ? answer.jobs : null;
  return { hunger, asks: !isPending, alarm: isAlarm ? { waiting, forMs } : null };
}
