/** A child's death, as far as those must know it who release its jobs. Pure. */
import { type DumpRecord, whereItHangs } from '../dump.js';
import type { ChildHandle } from '../process/child-handle.js';
import type { DeathNotice } from '../protocol.js';

/** It is kept in the job's own hash, once for each of its deaths. */
const MAX_DETAIL = 200;

export function noticeOf(
  { identity, exit, waiting }: Pick<ChildHandle, 'identity' | 'exit' | 'waiting'>,
  cause: string,
  atMs: number,
  /** Of the block that it was killed for. */
  dump: Pick<DumpRecord, 'job' | 'stack' | 'native' | 'kind'> | null = null,
): DeathNotice {
  const isStuck = cause === 'stuck';
  const pinned = isStuck && dump?.job ? { queue: dump.job.queue, id: dump.job.id } : null;
  const hangsIn = isStuck && dump ? whereItHangs(dump) : '';
  const detail = hangsIn === '' ? detailOf(cause, exit) : `in ${hangsIn}`.slice(0, MAX_DETAIL);
  return { id: identity, cause, detail, atMs, waiting, pinned };
}

/** What the cause alone does not tell. */
function detailOf(cause: string, exit: ChildHandle['exit']): string {
  if (cause === 'signal') return exit?.signal ?? '';
  return cause === 'exit' && typeof exit?.code === 'number' ? `code ${exit.code}` : '';
}
