/** Releases that fail: one trouble, however many dead children wait and however often it is tried. */
import type { LogFields, Logger } from '../log.js';
import { Repeats } from './repeats.js';

const KIND = 'release';

export class ReleaseTrouble {
  readonly #repeats: Repeats;
  /** Whose jobs could not be released at the last try. */
  readonly #owners = new Set<string>();

  constructor(log: Logger) {
    this.#repeats = new Repeats(log);
  }

  /** @param by the fields of the child that could not */
  failed(by: LogFields, owner: string, error: string): void {
    this.#owners.add(owner);
    const waiting = this.#owners.size;
    this.#repeats.warn(KIND, 'release failed, another try follows', {
      ...by,
      owner,
      owners: waiting > 1 ? waiting : undefined,
      error,
    });
  }

  /** It succeeded, or nobody tries any more. */
  ended(owner: string): void {
    if (this.#owners.delete(owner) && this.#owners.size === 0)
      this.#repeats.over(KIND, 'releases succeed again');
  }
}
