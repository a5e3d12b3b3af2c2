/**
 * What stands between a queue and the fetch from it: a limit that holds over many processes. A place is taken
 * before the fetch, so a job that would have to wait for one is not fetched, and occupies nothing.
 *
 * Nobody waits inside `tryAcquire`: a child has other queues to work for. Who was refused is told when there may
 * be room (`onRoom`), and then tries again. What is announced to a child that has no use for it by then (full,
 * paused, leaving) would be lost to the others that wait; so the child says so (`withdraw`).
 */
import type { Cluster, Redis } from 'ioredis';

/** A place for one job. Each is given back once, by one of these; a second call does nothing, and neither throws. */
export interface Lease {
  /** The job for which it was taken has left, however it ended. */
  release(): void;
  /** No job came for it: what it has cost is given back as well. */
  cancel(): void;
  /** Aborted if the place was lost while the job runs. */
  readonly lost?: AbortSignal | undefined;
}

export interface FetchGate {
  /**
   * A place for one job at once, or null: there is none now, and `onRoom` is called when that may have changed.
   * It may be called again before that. Rejects where it cannot be asked; then it is asked again after a while.
   */
  tryAcquire(): Promise<Lease | null>;
  /** Set once, before the first `tryAcquire`. Each call is worth one `tryAcquire`; one too many does no harm. */
  onRoom(listener: () => void): void;
  /** The place that was asked for in vain, or announced since, is not wanted any more; the next `tryAcquire` asks anew. */
  withdraw(): void;
  /** Ends it: nothing is waited for or announced any more. Leases that are held live on until they are given back. */
  close(): Promise<void>;
}

/** Of a swarm app's child, what a limit may use. */
export interface GateSurroundings {
  /** The child's identity. */
  identity: string;
  /** Shared by all: never blocked on, never closed. */
  client: Redis | Cluster;
  /** Opens one more connection, for what blocks; whoever opened it closes it. */
  connect(name: string): Redis | Cluster;
}

/** What `limit` of a queue or a job name takes in `defineApp`. */
export interface FetchLimit {
  /** Called once in each child for each queue or job name that has this limit. */
  openGate(around: GateSurroundings): FetchGate;
  /** Of a job name: how long a job that came too early is delayed, ms. Default: about a second, jittered. */
  retryInMs?(): number;
}
