/** A child's death, as far as those must know it who release its jobs. Pure. */
import { type DumpRecord, whereItHangs } from '../dump.js';
import type { ChildHandle } from '../process/child-handle.js';
import type { DeathNotice, GivenUpJob, JobRef } from '../protocol.js';

/** It is kept in the job's own hash, once for each of its deaths. */
const MAX_DETAIL = 200;

export function noticeOf(
  child: Pick<ChildHandle, 'identity' | 'exit' | 'waiting' | 'drained' | 'uncaught'>,
  cause: string,
  atMs: number,
  /** Of the block that it was killed for. */
  dump: Pick<DumpRecord, 'job' | 'stack' | 'native' | 'kind'> | null = null,
  /** As far as they had not ended when it was last heard of. */
  givenUp: readonly GivenUpJob[] = [],
): DeathNotice {
  const { identity, exit, waiting, drained } = child;
  const isStuck = cause === 'stuck';
  const hangsIn = isStuck && dump ? whereItHangs(dump) : '';
  const detail = hangsIn === '' ? detailOf(cause, exit) : `in ${hangsIn}`.slice(0, MAX_DETAIL);
  const left = givenUp.filter(({ queue, id }) => {
    return drained?.left?.some((job) => job.queue === queue && job.id === id) ?? true;
  });
  const pinned = culpritOf(cause, dump, child.uncaught);
  return { id: identity, cause, detail, atMs, waiting, pinned, ...(left.length > 0 && { givenUp: left }) };
}

/** The one job that did it, where the evidence for this very cause names it. */
function culpritOf(
  cause: string,
  dump: Pick<DumpRecord, 'job'> | null,
  uncaught: ChildHandle['uncaught'],
): JobRef | null {
  const named = cause === 'stuck' ? dump?.job : cause === 'uncaught' ? uncaught?.job : null;
  return named ? { queue: named.queue, id: named.id } : null;
}

/** What the cause alone does not tell. */
function detailOf(cause: string, exit: ChildHandle['exit']): string {
  if (cause === 'signal') return exit?.signal ?? '';
  return cause === 'exit' && typeof exit?.code === 'number' ? `code ${exit.code}` : '';
}
