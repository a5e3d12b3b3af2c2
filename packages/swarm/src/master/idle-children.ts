/**
 * Children that beat and take no job although their queues have some: dumped, with the state of the fetcher, and
 * recycled. A child whose Redis does not answer it cannot know what waits: a sibling is asked. If that one hears nothing
 * either within 3 s, it is Redis, and nobody is recycled for it; and because Redis may come back just then, it takes
 * two sights of waiting jobs in a row, half a minute apart.
 */
import { randomUUID } from 'node:crypto';
import type { Logger } from '../log.js';
import type { ChildHandle } from '../process/child-handle.js';
import type { ChildMessage, NotConsuming } from '../protocol.js';
import type { SupervisorEvent } from '../supervisor/events.js';
import { type IdleRecycles, idleRecycle } from '../supervisor/idle-recycles.js';
import { where } from './narrator.js';

const ANSWER_MS = 3_000;
/** Between two alarms of one child lies half a minute, or an answer of its Redis. */
const IN_A_ROW_MS = 45_000;

export interface IdleChildrenParts {
  log: Logger;
  /** Whether it sits in its seat, takes jobs, and is to stay. */
  isSeated: (identity: string) => boolean;
  /** A child of this group, other than that, which could look at its queue; null: there is none. */
  siblingOf: (child: ChildHandle) => ChildHandle | null;
  dump: (child: ChildHandle, notes: readonly string[]) => Promise<unknown>;
  ask: (event: SupervisorEvent) => void;
}

interface Look {
  child: ChildHandle;
  alarm: NotConsuming;
  timer: NodeJS.Timeout;
}

export class IdleChildren {
  readonly #parts: IdleChildrenParts;
  /** By group. */
  readonly #recycles = new Map<string, IdleRecycles>();
  /** Questions to siblings, by id. */
  readonly #looks = new Map<string, Look>();
  /** By the child's identity: when a sibling last saw jobs that it does not. */
  readonly #seenAtMs = new Map<string, number>();

  constructor(parts: IdleChildrenParts) {
    this.#parts = parts;
  }

  /** A child has said that it does not consume. */
  hear(child: ChildHandle, { alarm }: Extract<ChildMessage, { type: 'notConsuming' }>): void {
    if (alarm.waiting !== null) return void this.#recycle(child, alarm);
    const sibling = this.#parts.siblingOf(child);
    if (!sibling) return;
    const lookId = randomUUID();
    const timer = setTimeout(() => this.#looks.delete(lookId), ANSWER_MS);
    this.#looks.set(lookId, { child, alarm, timer });
    const { queue, prefix, redisId } = alarm;
    sibling.send({ type: 'lookAtQueue', lookId, queue, prefix, redisId });
  }

  /** A sibling has looked. */
  onSeen({ lookId, waiting }: Extract<ChildMessage, { type: 'queueSeen' }>): void {
    const look = this.#looks.get(lookId);
    if (!look) return;
    clearTimeout(look.timer);
    this.#looks.delete(lookId);
    if (waiting === null || waiting === 0) return;
    const { identity, exit } = look.child;
    const nowMs = performance.now();
    const isSecond = nowMs - (this.#seenAtMs.get(identity) ?? Number.NEGATIVE_INFINITY) < IN_A_ROW_MS;
    if (!exit) this.#seenAtMs.set(identity, nowMs);
    if (isSecond) void this.#recycle(look.child, { ...look.alarm, waiting });
  }

  forget({ identity }: ChildHandle): void {
    this.#seenAtMs.delete(identity);
  }

  async #recycle(child: ChildHandle, alarm: NotConsuming): Promise<void> {
    const { log, isSeated, dump, ask } = this.#parts;
    const { slot, identity, group, beat } = child;
    if (child.exit || !isSeated(identity)) return;
    const decision = idleRecycle(this.#recycles.get(group), {
      hasWorked: (beat?.processed ?? 0) > 0,
      nowMs: performance.now(),
    });
    this.#recycles.set(group, decision.recycles);
    const { queue, waiting, forMs, state } = alarm;
    const told = { queue, waiting, for: `${forMs}ms`, recycle: decision.isAllowed, state };
    log.warn('not consuming', { ...where(child), ...told });
    if (!decision.isAllowed) return;
    await dump(child, [
      `not consuming: ${waiting} jobs wait in ${queue}, none begun for ${forMs} ms: ${state}`,
    ]);
    ask({ type: 'recycleRequested', slot, identity, detail: 'not-consuming', overlap: true });
  }
}
