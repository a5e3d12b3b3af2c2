/**
 * Prometheus' text format, version 0.0.4. Written by hand: a client library would hold a second copy of what the
 * master knows anyway, and costs it 11 MB.
 */

export interface Sample {
  labels?: Readonly<Record<string, string | number>>;
  /** null: not known, and left out. */
  value: number | null;
  /** After the family's name, for what is made of several series. */
  suffix?: '_bucket' | '_sum' | '_count';
}

export interface MetricFamily {
  /** With its unit, and `_total` for a counter. */
  name: string;
  help: string;
  type: 'gauge' | 'counter' | 'histogram' | 'summary';
  samples: readonly Sample[];
}

export const EXPOSITION_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;

/** Families of the same name become one; the first one's help and type count. */
export function expose(families: readonly MetricFamily[]): string {
  const byName = new Map<string, { head: string; lines: string[] }>();
  for (const { name, help, type, samples } of families) {
    if (!NAME.test(name)) throw new Error(`no name of a metric: ${JSON.stringify(name)}`);
    const head = `# HELP ${name} ${escapeText(help)}\n# TYPE ${name} ${type}\n`;
    const family = byName.get(name) ?? { head, lines: [] };
    byName.set(name, family);
    for (const sample of samples) {
      if (sample.value !== null) family.lines.push(line(name, sample, sample.value));
    }
  }
  return [...byName.values()].map(({ head, lines }) => head + lines.join('')).join('');
}

function line(name: string, { labels = {}, suffix }: Sample, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(String(text))}"`);
  return `${name}${suffix ?? ''}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${numberText(value)}\n`;
}

function numberText(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf';
  return String(value);
}

function escapeText(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}

function escapeLabel(text: string): string {
  return escapeText(text).replaceAll('"', '\\"');
}
