/**
 * Whom the kernel takes when memory runs out: a child, never its master, because a master that lives can
 * put the child's jobs back. Only the children's scores are raised: to lower the master's needs privileges.
 */
import fs from 'node:fs';

const MAX_SCORE = 1_000;
/** Like using three tenths of the memory more: any child comes before its master, and a large one before a small one. */
const RAISE = 300;

/** A child's score by its master's; whole numbers from -1000 to 1000. */
export function raisedScore(own: number): number {
  return Math.min(MAX_SCORE, own + RAISE);
}

/** Right after the fork, so that whatever the child starts inherits it. Does nothing where there is no such thing. */
export function raiseOomScore(pid: number): void {
  try {
    const own = Number(fs.readFileSync('/proc/self/oom_score_adj', 'utf8'));
    if (Number.isInteger(own)) fs.writeFileSync(`/proc/${pid}/oom_score_adj`, String(raisedScore(own)));
  } catch {
    // no /proc, or the child is gone already
  }
}
