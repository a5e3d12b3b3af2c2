/**
 * The master's part in profiles and heap snapshots: passes the order on, tells how far it is, and what came of it. A
 * child that has not begun in time is told to forget it: nobody wants a snapshot some minutes later.
 */
import { randomUUID } from 'node:crypto';
import { stat } from 'node:fs/promises';
import type { Logger } from '../log.js';
import type { ChildHandle } from '../process/child-handle.js';
import { readFreeMemory } from '../process/free-memory.js';
import type { CaptureKind, ChildMessage } from '../protocol.js';
import type { Reply } from '../registry/command-listener.js';
import type { Command } from '../registry/commands.js';
import { formatDuration, formatFileSize } from '../units.js';
import { type CaptureFacts, nameOf, refusal } from './capture-refusal.js';
import { where } from './narrator.js';

export type CaptureCommand = Extract<Command, { type: 'profile' | 'heap' }>;
type Heard = Extract<ChildMessage, { type: 'captureBegun' | 'captured' }>;

interface Underway {
  captureId: string;
  kind: CaptureKind;
  forMs: number;
  reply: Reply;
  startedAtMs: number;
  /** null: it has not begun. */
  file: string | null;
  timer: NodeJS.Timeout;
}

export interface CapturesParts {
  log: Logger;
  /** What the process table says of a child. */
  stateOf: (child: ChildHandle) => Pick<CaptureFacts, 'isReady' | 'isLeaving' | 'blockedMs'>;
  /** It takes more memory than before from now on. */
  snapshotTaken: (child: ChildHandle) => void;
}

/** A loop that turns takes its messages within a fraction of that. */
const BEGIN_MS = 3_000;
const NEWS_MS = 1_000;
/** Beats come each second; one that is missing for longer says that the loop stands. */
const BEAT_LATE_MS = 3_000;

export class Captures {
  readonly #parts: CapturesParts;
  /** By the child's identity. */
  readonly #underway = new Map<string, Underway>();

  constructor(parts: CapturesParts) {
    this.#parts = parts;
  }

  /** @param child undefined: it is gone */
  take(command: CaptureCommand, child: ChildHandle | undefined, reply: Reply): void {
    if (!child) return reply({ state: 'failed', message: 'this child is gone' });
    const why = this.#refusal(command, child);
    if (why !== null) return reply({ state: 'failed', message: why });
    const { type: kind } = command;
    const forMs = command.type === 'profile' ? command.forMs : 0;
    const captureId = randomUUID();
    reply({ state: 'accepted', message: '' });
    const timer = setInterval(() => void this.#look(child), NEWS_MS);
    const startedAtMs = performance.now();
    this.#underway.set(child.identity, { captureId, kind, forMs, reply, startedAtMs, file: null, timer });
    child.send({ type: 'capture', captureId, kind, forMs });
  }

  hear(child: ChildHandle, message: Heard): void {
    const underway = this.#underway.get(child.identity);
    if (underway?.captureId !== message.captureId) return;
    if (message.type === 'captureBegun') {
      underway.file = message.file;
      return;
    }
    const { kind, reply } = underway;
    this.#end(child);
    const { file, bytes, error } = message;
    if (error !== null || file === null) {
      this.#parts.log.warn(`no ${nameOf(kind)}`, { ...where(child), error });
      return reply({ state: 'failed', message: `no ${nameOf(kind)}: ${error ?? 'no file'}` });
    }
    this.#parts.log.info(nameOf(kind), { ...where(child), file, size: formatFileSize(bytes) });
    const what = kind === 'profile' ? `profile of ${formatDuration(underway.forMs)}` : 'heap snapshot';
    reply({ state: 'done', message: `${what}, ${formatFileSize(bytes)}`, file: { path: file, bytes } });
  }

  /** A snapshot stops it: it is neither stuck nor too large for that. */
  isStopped({ identity }: ChildHandle): boolean {
    return this.#underway.get(identity)?.kind === 'heap';
  }

  forget(child: ChildHandle): void {
    const underway = this.#underway.get(child.identity);
    if (!underway) return;
    this.#end(child);
    underway.reply({ state: 'failed', message: 'the child ended meanwhile; swarm deaths says why' });
  }

  #refusal(command: CaptureCommand, child: ChildHandle): string | null {
    if (this.#underway.has(child.identity)) return 'another profile or snapshot of this child is under way';
    const { isReady, isLeaving, blockedMs } = this.#parts.stateOf(child);
    const sinceBeatMs = child.beatAtMs === null ? 0 : Date.now() - child.beatAtMs;
    return refusal({
      kind: command.type,
      isReady,
      isLeaving,
      blockedMs: Math.max(blockedMs, sinceBeatMs > BEAT_LATE_MS ? sinceBeatMs : 0),
      heapUsedBytes: child.beat?.heapUsedBytes ?? null,
      freeBytes: readFreeMemory(),
      force: command.type === 'heap' && command.force,
    });
  }

  /** Each second. */
  async #look(child: ChildHandle): Promise<void> {
    const underway = this.#underway.get(child.identity);
    if (!underway) return;
    const { captureId, kind, forMs, file, reply, startedAtMs } = underway;
    const tookMs = performance.now() - startedAtMs;
    if (file === null && tookMs > BEGIN_MS) {
      this.#end(child);
      child.send({ type: 'withdrawCapture', captureId });
      const message = `the loop of this child does not turn: no ${nameOf(kind)} was begun within ${formatDuration(BEGIN_MS)}; swarm dump shows where it hangs`;
      return reply({ state: 'failed', message });
    }
    if (kind === 'profile') {
      const doneMs = Math.min(tookMs, forMs);
      return reply({ state: 'news', message: `${formatDuration(doneMs)} of ${formatDuration(forMs)}` });
    }
    const bytes =
      file === null
        ? 0
        : await stat(file).then(
            ({ size }) => size,
            () => 0,
          );
    // it may have ended while the file was looked at
    if (this.#underway.get(child.identity) !== underway) return;
    const step = bytes === 0 ? 'V8 collects it; the child stands still' : `${formatFileSize(bytes)} written`;
    reply({ state: 'news', message: `${formatDuration(tookMs)}: ${step}` });
  }

  #end(child: ChildHandle): void {
    const underway = this.#underway.get(child.identity);
    clearInterval(underway?.timer);
    if (underway?.kind === 'heap') this.#parts.snapshotTaken(child);
    this.#underway.delete(child.identity);
  }
}
