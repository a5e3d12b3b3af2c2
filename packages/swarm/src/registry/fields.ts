/** Values of unknown making → values of a type; what is malformed gives null or a default and never throws. */

export type Fields = Readonly<Record<string, unknown>>;

export function parse(text: string | undefined): Fields | null {
  return fieldsOf(parseJson(text));
}

export function parseJson(text: string | undefined): unknown {
  try {
    return text === undefined ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

export function fieldsOf(value: unknown): Record<string, unknown> | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : null;
}

export function list<T>(value: unknown, decode: (item: unknown) => T | null): T[] {
  return Array.isArray(value) ? value.map(decode).filter((item) => item !== null) : [];
}

export function string(value: unknown, fallback = ''): string {
  return typeof value === 'string' ? value : fallback;
}

export function stringOrNull(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

export function numberOf(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

export function count(value: unknown): number {
  return Math.max(0, numberOf(value) ?? 0);
}
