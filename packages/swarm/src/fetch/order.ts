/**
 * Which queue the next job comes from. Pure; randomness is an argument.
 *
 * Strict: the first queue, as listed, that has a job. Weighted: a draw among those that have one, so that what an
 * idle queue would get goes to the others in proportion to their weights.
 *
 * A draw may be kept for several jobs of a place: the script that ends one job fetches the next of the same queue,
 * which is half of the cost. How many is settled before it is drawn, and depends on nothing that the draw decides, so
 * in the long run each queue still gets its share of jobs exactly. Rejected: to keep a draw for a time. A
 * queue of short jobs would get more of them than its weight says.
 */

export interface Order {
  /** One a queue, in the order of the queues; null: strict. */
  readonly weights: readonly number[] | null;
}

/** No weight anywhere: strict. Any: weighted, 1 where none is given. */
export function orderOf(weights: readonly (number | null)[]): Order {
  const isStrict = weights.every((weight) => weight === null);
  return { weights: isStrict ? null : weights.map((weight) => weight ?? 1) };
}

/**
 * The index of a queue, or -1 where none is open.
 *
 * @param random at least 0, less than 1
 */
export function pick(
  { weights }: Order,
  isOpen: (index: number) => boolean,
  count: number,
  random: number,
): number {
  let total = 0;
  let last = -1;
  for (let index = 0; index < count; index += 1) {
    if (!isOpen(index)) continue;
    if (weights === null) return index;
    total += weights[index] ?? 0;
    last = index;
  }
  let left = random * total;
  for (let index = 0; index < last; index += 1) {
    if (!isOpen(index)) continue;
    left -= weights?.[index] ?? 0;
    if (left < 0) return index;
  }
  return last;
}

/** Longer blocks save little more, and let a place serve one queue for too long. */
const MAX_BLOCK_JOBS = 16;
/** Some place draws as often as this, if jobs are short enough for that. */
const DRAW_EVERY_MS = 10;

/**
 * For how many jobs of one place a draw is kept; 0: nothing is drawn.
 *
 * @param jobMs what jobs have taken of late, of whatever queue
 */
export function blockJobs({ weights }: Order, jobMs: number, places: number): number {
  if (weights === null) return 0;
  const jobs = Math.floor((DRAW_EVERY_MS * places) / Math.max(jobMs, 0.1));
  return Math.max(1, Math.min(MAX_BLOCK_JOBS, jobs));
}
