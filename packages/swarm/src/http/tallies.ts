/**
 * What has happened since the master started, counted for metrics: children come and go, but a counter only goes
 * up. Jobs are counted by the differences between a child's reports, so that what a dead one did stays.
 */
import { DEATH_CAUSES, type DeathCause } from '../death.js';
import type { DeathNews, MasterView, Onlooker } from '../master/onlookers.js';
import type { ChildMessage } from '../protocol.js';

export interface GroupTally {
  processed: number;
  failed: number;
  released: number;
  quarantined: number;
  handedBack: number;
  deaths: Record<DeathCause, number>;
}

export class Tallies implements Onlooker {
  /** By group. */
  readonly groups = new Map<string, GroupTally>();
  /** By identity of a child: what it had reported when it was last looked at. */
  #seen = new Map<string, { processed: number; failed: number }>();

  ticked(view: MasterView): void {
    this.look(view);
  }

  /** Brings the counts of jobs up to the children's last reports. */
  look({ children, state }: MasterView): void {
    for (const { group } of state.slots) this.#group(group);
    const living = new Map<string, { processed: number; failed: number }>();
    for (const { identity, group, processed, failed } of children) {
      this.#add(identity, group, processed, failed);
      living.set(identity, { processed, failed });
    }
    this.#seen = living;
  }

  heard(_slot: number, group: string, message: ChildMessage): void {
    if (message.type === 'released') {
      const tally = this.#group(group);
      for (const { outcome } of message.jobs) if (outcome !== 'finished') tally[outcome] += 1;
    }
    if (message.type === 'drained') this.#group(group).handedBack += message.handedBack.length;
  }

  died({ child, death }: DeathNews): void {
    const { identity, group, processed, failed } = child;
    this.#add(identity, group, processed, failed);
    this.#seen.set(identity, { processed, failed });
    this.#group(group).deaths[death.cause] += 1;
  }

  #add(identity: string, group: string, processed: number, failed: number): void {
    const before = this.#seen.get(identity) ?? { processed: 0, failed: 0 };
    const tally = this.#group(group);
    tally.processed += Math.max(0, processed - before.processed);
    tally.failed += Math.max(0, failed - before.failed);
  }

  #group(name: string): GroupTally {
    const known = this.groups.get(name);
    if (known) return known;
    const deaths = Object.fromEntries(DEATH_CAUSES.map((cause) => [cause, 0])) as Record<DeathCause, number>;
    const tally = { processed: 0, failed: 0, released: 0, quarantined: 0, handedBack: 0, deaths };
    this.groups.set(name, tally);
    return tally;
  }
}
