/**
 * What the app cannot be told to run, as a child says it at its boot. No other try would end otherwise, so the master
 * stops, with the exit code of bad usage; of code that a roll brought, the roll says so, and the old children go on.
 */
import type { ChildHandle } from '../process/child-handle.js';
import type { SupervisorEvent } from '../supervisor/events.js';

export class BadUsage {
  readonly #ask: (event: SupervisorEvent) => void;
  /** Names of groups in which a child was ready once. */
  readonly #readyGroups = new Set<string>();
  #message: string | null = null;

  constructor(ask: (event: SupervisorEvent) => void) {
    this.#ask = ask;
  }

  /** In the words of the child; null: there was none. */
  get message(): string | null {
    return this.#message;
  }

  ready({ group }: ChildHandle): void {
    this.#readyGroups.add(group);
  }

  refused({ group }: ChildHandle, message: string): void {
    if (this.#readyGroups.has(group)) return;
    this.#message ??= message;
    this.#ask({ type: 'stopRequested' });
  }
}
