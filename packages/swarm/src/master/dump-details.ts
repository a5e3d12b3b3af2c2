/**
 * What of a dump leaves the process: dumps are in Redis, in logs and in the reasons of failed jobs, where more people read
 * than may know what stands in a command line or in the path of a URL. So a program's name, and a host with the first part of the path if that
 * is a plain word (some services have the key in it); all of it only under `--dump-details`. Pure.
 */
import type { Findings } from '../dump.js';
import { maskSecrets, programOf } from '../secrets.js';

type Told = Pick<Findings, 'native' | 'processes' | 'io' | 'notes' | 'stack' | 'tops'>;

/** Passwords are left out in any case. */
export function publishedOf<T extends Told>(findings: T, details: boolean): T {
  const command = (text: string): string => (details ? maskSecrets(text) : programOf(text));
  const { native, processes, io, notes, stack, tops } = findings;
  return {
    ...findings,
    native: native && { ...native, command: native.command === null ? null : command(native.command) },
    processes: processes.map((each) => ({ ...each, command: command(each.command) })),
    io: io.map((each) => ({ ...each, what: details ? maskSecrets(each.what) : addressOf(each) })),
    notes: notes.map(maskSecrets),
    stack: stack.map(withoutCode),
    tops: tops.map(withoutCode),
  };
}

/** `GET https://host/orders/4711?…` is `GET https://host/orders/…`; names and ports stay as they are. */
export function addressOf({ type, what }: Pick<Findings['io'][number], 'type' | 'what'>): string {
  if (type === 'socket' || type === 'dns') return what;
  const [, method = '', url = ''] = /^([A-Z-]+ )?(.*)$/s.exec(what) ?? [];
  const origin = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i.exec(url)?.[0] ?? '';
  const path = url.slice(origin.length);
  const [first = ''] = path.replace(/^\//, '').split(/[/?#]/, 1);
  const start = `${method}${origin.replace(/\/\/.*@/, '//')}`;
  const rest = path.slice(1 + first.length);
  if (!isPlainWord(first) && first !== '') return `${start}/…`;
  if (rest === '') return `${start}${path}`;
  return `${start}/${first}${rest.startsWith('/') ? '/' : '?'}…`;
}

/** `orders`, `v1`: no number, and no key. */
function isPlainWord(text: string): boolean {
  return /^[A-Za-z][a-z]{0,19}(?:[_-][a-z]{1,20}){0,2}\d{0,2}$/.test(text);
}

/** The address of a module may be its code. */
function withoutCode<T extends { file: string | null }>(frame: T): T {
  return frame.file?.startsWith('data:') ? { ...frame, file: 'data:…' } : frame;
}
