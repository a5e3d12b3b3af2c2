/** Apart from the other messages' parts: the watchdog thread tells of such jobs, and loads little else. */

/** A job that a child runs now. */
export interface ActiveJob {
  queue: string;
  id: string;
  name: string;
  /** Epoch ms. */
  startedAtMs: number;
}

/** Whether they are one run of one job. */
export function isSameRun(a: Pick<ActiveJob, 'queue' | 'id' | 'startedAtMs'>, b: typeof a): boolean {
  return a.queue === b.queue && a.id === b.id && a.startedAtMs === b.startedAtMs;
}

export function isActiveJob(value: unknown): value is ActiveJob {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const { queue, id, name, startedAtMs } = value as Record<string, unknown>;
  const areTexts = [queue, id, name].every((text) => typeof text === 'string');
  return areTexts && typeof startedAtMs === 'number' && Number.isFinite(startedAtMs) && startedAtMs >= 0;
}
