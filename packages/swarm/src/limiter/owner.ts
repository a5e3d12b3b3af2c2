/** Who holds leases: this process, or rather this copy of this module in it. */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { identityOf } from '../identity.js';

export interface Owner {
  /** Begins with the identity and a dot; unique. */
  name: string;
  /** The child's identity, so that its leases can be freed when it is dead; null: this is no child of a master. */
  child: string | null;
}

let own: Owner | null = null;

/** Known once the app is loaded; a process that a job started belongs to its child. */
export function owner(): Owner {
  if (own) return own;
  const child = process.env['SWARM_IDENTITY'] || null;
  const nonce = randomBytes(4).toString('hex');
  const identity = child ?? identityOf(hostname(), process.pid, randomBytes(4).toString('hex'));
  own = { name: `${identity.replace(/[/\s]/g, '-')}.${nonce}`, child };
  return own;
}

/** What all owners' names of a child begin with. */
export function ownersPrefix(child: string): string {
  return `${child.replace(/[/\s]/g, '-')}.`;
}
