/** Which generations serve, and what became of the roll to the newest where that is not all of it. Pure. */
import type { MasterRecord } from '../registry/schema.js';
import { cutText, safeText } from './terminal-text.js';

const MAX_WIDTH = 160;

type Rolled = Pick<MasterRecord, 'generation' | 'children' | 'rollError'>;

/** @param reason whether there is room for why it failed */
export function generationText({ generation, children, rollError }: Rolled, reason: boolean): string {
  const living = children.filter(({ state }) => state !== 'backoff' && state !== 'failed');
  const serving = [...new Set(living.map((child) => child.generation))].sort((a, b) => a - b);
  if (serving.every((each) => each === generation)) return `generation ${generation}`;
  const served = `generation ${serving.join(' and ')}`;
  if (rollError === undefined) return `${served}, rolling to ${generation}`;
  const why = reason ? `: ${safeText(rollError)}` : '';
  return cutText(`${served}, the roll to ${generation} failed${why}`, MAX_WIDTH);
}
