/** What takes jobs from a swarm app's queues and runs them. */
export interface Consumer {
  /** Resolves when every queue is taken, on live connections. */
  start(): Promise<void>;
  /** Closes what it opened. The jobs are drained or handed back before; `force`: some of these still run. */
  close(force: boolean): Promise<void>;
}
