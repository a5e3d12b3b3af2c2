/** One run of a job of a swarm app: its turn, a place under the limit of its name, and then the app's processor. */
import type { Job } from 'bullmq';
import type { JobContext, Processor } from '../app.js';
import type { FetchGate, Lease } from './gate.js';

/** The limit of a job name. It can be seen only once the job is there. */
export interface NameGate {
  gate: FetchGate;
  retryInMs(): number;
}

export interface AppQueue {
  name: string;
  /** null: none was given for it. */
  weight: number | null;
  process: Processor;
  /** Jobs of it at once in this child; null: as many as it has places. */
  maxActive: number | null;
  gate: FetchGate | null;
  nameGates: ReadonlyMap<string, NameGate>;
  /** Options of BullMQ's Worker. */
  worker: object;
}

/** A job that is back in its queue although it never began; by this name BullMQ knows that it has moved. */
class MovedError extends Error {
  override readonly name = 'DelayedError';
}

/** Puts a job that must not begin here back; never resolves. */
export async function giveBack(job: Job, token: string, wake: () => Promise<void>): Promise<never> {
  await job.moveToWait(token);
  await wake();
  throw new MovedError('put back before it began');
}

/**
 * A limit that cannot be asked is one without room for a while: the job has done nothing that it could fail for.
 *
 * @param run what it is given is aborted if the place under the limit is lost
 * @param onUnasked why the limit could not be asked
 */
export async function runLimited(
  { gate, retryInMs }: NameGate,
  job: Job,
  token: string,
  run: (lost: AbortSignal | undefined) => unknown,
  onUnasked: (error: unknown) => void,
): Promise<unknown> {
  let lease: Lease | null = null;
  let inMs = retryInMs;
  try {
    lease = await gate.tryAcquire();
  } catch (error) {
    onUnasked(error);
    inMs = defaultRetryInMs;
  }
  if (!lease) {
    // nobody waits for it here
    gate.withdraw();
    await job.moveToDelayed(Date.now() + Math.max(1, Math.round(inMs())), token);
    throw new MovedError(`no room for jobs named ${job.name}`);
  }
  try {
    return await run(lease.lost);
  } finally {
    lease.release();
  }
}

/** About a second, so that jobs which came together do not come back together. */
export function defaultRetryInMs(): number {
  return 500 + Math.random() * 1_000;
}

/** The signal is made when it is asked for: most processors never do, and it costs more than all else here. */
export class LazyContext implements JobContext {
  readonly #signals: () => (AbortSignal | undefined)[];
  #signal: AbortSignal | null = null;

  /** @param signals any of them aborts it */
  constructor(signals: () => (AbortSignal | undefined)[]) {
    this.#signals = signals;
  }

  get signal(): AbortSignal {
    this.#signal ??= oneOf(this.#signals().filter((signal) => signal !== undefined));
    return this.#signal;
  }

  /** The same, and aborted by this one too. */
  with(signal: AbortSignal | undefined): LazyContext {
    return signal ? new LazyContext(() => [...this.#signals(), signal]) : this;
  }
}

function oneOf(signals: AbortSignal[]): AbortSignal {
  const [only] = signals;
  return only && signals.length === 1 ? only : AbortSignal.any(signals);
}
