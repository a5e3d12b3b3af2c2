/**
 * When a suspect, a job with blame, may run: alone. While one waits or runs, nothing is fetched; the jobs
 * at work and those whose fetch is under way come to their end first. Then the suspects run one by one,
 * first come, first served, and fetching goes on. Pure.
 *
 * Rejected: to put a suspect back until nothing else runs. Another child would fetch it at once, and put it
 * back as well, for as long as all are busy.
 *
 * Invariants, as long as nobody fetches unless `mayFetch`: a suspect that runs is the only job in hand that
 * has begun, and no other can come; whoever waits gets its turn when those before it have left.
 */

export interface AloneState<Job> {
  /** Fetches under way. */
  fetching: number;
  /** How many jobs are in hand that may run beside each other. */
  beside: number;
  /** Suspects, in the order in which they came. */
  waiting: readonly Job[];
  /** The suspect whose turn it is. */
  alone: Job | null;
}

export type AloneEvent<Job> =
  | { type: 'fetchBegan' }
  /** The jobs that it brought have come before. */
  | { type: 'fetchEnded' }
  | { type: 'jobCame'; job: Job; suspect: boolean }
  | { type: 'jobLeft'; job: Job; suspect: boolean };

export function nothingInHand<Job>(): AloneState<Job> {
  return { fetching: 0, beside: 0, waiting: [], alone: null };
}

export function mayFetch({ waiting, alone }: AloneState<unknown>): boolean {
  return waiting.length === 0 && alone === null;
}

/** A suspect may begin when it is the new state's `alone`; any other job at once. */
export function step<Job>(state: AloneState<Job>, event: AloneEvent<Job>): AloneState<Job> {
  return giveTurn(react(state, event));
}

/** Spelt out: four of these a job, and a spread costs several times as much. */
function react<Job>(
  { fetching, beside, waiting, alone }: AloneState<Job>,
  event: AloneEvent<Job>,
): AloneState<Job> {
  switch (event.type) {
    case 'fetchBegan':
      return { fetching: fetching + 1, beside, waiting, alone };
    case 'fetchEnded':
      return { fetching: fetching - 1, beside, waiting, alone };
    case 'jobCame':
      if (event.suspect) return { fetching, beside, waiting: [...waiting, event.job], alone };
      return { fetching, beside: beside + 1, waiting, alone };
    case 'jobLeft':
      if (!event.suspect) return { fetching, beside: beside - 1, waiting, alone };
      return {
        fetching,
        beside,
        waiting: waiting.filter((job) => job !== event.job),
        alone: alone === event.job ? null : alone,
      };
  }
}

function giveTurn<Job>(state: AloneState<Job>): AloneState<Job> {
  const [first, ...others] = state.waiting;
  if (first === undefined || state.alone !== null || state.fetching > 0 || state.beside > 0) return state;
  return { ...state, alone: first, waiting: others };
}
