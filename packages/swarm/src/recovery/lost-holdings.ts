/** What children of a lost host may hold, and from when on it can be taken. Pure. */
import type { LockTimes, LostHolding, LostToken } from '../protocol.js';
import type { ChildRecord, MasterRecord } from '../registry/schema.js';

/** A living child with a busy loop renews late; so late, it has missed it. */
const MAX_LATE_MS = 5_000;
/** For locks of a child that is known to be gone. */
const ANY_MS = Number.MAX_SAFE_INTEGER;

/**
 * A Worker renews each lock once in its renewal time, so while it lives there is always the rest of the
 * lock's duration left. Where the times are not known only a lock that ran out says anything.
 */
export function takeBelowMs(lock: LockTimes | undefined): number {
  if (!lock) return 0;
  const { durationMs, renewMs } = lock;
  return Math.max(0, Math.floor(durationMs - renewMs - Math.min(MAX_LATE_MS, renewMs / 2)));
}

/** @param isGone whether the process of a child is known to be gone, whatever its locks say */
export function lostHoldingsOf(master: MasterRecord, isGone: (child: ChildRecord) => boolean): LostHolding[] {
  const byQueue = new Map<string, LostHolding>();
  const add = (
    { queue, prefix, redisId }: Pick<LostHolding, 'queue' | 'prefix' | 'redisId'>,
    token: LostToken,
    jobIds: readonly string[],
  ): void => {
    const key = holdingKey({ queue, prefix, redisId });
    const holding = byQueue.get(key) ?? { queue, prefix, redisId, tokens: [], jobIds: [] };
    byQueue.set(key, holding);
    if (!holding.tokens.some((other) => other.prefix === token.prefix)) holding.tokens.push(token);
    for (const id of jobIds) if (!holding.jobIds.includes(id)) holding.jobIds.push(id);
  };
  for (const child of master.children) {
    const gone = child.state === 'backoff' || child.state === 'failed' || isGone(child);
    for (const worker of child.workers) {
      const jobIds = child.jobs.filter(({ queue }) => queue === worker.queue).map(({ id }) => id);
      add(
        worker,
        { prefix: worker.tokenPrefix, takeBelowMs: gone ? ANY_MS : takeBelowMs(worker.lock) },
        jobIds,
      );
    }
  }
  for (const { holdings } of master.owed) {
    for (const holding of holdings) {
      for (const prefix of holding.tokenPrefixes)
        add(holding, { prefix, takeBelowMs: ANY_MS }, holding.jobIds);
    }
  }
  return [...byQueue.values()];
}

export function holdingKey({
  queue,
  prefix,
  redisId,
}: Pick<LostHolding, 'queue' | 'prefix' | 'redisId'>): string {
  return JSON.stringify([redisId, prefix, queue]);
}
