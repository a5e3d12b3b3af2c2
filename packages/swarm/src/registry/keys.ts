/**
 * Names of the registry's keys. All of a namespace share one hash tag, so they live in one slot of a
 * cluster and one script or pipeline can touch them together.
 */
import { usageError } from '../errors.js';

export interface RegistryKeys {
  /** zset: identity → the time at which it is stale. */
  masters: string;
  /** hash of one master. */
  master(identity: string): string;
  /** stream of requests to one master. */
  commands(identity: string): string;
  /** list of the answers to one request. */
  reply(id: string): string;
  /** string: somebody looks on just now, and wants to see more than a beat each 5 s. */
  watched: string;
  /** string: which master releases what a lost one held. */
  claim(identity: string): string;
  /** capped stream. */
  deaths: string;
  /** capped stream. */
  dumps: string;
}

export const DEFAULT_NAMESPACE = 'default';

const MAX_NAMESPACE_LENGTH = 100;

/** Throws `SWARM_BAD_NAMESPACE` (exit 64). */
export function registryKeys(namespace: string): RegistryKeys {
  const base = `swarm:{${checkNamespace(namespace)}}:`;
  return {
    masters: `${base}masters`,
    master: (identity) => `${base}master:${identity}`,
    commands: (identity) => `${base}commands:${identity}`,
    reply: (id) => `${base}reply:${id}`,
    watched: `${base}watched`,
    claim: (identity) => `${base}lost:${identity}`,
    deaths: `${base}deaths`,
    dumps: `${base}dumps`,
  };
}

/** Braces would end the hash tag early; an empty tag is none. Returns the namespace. */
export function checkNamespace(namespace: string, where = '--namespace'): string {
  const { length } = namespace;
  if (length < 1 || length > MAX_NAMESPACE_LENGTH || /[{}\s\p{C}]/u.test(namespace)) {
    const got = length > MAX_NAMESPACE_LENGTH ? `one of ${length}` : JSON.stringify(namespace);
    throw usageError(
      'SWARM_BAD_NAMESPACE',
      `${where} takes 1 to ${MAX_NAMESPACE_LENGTH} characters without spaces, control characters or braces, got ${got}`,
    );
  }
  return namespace;
}
