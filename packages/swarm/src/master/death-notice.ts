/** A child's death, as far as those must know it who release its jobs. Pure. */
import type { ChildHandle } from '../process/child-handle.js';
import type { DeathNotice } from '../protocol.js';

export function noticeOf(
  { identity, exit, waiting }: Pick<ChildHandle, 'identity' | 'exit' | 'waiting'>,
  cause: string,
  atMs: number,
): DeathNotice {
  return { id: identity, cause, detail: detailOf(cause, exit), atMs, waiting, pinned: null };
}

/** What the cause alone does not tell. */
function detailOf(cause: string, exit: ChildHandle['exit']): string {
  if (cause === 'signal') return exit?.signal ?? '';
  return cause === 'exit' && typeof exit?.code === 'number' ? `code ${exit.code}` : '';
}
