/** The operating system's signals as a master understands them. Nothing is decided here, nor done. */
import { isatty } from 'node:tty';
import type { SupervisorEvent } from '../supervisor/events.js';

/** Within this, a second INT is an echo of the first: terminals and supervisors send several. */
const SECOND_INT_AFTER_MS = 1_000;
/** HUP comes before a terminal whose session has ended is seen to be closed (some ms; a busy machine takes longer). */
const TERMINAL_CLOSES_MS = 250;
const STANDARD_STREAMS = [0, 1, 2];

export interface SignalListener {
  onEvent(event: SupervisorEvent, signal: NodeJS.Signals): void;
  /** Every child is to be dumped. */
  onDump(): void;
}

export function hasTerminal(): boolean {
  return STANDARD_STREAMS.some((fd) => isatty(fd));
}

/**
 * @returns stops to tell of signals. They are still taken: a master that has stopped has notices to send and a server to
 *   stop, and is not to be ended in the middle of that by one signal more.
 */
export function listenToSignals(listener: SignalListener): () => void {
  let hears = true;
  let firstIntAtMs: number | null = null;
  // `swarm … | tee log` has its terminal elsewhere than at stdout
  const terminals = STANDARD_STREAMS.filter((fd) => isatty(fd));
  const on: Partial<Record<NodeJS.Signals, (signal: NodeJS.Signals) => void>> = {
    SIGTERM: (signal) => listener.onEvent({ type: 'stopRequested' }, signal),
    SIGINT: (signal) => {
      const nowMs = performance.now();
      firstIntAtMs ??= nowMs;
      const forced = nowMs - firstIntAtMs >= SECOND_INT_AFTER_MS;
      listener.onEvent({ type: forced ? 'stopForced' : 'stopRequested' }, signal);
    },
    SIGTSTP: (signal) => listener.onEvent({ type: 'quietRequested', slot: null }, signal),
    SIGCONT: (signal) => listener.onEvent({ type: 'resumeRequested', slot: null }, signal),
    SIGHUP: (signal) => {
      // a terminal that closed is none any more, and takes its programs with it
      const closed = (): boolean => terminals.some((fd) => !isatty(fd));
      const judge = (): void => {
        if (hears) listener.onEvent({ type: closed() ? 'stopRequested' : 'rollRequested' }, signal);
      };
      if (terminals.length === 0 || closed()) judge();
      else setTimeout(judge, TERMINAL_CLOSES_MS).unref();
    },
    SIGUSR2: (signal) => listener.onEvent({ type: 'rollRequested' }, signal),
    SIGTTIN: () => listener.onDump(),
    // node would open a debugger port
    SIGUSR1: () => {},
  };
  for (const [signal, handler] of Object.entries(on) as [
    NodeJS.Signals,
    (signal: NodeJS.Signals) => void,
  ][]) {
    process.on(signal, () => {
      if (hears) handler(signal);
    });
  }
  return () => {
    hears = false;
  };
}
