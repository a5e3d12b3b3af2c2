/** Of jobs of a swarm app. Renewed at half of it: a loop that is blocked for less than 30 s loses no job. */
export const LOCK_DURATION_MS = 60_000;

/** What takes jobs from a swarm app's queues and runs them. */
export interface Consumer {
  /** Resolves when every queue is taken, on live connections. */
  start(): Promise<void>;
  /** Closes what it opened. The jobs are drained or handed back before; `force`: some of these still run. */
  close(force: boolean): Promise<void>;
  /**
   * Why nothing is fetched from this queue for now although it may have jobs: a limit has no room, a job runs alone, all
   * places are taken … null: nothing keeps it. A child that fetches nothing without a reason is recycled.
   */
  heldUp(queue: string): string | null;
}
