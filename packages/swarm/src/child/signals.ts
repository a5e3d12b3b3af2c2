/**
 * Platforms signal every process of a service, but the master conducts: a child does not act on signals
 * itself. BullMQ programs install handlers for them (`worker.close(); process.exit()`), so what they
 * register is captured instead of installed, and run once as the child's close hook, after the drain.
 */
import { EventEmitter } from 'node:events';

const STOP_SIGNALS: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGHUP'];
/** USR1 would open a debugger port, TSTP and TTIN would stop the process. */
const IGNORED: readonly NodeJS.Signals[] = [...STOP_SIGNALS, 'SIGTSTP', 'SIGTTIN', 'SIGUSR1'];
const LISTENER_METHODS = [
  'on',
  'addListener',
  'once',
  'prependListener',
  'prependOnceListener',
  'off',
  'removeListener',
  'removeAllListeners',
  'listeners',
  'rawListeners',
  'listenerCount',
] as const;

type Method = (event: string | symbol, ...rest: unknown[]) => unknown;

export class CapturedSignals {
  readonly #captured = new EventEmitter();

  install(): void {
    for (const signal of IGNORED) {
      // never removed: without a handler, the signal's default action would be back
      process.on(signal, () => {});
    }
    const target = process as unknown as Record<string, Method>;
    const captured = this.#captured as unknown as Record<string, Method>;
    for (const name of LISTENER_METHODS) {
      const original = target[name] as Method;
      target[name] = function (this: unknown, event, ...rest) {
        if (!STOP_SIGNALS.includes(event as NodeJS.Signals)) return original.call(this, event, ...rest);
        const result = (captured[name] as Method)(event, ...rest);
        return result === captured ? process : result;
      };
    }
    for (const name of LISTENER_METHODS) captured[name] = (captured[name] as Method).bind(captured);
  }

  /** The handlers of the first signal that has any: programs register one function for several. */
  async run(): Promise<boolean> {
    const signal = STOP_SIGNALS.find((name) => this.#captured.listenerCount(name) > 0);
    if (!signal) return false;
    const handlers = this.#captured.listeners(signal) as ((signal: NodeJS.Signals) => unknown)[];
    this.#captured.removeAllListeners();
    const results = await Promise.allSettled(handlers.map(async (handler) => handler(signal)));
    const failure = results.find((result) => result.status === 'rejected');
    if (failure) throw failure.reason;
    return true;
  }
}
