/**
 * Whom the kernel killed for want of memory, by its own log. `/dev/kmsg` needs root, or a kernel without
 * `dmesg_restrict`, and in most containers is not there at all; so this is evidence where it can be had.
 *
 * The log names pids of the initial pid namespace: in any other it is not read, because the same number
 * would be another process.
 */
import fs from 'node:fs';
import { readPidNamespace } from './proc.js';

/** The kernel's own constant (PROC_PID_INIT_INO). */
const INITIAL_PID_NAMESPACE = '4026531836';
/** The kernel gives no longer record. */
const MAX_RECORD_BYTES = 8 * 1024;
/** In one go; a log that is written faster than this is read in parts. */
const MAX_RECORDS = 2_000;

export interface OomVictim {
  pid: number;
  /** Path of its memory cgroup, where the log says it. */
  cgroup: string | null;
  /** At the kill. */
  anonRssBytes: number | null;
  /** The kernel's line. */
  text: string;
}

/**
 * The text of a record of `/dev/kmsg`, `6,1234,56789,-;text`, without what a driver adds on further lines.
 * null: it is not the kernel's: anybody with root can write to its log, under another facility.
 */
export function parseRecord(record: string): string | null {
  const match = /^(\d+),[^;\n]*;([^\n]*)/.exec(record);
  if (!match) return null;
  return Number(match[1]) < 8 ? (match[2] ?? '') : null;
}

/**
 * A line that names a victim. There are two for each: `oom-kill:…,task_memcg=/a,task=node,pid=1,uid=0`, which
 * may be left out when many are written, and `… Killed process 1 (node) … anon-rss:1kB …`.
 */
export function parseOomLine(text: string): OomVictim | null {
  const killed =
    /^(?:Memory cgroup out of memory|Out of memory(?: \([^)]*\))?): Killed process (\d+) \(.*\) (.*)$/.exec(
      text,
    );
  if (killed) {
    const anonKib = /\banon-rss:(\d+)kB/.exec(killed[2] ?? '')?.[1];
    return {
      pid: Number(killed[1]),
      cgroup: null,
      anonRssBytes: anonKib === undefined ? null : Number(anonKib) * 1_024,
      text,
    };
  }
  const summary = /^oom-kill:.*,task_memcg=(.*),task=.*,pid=(\d+),uid=\d+$/.exec(text);
  return summary ? { pid: Number(summary[2]), cgroup: summary[1] ?? null, anonRssBytes: null, text } : null;
}

/** Two lines about one kill, as one. */
export function mergeVictims(victims: readonly OomVictim[]): OomVictim[] {
  const byPid = new Map<number, OomVictim>();
  for (const victim of victims) {
    const known = byPid.get(victim.pid);
    const better = victim.anonRssBytes !== null || !known ? victim : known;
    byPid.set(victim.pid, {
      ...better,
      cgroup: victim.cgroup ?? known?.cgroup ?? null,
      anonRssBytes: victim.anonRssBytes ?? known?.anonRssBytes ?? null,
    });
  }
  return [...byPid.values()];
}

export class KernelLog {
  /** null: closed. */
  #fd: number | null;
  readonly #buffer = Buffer.allocUnsafeSlow(MAX_RECORD_BYTES);
  /** What was written before this process looked is history: its pids may be other processes now. */
  #isCurrent = false;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** null: it cannot be read here, or would not say anything. */
  static open(): KernelLog | null {
    if (readPidNamespace() !== INITIAL_PID_NAMESPACE) return null;
    try {
      const log = new KernelLog(fs.openSync('/dev/kmsg', fs.constants.O_RDONLY | fs.constants.O_NONBLOCK));
      log.read();
      return log;
    } catch {
      return null;
    }
  }

  /** Nothing is unread. */
  get isCurrent(): boolean {
    return this.#isCurrent;
  }

  /** Victims since the last call. */
  read(): OomVictim[] {
    const wasCurrent = this.#isCurrent;
    const victims: OomVictim[] = [];
    this.#isCurrent = false;
    for (let at = 0; at < MAX_RECORDS; at++) {
      const record = this.#next();
      if (record === null) {
        this.#isCurrent = true;
        break;
      }
      const text = parseRecord(record);
      const victim = text === null ? null : parseOomLine(text);
      if (victim) victims.push(victim);
    }
    return wasCurrent ? mergeVictims(victims) : [];
  }

  close(): void {
    if (this.#fd !== null) fs.closeSync(this.#fd);
    this.#fd = null;
  }

  /** null: there is no more. Empty: records were lost, or this one cannot be read. */
  #next(): string | null {
    if (this.#fd === null) return null;
    try {
      return this.#buffer.toString('utf8', 0, fs.readSync(this.#fd, this.#buffer, 0, MAX_RECORD_BYTES, null));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EPIPE' || code === 'EINVAL') return '';
      return null;
    }
  }
}
