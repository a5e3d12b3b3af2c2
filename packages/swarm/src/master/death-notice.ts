/** A child's death, as far as those must know it who release its jobs. Pure. */
import { type DumpRecord, whereItHangs } from '../dump.js';
import type { ChildHandle } from '../process/child-handle.js';
import type { DeathNotice, GivenUpJob } from '../protocol.js';

/** It is kept in the job's own hash, once for each of its deaths. */
const MAX_DETAIL = 200;

export function noticeOf(
  { identity, exit, waiting, drained }: Pick<ChildHandle, 'identity' | 'exit' | 'waiting' | 'drained'>,
  cause: string,
  atMs: number,
  /** Of the block that it was killed for. */
  dump: Pick<DumpRecord, 'job' | 'stack' | 'native' | 'kind'> | null = null,
  /** As far as they had not ended when it was last heard of. */
  givenUp: readonly GivenUpJob[] = [],
): DeathNotice {
  const isStuck = cause === 'stuck';
  const pinned = isStuck && dump?.job ? { queue: dump.job.queue, id: dump.job.id } : null;
  const hangsIn = isStuck && dump ? whereItHangs(dump) : '';
  const detail = hangsIn === '' ? detailOf(cause, exit) : `in ${hangsIn}`.slice(0, MAX_DETAIL);
  const left = givenUp.filter(({ queue, id }) => {
    return drained?.left?.some((job) => job.queue === queue && job.id === id) ?? true;
  });
  return { id: identity, cause, detail, atMs, waiting, pinned, ...(left.length > 0 && { givenUp: left }) };
}

/** What the cause alone does not tell. */
function detailOf(cause: string, exit: ChildHandle['exit']): string {
  if (cause === 'signal') return exit?.signal ?? '';
  return cause === 'exit' && typeof exit?.code === 'number' ? `code ${exit.code}` : '';
}
