/**
 * Durations and sizes as people write them. A number without a unit is refused on purpose: `--timeout 25`
 * reads as 25 seconds to one person and 25 ms to the next.
 */

const DURATION_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;
const SIZE_BYTES = { KB: 1e3, MB: 1e6, GB: 1e9, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 } as const;

/** What `parseDuration` accepts, to end a sentence with. */
export const DURATION_FORMS = '250ms, 25s, 2m or 1h';
/** What `parseSize` accepts, to end a sentence with. */
export const SIZE_FORMS = '512MB, 512MiB or 1GiB (MB = 10^6 bytes, MiB = 2^20)';

/** `250ms`, `25s`, `1.5m`, `1h` → whole milliseconds; undefined: not a duration. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text);
  return match ? inUnit(match[1], DURATION_MS[match[2] as keyof typeof DURATION_MS]) : undefined;
}

/** `512MB`, `512MiB`, `1.5GiB` → whole bytes; undefined: not a size. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(KB|MB|GB|KiB|MiB|GiB)$/.exec(text);
  return match ? inUnit(match[1], SIZE_BYTES[match[2] as keyof typeof SIZE_BYTES]) : undefined;
}

function inUnit(amount: string | undefined, unit: number): number | undefined {
  const value = Math.round(Number(amount) * unit);
  return Number.isSafeInteger(value) ? value : undefined;
}

/** Shortest form that `parseDuration` reads back to the same number: `90s`, `1500ms`, `2m`. */
export function exactDuration(durationMs: number): string {
  if (durationMs === 0) return '0s';
  for (const unit of ['h', 'm', 's'] as const) {
    if (durationMs % DURATION_MS[unit] === 0) return `${durationMs / DURATION_MS[unit]}${unit}`;
  }
  return `${durationMs}ms`;
}

/** Shortest form that `parseSize` reads back to the same number: `512MB`, `512MiB`, `1.5KB`. */
export function exactSize(bytes: number): string {
  for (const unit of ['GB', 'GiB', 'MB', 'MiB', 'KB', 'KiB'] as const) {
    if (bytes % SIZE_BYTES[unit] === 0) return `${bytes / SIZE_BYTES[unit]}${unit}`;
  }
  return `${bytes / SIZE_BYTES.KB}KB`;
}

/** For people, at most two units, rounded down: `250ms`, `12s`, `3m 20s`, `5h 1m`, `2d 4h`. */
export function formatDuration(durationMs: number): string {
  const ms = Math.max(0, Math.floor(durationMs));
  if (ms < 1000) return `${ms}ms`;
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return twoUnits(seconds, 60, 'm', 1, 's');
  if (seconds < 86_400) return twoUnits(seconds, 3600, 'h', 60, 'm');
  return twoUnits(seconds, 86_400, 'd', 3600, 'h');
}

function twoUnits(
  seconds: number,
  large: number,
  largeName: string,
  small: number,
  smallName: string,
): string {
  const rest = Math.floor((seconds % large) / small);
  const whole = `${Math.floor(seconds / large)}${largeName}`;
  return rest === 0 ? whole : `${whole} ${rest}${smallName}`;
}

/** For people, always in MB so that a column compares: `612MB`, `4.2MB`. */
export function formatBytes(bytes: number): string {
  const mb = bytes / 1e6;
  return mb < 9.95 ? `${Number(mb.toFixed(1))}MB` : `${Math.round(mb)}MB`;
}

/** Of a file, for people: `340KB`, `4.2MB`. */
export function formatFileSize(bytes: number): string {
  return bytes < 1e6 ? `${Math.round(bytes / 1e3)}KB` : formatBytes(bytes);
}
