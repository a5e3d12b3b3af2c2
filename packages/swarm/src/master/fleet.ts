/**
 * The processes behind the process table. The supervisor's state says where each child sits and what it was told;
 * here are its handle, what was last measured of it, and who sat in a seat before. It decides nothing.
 */
import type { ChildHandle } from '../process/child-handle.js';
import type { Sample } from '../process/memory.js';
import type { Helper } from '../recovery/lost-hosts.js';
import type { ChildRecord, LastDeath } from '../registry/schema.js';
import { type Child, childrenOf, isSeated, type Slot, type SupervisorState } from '../supervisor/state.js';
import { where } from './narrator.js';
import { childRecord, emptySeatRecord } from './records.js';

/** What the process table says of a child, for those who want something of it. */
export interface Standing {
  isReady: boolean;
  /** It was killed, or told to leave. */
  isLeaving: boolean;
  blockedMs: number;
}

export class Fleet {
  /** By pid. */
  readonly samples = new Map<number, Sample>();
  /** By identity. */
  readonly #children = new Map<string, ChildHandle>();
  /** By slot: who sat there before, and how it ended. */
  readonly #last = new Map<number, { record: ChildRecord; death: LastDeath }>();
  readonly #state: () => SupervisorState;

  constructor(state: () => SupervisorState) {
    this.#state = state;
  }

  get all(): ChildHandle[] {
    return [...this.#children.values()];
  }

  get(identity: string): ChildHandle | undefined {
    return this.#children.get(identity);
  }

  add(child: ChildHandle): void {
    this.#children.set(child.identity, child);
  }

  remove({ identity, pid }: ChildHandle): void {
    this.#children.delete(identity);
    this.samples.delete(pid);
  }

  slot(index: number): Slot | undefined {
    return this.#state().slots.find((slot) => slot.index === index);
  }

  /** What the supervisor has told it; null: it sits nowhere any more. */
  told({ slot: index, identity }: Pick<ChildHandle, 'slot' | 'identity'>): Child | null {
    const slot = this.slot(index);
    return (slot && childrenOf(slot).find((child) => child.identity === identity)) ?? null;
  }

  /** Its end; null: its slot is gone too. */
  bury(child: ChildHandle, death: LastDeath): ChildRecord | null {
    const slot = this.slot(child.slot);
    if (!slot) return null;
    const record = childRecord(slot, child, this.samples.get(child.pid), death);
    this.#last.set(child.slot, { record, death });
    return record;
  }

  /** Jobs that run, as of what was last heard of each child. */
  get busy(): number {
    return this.all.reduce((sum, { beat, jobs }) => sum + Math.max(beat?.busy ?? 0, jobs.length), 0);
  }

  /** As the registry shows them, with this host's times. */
  get records(): ChildRecord[] {
    return this.#state().slots.flatMap((slot) => this.#recordsOf(slot));
  }

  isSeated(identity: string): boolean {
    return isSeated(this.#state(), identity);
  }

  standingOf(child: ChildHandle): Standing {
    const told = this.told(child);
    return {
      isReady: child.readyAtMs !== null,
      isLeaving: !told || told.killedFor !== null || told.leavesFor !== null,
      blockedMs: this.#state().blocks[child.identity]?.blockedMs ?? 0,
    };
  }

  /** Children that go on, and whose bullmq can put jobs back. */
  get helpers(): Helper[] {
    return this.#state()
      .slots.flatMap(childrenOf)
      .flatMap((child) => {
        const { identity, readyAtMs, canRelease, killedFor, leavesFor } = child;
        const isAble = readyAtMs !== null && canRelease && killedFor === null && leavesFor === null;
        const handle = this.#children.get(identity);
        return isAble && handle ? [{ identity, workers: handle.workers }] : [];
      });
  }

  /** One that could do something in its place. */
  siblingOf({ identity, group }: ChildHandle): ChildHandle | null {
    const helpers = this.helpers.map((helper) => this.#children.get(helper.identity));
    const siblings = helpers.filter((other) => other?.group === group && other.identity !== identity);
    return siblings.find((other) => other && !this.#state().blocks[other.identity]) ?? null;
  }

  /** For a log line about a slot. */
  where(index: number | null): { slot?: number; generation?: number; pid?: number } {
    if (index === null) return {};
    const child = this.#children.get(this.slot(index)?.child?.identity ?? '');
    return child ? where(child) : { slot: index };
  }

  /** Whoever sits in a slot, comes to it or leaves it; an empty one shows its last child. */
  #recordsOf(slot: Slot): ChildRecord[] {
    const last = this.#last.get(slot.index);
    const record = (child: ChildHandle): ChildRecord => {
      const block = this.#state().blocks[child.identity];
      return childRecord(slot, child, this.samples.get(child.pid), last?.death ?? null, block);
    };
    const records = childrenOf(slot).flatMap(({ identity }) => {
      const child = this.#children.get(identity);
      return child ? [record(child)] : [];
    });
    if (records.length > 0 || !last) return records;
    return [emptySeatRecord(slot, last.record, last.death)];
  }
}
