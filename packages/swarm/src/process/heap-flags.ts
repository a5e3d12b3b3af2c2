/**
 * V8's own limits for a child that has a memory limit. Pure.
 *
 * Old space. V8 lets a heap grow to a multiple of what lives in it before it collects, and takes that multiple
 * from the largest size that the heap may have: about 4 where that is 2 GB or more, as it is by default on
 * most machines, 1.3 to 1.6 for 256 MB to 1 GB. A program with 50 MB of live, busy data had a peak RSS of
 * 330 MB by default and 197 MB with `--max-old-space-size=768`; with 150 MB, 530 to
 * 730 and 347 MB. So a limit
 * makes for a small heap long before it is reached. It is put where the hard limit is: whatever lies outside
 * of the heap then makes the master act first, by a recycle or by a kill that says why, and V8's own end
 * (an abort, after it has spent its last seconds collecting) is left for where neither works. Below 256 MB the
 * multiple does not shrink any more, and an app that needs more from the start should get as far as to say so.
 *
 * Semi-space. V8 keeps up to three of them, 16 MB each by default. Smaller ones make for less memory and for
 * more collections: 2 MB ones took a quarter off the RSS of a small child under load, and programs that do
 * nothing but make objects ran at half the speed. They are given about a twentieth of the soft limit in all, as
 * powers of two, which is what V8 makes of them.
 */
import type { Limits } from '../supervisor/limits.js';

const MIB = 2 ** 20;
const MIN_OLD_SPACE_MIB = 256;
/** With a memory limit, however low, a heap may be as large as this. */
export const HEAP_FLOOR_BYTES = MIN_OLD_SPACE_MIB * MIB;
const MIN_SEMI_SPACE_MIB = 2;
const MAX_SEMI_SPACE_MIB = 16;
/** Three semi-spaces of a sixty-fourth each are a twentieth. */
const SEMI_SPACE_PART = 64;

/** V8 takes `_` for `-`, and node takes the flags from both places. */
const OWN_OLD_SPACE = /^--max[-_](old[-_]space|heap)[-_]size/;
const OWN_SEMI_SPACE = /^--(min|max)[-_](semi[-_]space|heap)[-_]size/;

/** @param nodeOptions the `NODE_OPTIONS` that the child will have */
export function heapFlags(
  { maxMemoryBytes, maxMemoryHardBytes }: Pick<Limits, 'maxMemoryBytes' | 'maxMemoryHardBytes'>,
  nodeArguments: readonly string[],
  nodeOptions = '',
): string[] {
  if (maxMemoryBytes === null) return [];
  const given = [...nodeArguments, ...nodeOptions.split(/[\s"]+/)];
  const flags: string[] = [];
  if (!given.some((flag) => OWN_OLD_SPACE.test(flag))) {
    const limitMib = Math.floor((maxMemoryHardBytes ?? maxMemoryBytes) / MIB);
    flags.push(`--max-old-space-size=${Math.max(MIN_OLD_SPACE_MIB, limitMib)}`);
  }
  if (!given.some((flag) => OWN_SEMI_SPACE.test(flag))) {
    const power = Math.round(Math.log2(maxMemoryBytes / MIB / SEMI_SPACE_PART));
    const sizeMib = Math.max(MIN_SEMI_SPACE_MIB, Math.min(MAX_SEMI_SPACE_MIB, 2 ** power));
    flags.push(`--max-semi-space-size=${sizeMib}`);
  }
  return flags;
}
