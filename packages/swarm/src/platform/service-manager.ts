/** systemd, or whoever speaks its protocol, as an onlooker of the master: see service-notices.ts for what it is told. */
import type { Logger } from '../log.js';
import type { MasterView, Onlooker } from '../master/onlookers.js';
import type { Effect } from '../supervisor/events.js';
import { serviceFacts } from './service-facts.js';
import { NOTHING_TOLD, nextNotice, type ServiceMemory } from './service-notices.js';
import { NoticeSender, systemdNotify } from './systemd-notify.js';

/** Below it, a busy machine alone can keep a healthy master from feeding it. */
const SHORT_WATCHDOG_MS = 60_000;
const LAST_NOTICE_MS = 1_000;

export interface ServiceSettings {
  socket: string;
  /** null: no watchdog. */
  watchdogMs: number | null;
  /** There is one, but another process is to feed it. */
  watchdogIsForeign: boolean;
}

/**
 * What systemd has put into the environment; null: nobody wants to be told. It is taken out of it, so that neither
 * children nor what they start speak for the master.
 */
export function takeServiceSettings(env: NodeJS.ProcessEnv, pid: number): ServiceSettings | null {
  const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: usec, WATCHDOG_PID: watchdogPid } = env;
  delete env['NOTIFY_SOCKET'];
  delete env['WATCHDOG_USEC'];
  delete env['WATCHDOG_PID'];
  if (!socket) return null;
  const isOurs = watchdogPid === undefined || watchdogPid === String(pid);
  const watchdogMs = Number(usec) / 1_000;
  const isSet = watchdogMs > 0;
  return { socket, watchdogMs: isOurs && isSet ? watchdogMs : null, watchdogIsForeign: !isOurs && isSet };
}

export class ServiceManager implements Onlooker {
  readonly #sender: NoticeSender;
  readonly #watchdogMs: number | null;
  #told: ServiceMemory = NOTHING_TOLD;

  constructor({ socket, watchdogMs, watchdogIsForeign }: ServiceSettings, log: Logger) {
    this.#watchdogMs = watchdogMs;
    this.#sender = new NoticeSender(systemdNotify(socket), log);
    if (watchdogIsForeign) {
      log.warn(
        'the watchdog of the service manager is for another process, and swarm does not feed it: start swarm itself, or by exec',
      );
    }
    if (watchdogMs === null || watchdogMs >= SHORT_WATCHDOG_MS) return;
    log.warn('the watchdog of the service manager is short: WatchdogSec= of 60 s or more is recommended', {
      seconds: watchdogMs / 1_000,
    });
  }

  /** A start, a roll or a stop is told of at once. */
  decided(effects: readonly Effect[], view: MasterView): void {
    if (effects.some(({ type }) => type === 'report' || type === 'announceRoll')) this.#look(view);
  }

  ticked(view: MasterView): void {
    this.#look(view);
  }

  close(): Promise<void> {
    return this.#sender.close(LAST_NOTICE_MS);
  }

  #look({ state, children }: MasterView): void {
    const facts = serviceFacts(state, children, Date.now());
    const nowMs = Number(process.hrtime.bigint()) / 1e6;
    const { told, notice } = nextNotice(this.#told, facts, nowMs, this.#watchdogMs);
    this.#told = told;
    if (notice) this.#sender.tell(notice);
  }
}
