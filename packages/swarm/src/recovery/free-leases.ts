/**
 * Frees the limiter leases of a dead child: the second step of its release, as harmless as the first when it is
 * done twice. The child's lease index says where to look, on whatever Redis its limiters are.
 */
import { copies, type LimiterCopy } from '../limiter/meeting.js';

/** Of the two seconds that an app has to close. */
const LEAVE_MS = 500;

/** @param usesLimits the dead child said so: looked for even if nobody here has used a limiter yet */
export async function freeLeases(child: string, usesLimits: boolean): Promise<number> {
  const all = copies().length > 0 || !usesLimits ? copies() : await ownCopy();
  const freed = await Promise.all(all.map((copy) => copy.free(child, usesLimits)));
  return freed.reduce((sum, count) => sum + count, 0);
}

/** The app of this child has not loaded one: it does when it needs it. */
async function ownCopy(): Promise<LimiterCopy[]> {
  await import('../limiter/connection.js');
  return copies();
}

/** What this child still holds when it leaves, because its work goes on after its job was handed back. Never rejects. */
export async function freeOwnLeases(): Promise<void> {
  const leaving = Promise.all(copies().map((copy) => copy.leave())).catch(() => {
    // they end by themselves
  });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, LEAVE_MS);
  });
  await Promise.race([leaving, late]);
  clearTimeout(timer);
}
