/**
 * An inspector session from the watchdog thread to the main thread, inside the process: no port is opened. It lives for
 * one dump, because one that is still connected when the process exits holds the exit up.
 *
 * `Runtime.evaluate` without the Debugger domain runs on the main thread in an interrupt, in whatever loop it is:
 * it pauses nothing. The debugger's pause is the fallback, for a main thread that runs only microtasks: should this
 * thread end while main is paused, main would stay so, and should it end right after, Node would abort.
 */
import { Session } from 'node:inspector';
import { setTimeout as delay } from 'node:timers/promises';

export interface PausedFrame {
  function: string;
  url: string;
  /** From 1. */
  line: number;
  column: number;
}

interface Paused {
  callFrames: {
    functionName: string;
    url: string;
    location: { scriptId: string; lineNumber: number; columnNumber?: number | undefined };
  }[];
}

export class MainInspector {
  readonly #session = new Session();

  constructor() {
    this.#session.connectToMainThread();
  }

  /** The value as text; it comes when the main thread can be interrupted. Rejects when the session ends before. */
  async evaluate(expression: string): Promise<string> {
    const reply = await this.#post('Runtime.evaluate', { expression, returnByValue: true, silent: true });
    const { result } = reply as { result?: { value?: unknown } };
    return String(result?.value ?? '');
  }

  /** null: it did not come to a pause in time. The main thread goes on at once in either case. */
  async pause(withinMs: number): Promise<PausedFrame[] | null> {
    const session = this.#session;
    // frames name their script by id alone from Node 24 on
    const urls = new Map<string, string>();
    session.on('Debugger.scriptParsed', ({ params }) => urls.set(params.scriptId, params.url));
    const paused = new Promise<Paused>((resolve) => {
      session.once('Debugger.paused', ({ params }) => resolve(params));
    });
    const late = delay(withinMs, null, { ref: false });
    try {
      await Promise.race([this.#post('Debugger.enable'), late]);
      void this.#post('Debugger.pause').catch(ignore);
      const found = await Promise.race([paused, late]);
      return found ? found.callFrames.map((frame) => frameOf(frame, urls)) : null;
    } finally {
      void this.#post('Debugger.resume').catch(ignore);
      void this.#post('Debugger.disable').catch(ignore);
    }
  }

  close(): void {
    this.#session.disconnect();
  }

  #post(method: string, params: object = {}): Promise<unknown> {
    const reply = new Promise<unknown>((resolve, reject) => {
      this.#session.post(method, params, (error, result) => {
        if (error)
          reject(error instanceof Error ? error : new Error(String((error as { message?: string }).message)));
        else resolve(result);
      });
    });
    // `disconnect` rejects what is pending: nobody may wait for it any more
    reply.catch(ignore);
    return reply;
  }
}

function frameOf(
  { functionName, url, location }: Paused['callFrames'][number],
  urls: ReadonlyMap<string, string>,
): PausedFrame {
  return {
    function: functionName,
    url: url || (urls.get(location.scriptId) ?? ''),
    line: location.lineNumber + 1,
    column: (location.columnNumber ?? 0) + 1,
  };
}

function ignore(): void {}
