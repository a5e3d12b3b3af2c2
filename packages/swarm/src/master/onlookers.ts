/**
 * Whoever looks on at a master: the service manager that started it, metrics, a program that embeds it. They see
 * each decision and what came of it, and decide nothing; one that throws is none of the children's business.
 */
import type { Logger } from '../log.js';
import type { ChildMessage } from '../protocol.js';
import type { ChildRecord, MasterInfo } from '../registry/schema.js';
import type { Effect } from '../supervisor/events.js';
import type { SupervisorState } from '../supervisor/state.js';
import type { Death } from './deaths.js';

export interface MasterView {
  readonly info: MasterInfo;
  readonly state: SupervisorState;
  /** As the registry shows them, with this host's times; made anew at each reading. */
  readonly children: readonly ChildRecord[];
}

/** A child whose process has ended. */
export interface DeathNews {
  child: ChildRecord;
  death: Death;
  code: number | null;
  signal: string | null;
}

/** Nothing here may wait. */
export interface Onlooker {
  /** After each decision. */
  decided?(effects: readonly Effect[], view: MasterView): void;
  /** Once a second. */
  ticked?(view: MasterView): void;
  /** A child said something. */
  heard?(slot: number, group: string, message: ChildMessage): void;
  died?(death: DeathNews): void;
  /** The master has nothing more to show. */
  close?(): Promise<void> | void;
}

export class Onlookers implements Onlooker {
  readonly #all: readonly Onlooker[];
  readonly #log: Logger;
  /** Of each kind of mistake the first is said. */
  readonly #said = new Set<string>();

  constructor(all: readonly Onlooker[], log: Logger) {
    this.#all = all;
    this.#log = log;
  }

  decided(effects: readonly Effect[], view: MasterView): void {
    for (const each of this.#all) this.#guard(() => each.decided?.(effects, view));
  }

  ticked(view: MasterView): void {
    for (const each of this.#all) this.#guard(() => each.ticked?.(view));
  }

  heard(slot: number, group: string, message: ChildMessage): void {
    for (const each of this.#all) this.#guard(() => each.heard?.(slot, group, message));
  }

  died(death: DeathNews): void {
    for (const each of this.#all) this.#guard(() => each.died?.(death));
  }

  #guard(show: () => void): void {
    try {
      show();
    } catch (error) {
      this.#say(error);
    }
  }

  #say(error: unknown): void {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    if (this.#said.has(text)) return;
    if (this.#said.size < 100) this.#said.add(text);
    this.#log.error('an onlooker of the master failed; supervision goes on', { error: text });
  }
}
