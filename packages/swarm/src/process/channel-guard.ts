/**
 * What a child writes into its IPC channel is parsed by node before we see it, and node throws at what is
 * no JSON and at internal messages out of turn: from its own event handlers, where nobody can catch it.
 * No child may take its master down, so such an error is caught as the last resort of the process, and
 * told to whoever reads the channel that it came from. Every other uncaught error ends the process, as it
 * would without this, unless the process is a program with a handler of its own.
 */
import { AsyncLocalStorage } from 'node:async_hooks';

const channels = new AsyncLocalStorage<ChannelGuard>();
let listens = false;

export class ChannelGuard {
  /** Set by the reader of the channel. What node was about to read is lost; more may follow. */
  onBroken: (error: Error) => void = () => {};

  /** What `fork` starts is guarded. */
  run<T>(fork: () => T): T {
    if (!listens) process.on('uncaughtException', onUncaught);
    listens = true;
    return channels.run(this, fork);
  }
}

function onUncaught(error: Error): void {
  const guard = channels.getStore();
  if (guard && isOfChannel(error)) return guard.onBroken(error);
  if (process.listenerCount('uncaughtException') > 1) return;
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
  process.exit(1);
}

/** Thrown by node's reading of a channel, and not by what was made of a message. */
export function isOfChannel(error: unknown): boolean {
  const frames = (error instanceof Error ? (error.stack ?? '') : '')
    .split('\n')
    .filter((line) => /^\s+at /.test(line));
  const isNodes = (frame: string): boolean => /node:|<anonymous>/.test(frame);
  return frames.every(isNodes) && frames.some((frame) => frame.includes('node:internal/child_process'));
}
