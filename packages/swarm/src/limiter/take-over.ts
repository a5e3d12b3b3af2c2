/** What the operator hears of two definitions of one limiter: once in a process, on stderr. */
import type { Definition } from './definition.js';

const MAX_SAID = 1_000;
const said = new Set<string>();

export function tellOfDefinition(
  { name, text }: Definition,
  what: 'replaced' | 'overruled',
  other: string,
): void {
  const key = JSON.stringify([name, text, what, other]);
  if (said.has(key) || said.size >= MAX_SAID) return;
  said.add(key);
  const message =
    what === 'replaced'
      ? `limiter ${JSON.stringify(name)}: "${text}" takes over from "${other}", which processes that started earlier still use, or used`
      : `limiter ${JSON.stringify(name)}: "${other}" is in force, which a process that started later has defined; here it is "${text}"`;
  process.emitWarning(message, { type: 'SwarmWarning', code: `SWARM_LIMITER_${what.toUpperCase()}` });
}
