/** What a limiter is called and what it allows: all that Redis is told of it. */
import { type SwarmError, usageError } from '../errors.js';
import { limiterScript, type Script } from './script.js';

export const LIMITER_TYPES = ['concurrent', 'bucket', 'window', 'leaky', 'points'] as const;

export type LimiterType = (typeof LIMITER_TYPES)[number];

export interface Definition {
  name: string;
  type: LimiterType;
  /** As it is kept in Redis: the type, then its numbers. */
  text: string;
  keys: readonly string[];
}

/** Who has a lease keeps it while it renews it; of the other kinds a use is all there is. */
export function hasLeases(type: LimiterType): boolean {
  return type === 'concurrent';
}

const MAX_NAME_LENGTH = 200;

/** Throws `SWARM_BAD_LIMITER`. @param numbers checked by the caller */
export function define(type: LimiterType, name: unknown, numbers: readonly number[]): Definition {
  const checked = checkName(name, `Limiter.${type}(name, …)`);
  return { name: checked, type, text: [type, ...numbers].join(' '), keys: limiterKeys(checked, type) };
}

/** All in one slot of a cluster: the name is the hash tag. */
export function limiterKeys(name: string, type: LimiterType): string[] {
  return ['info', 'queue', ...(hasLeases(type) ? ['held', 'owners'] : ['hits'])].map(
    (key) => `swarm:limit:{${name}}:${key}`,
  );
}

/** In lists of limiters. */
export function entryOf({ type, name }: Definition): string {
  return `${type} ${name}`;
}

/** Of an entry of a list, without its numbers: whatever is in force; null: it is none. */
export function definitionOf(entry: string): Definition | null {
  const [, word, name] = /^(\w+) (.+)$/s.exec(entry) ?? [];
  const type = LIMITER_TYPES.find((known) => known === word);
  return type && name !== undefined ? { name, type, text: type, keys: limiterKeys(name, type) } : null;
}

function checkName(name: unknown, call: string): string {
  if (typeof name === 'string') {
    // braces would end the hash tag early; an empty tag is none
    if (name.length >= 1 && name.length <= MAX_NAME_LENGTH && !/[{}\p{C}]/u.test(name)) return name;
  }
  const got =
    typeof name === 'string' && name.length > MAX_NAME_LENGTH ? `one of ${name.length}` : show(name);
  throw badLimiter(
    `${call}: name takes 1 to ${MAX_NAME_LENGTH} characters without braces and control characters, got ${got}`,
  );
}

export function wholeNumber(
  value: unknown,
  { call, of, from, to }: { call: string; of: string; from: number; to: number },
): number {
  if (Number.isInteger(value) && (value as number) >= from && (value as number) <= to) return value as number;
  throw badLimiter(`${call}: ${of} takes a whole number from ${from} to ${to}, got ${show(value)}`);
}

export function positiveNumber(
  value: unknown,
  { call, of, to }: { call: string; of: string; to: number },
): number {
  if (typeof value === 'number' && value >= 1e-6 && value <= to) return value;
  throw badLimiter(`${call}: ${of} takes a number from 0.000001 to ${to}, got ${show(value)}`);
}

export function badLimiter(message: string): SwarmError {
  return usageError('SWARM_BAD_LIMITER', message);
}

export function show(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}

const scripts = new Map<LimiterType, Script>();

/** Read when it is first used: most programs have few kinds of limiters, and many have none. */
export function scriptOf(type: LimiterType): Script {
  let script = scripts.get(type);
  if (!script) {
    script = limiterScript(type);
    scripts.set(type, script);
  }
  return script;
}
