/**
 * Waits for a connection to become usable, within a budget, and says why when it does not.
 *
 * A Redis that loads its data is there: that time does not count. One that refuses connections gets a
 * short grace, since at boot it may start together with us; one that says no (password, certificate,
 * not a Redis) gets none.
 */

import { lastErrorOf, type RedisClient } from './connect.js';
import { explainFailure, type Failure } from './failure.js';

export interface ReadyOptions {
  /** For all of it, loading aside; default 5 s. */
  budgetMs?: number;
  /** How long errors that may pass are retried; default 2 s. */
  graceMs?: number;
  /** Called about once a second while Redis loads its data. */
  onLoading?: (progress: LoadingProgress) => void;
}

export interface LoadingProgress {
  percent: number | null;
  etaSeconds: number | null;
}

const TICK_MS = 250;

/** `url` is shown in errors: pass a redacted one. The connection stays open whatever comes of it. */
export async function whenReady(client: RedisClient, url: string, options: ReadyOptions = {}): Promise<void> {
  if (client.status === 'ready') return;
  const { budgetMs = 5_000, graceMs = 2_000 } = options;
  let failure: Failure | undefined;
  const seen = lastErrorOf(client);
  if (seen) failure = explainFailure(seen, url);

  await new Promise<void>((resolve, reject) => {
    const settle = (outcome: () => void) => {
      clearInterval(ticking);
      client.off('ready', onReady);
      client.off('error', onError);
      client.off('close', onClose);
      client.off('end', onEnd);
      outcome();
    };
    const give = (found: Failure) => settle(() => reject(found.error));
    const onReady = () => settle(resolve);
    const onError = (error: Error) => {
      const found = explainFailure(lastErrorOf(client) ?? error, url);
      // What Redis itself said comes before the close that follows it.
      if (found.final) give(found);
      else failure = found;
    };
    const onClose = () => {
      failure ??= explainFailure(new Error('it closed before it answered'), url);
    };
    const onEnd = () => give(failure ?? explainFailure(new Error('Connection is closed.'), url));

    let waitedMs = 0;
    let loadingTicks = 0;
    const ticking = setInterval(() => {
      void loadingProgress(client).then((progress) => {
        if (progress === null) return;
        waitedMs = 0;
        failure = undefined;
        if (loadingTicks++ % (1_000 / TICK_MS) === 0) options.onLoading?.(progress);
      });
      waitedMs += TICK_MS;
      if (failure && waitedMs >= graceMs) give(failure);
      else if (waitedMs >= budgetMs) {
        give(explainFailure(new Error(`timeout after ${budgetMs} ms`, { cause: lastErrorOf(client) }), url));
      }
    }, TICK_MS);

    client.on('ready', onReady);
    client.on('error', onError);
    client.on('close', onClose);
    client.on('end', onEnd);
    if (failure?.final) give(failure);
  });
}

/** null: it does not load, or it cannot be asked now. */
async function loadingProgress(client: RedisClient): Promise<LoadingProgress | null> {
  if (client.isCluster || client.status !== 'connect') return null;
  try {
    const info = parseInfo(await client.info('persistence'));
    if (info.get('loading') !== '1') return null;
    return {
      percent: numberIn(info, 'loading_loaded_perc'),
      etaSeconds: numberIn(info, 'loading_eta_seconds'),
    };
  } catch {
    return null;
  }
}

/** `INFO`'s lines `name:value`. */
export function parseInfo(text: string): Map<string, string> {
  const info = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const colon = line.indexOf(':');
    if (colon > 0 && !line.startsWith('#')) info.set(line.slice(0, colon), line.slice(colon + 1));
  }
  return info;
}

/** A field of INFO as a number, or null when it is missing or none. */
export function numberIn(info: ReadonlyMap<string, string>, name: string): number | null {
  const text = info.get(name);
  const number = text === undefined || text === '' ? Number.NaN : Number(text);
  return Number.isFinite(number) ? number : null;
}
