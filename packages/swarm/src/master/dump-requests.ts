/** Who wants dumps of which children: an operator, by signal or command, or the supervisor. */
import type { Reply } from '../registry/command-listener.js';
import type { Effect } from '../supervisor/events.js';
import type { Block } from '../supervisor/stuck.js';
import type { Dumps } from './dumps.js';
import type { Fleet } from './fleet.js';
import type { Narrator } from './narrator.js';

/** Of a thousand signals, nobody wants a thousand dumps. */
const AT_MOST_EVERY_MS = 1_000;

export interface DumpRequestParts {
  dumps: Dumps;
  fleet: Fleet;
  narrator: Narrator;
  blockOf: (identity: string) => Block | undefined;
}

export class DumpRequests {
  readonly #parts: DumpRequestParts;
  #bySignalAtMs = Number.NEGATIVE_INFINITY;

  constructor(parts: DumpRequestParts) {
    this.#parts = parts;
  }

  bySignal(): void {
    const { fleet, dumps } = this.#parts;
    const nowMs = performance.now();
    if (nowMs - this.#bySignalAtMs < AT_MOST_EVERY_MS) return;
    this.#bySignalAtMs = nowMs;
    for (const child of fleet.all) void dumps.request(child, 'signal');
  }

  /** @param identity null: all */
  async byCommand(identity: string | null, reply: Reply): Promise<void> {
    const { fleet, dumps } = this.#parts;
    const children = fleet.all.filter((child) => identity === null || child.identity === identity);
    const taken = await Promise.all(children.map((child) => dumps.request(child, 'command')));
    const ids = taken.flatMap((dump) => (dump ? [dump.id] : []));
    if (ids.length > 0) reply({ state: 'done', message: `${ids.length} dumped`, dumps: ids });
    else
      reply({ state: 'failed', message: identity === null ? 'it has no child now' : 'this child is gone' });
  }

  bySupervisor({ identity, reason }: Extract<Effect, { type: 'dump' }>): void {
    const { fleet, dumps, narrator, blockOf } = this.#parts;
    const child = fleet.get(identity);
    const block = blockOf(identity);
    if (!child) return;
    if (block) narrator.stuck(child, block);
    void dumps.request(child, reason);
  }
}
