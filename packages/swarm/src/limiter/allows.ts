/** A definition in words, for people. */
import { exactDuration } from '../units.js';

const PERIODS: ReadonlyMap<number, string> = new Map([
  [1_000, 'second'],
  [60_000, 'minute'],
  [3_600_000, 'hour'],
  [86_400_000, 'day'],
]);

/** `concurrent 2` → `2 at once`. */
export function allowsText(definition: string): string {
  const [type, ...numbers] = definition.split(' ');
  const [first = Number.NaN, second = Number.NaN] = numbers.map(Number);
  switch (type) {
    case 'concurrent':
      return `${first} at once`;
    case 'bucket':
      return `${first} a ${PERIODS.get(second) ?? exactDuration(second)}`;
    case 'window':
      return `${first} in any ${exactDuration(second)}`;
    case 'leaky':
      return `${first}, then ${perSecond((first * 1_000) / second)}`;
    case 'points':
      return `${first} points, ${perSecond(second)}`;
    default:
      return definition;
  }
}

function perSecond(rate: number): string {
  return rate >= 1 ? `${round(rate)} a second` : `1 each ${exactDuration(Math.round(1_000 / rate))}`;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
