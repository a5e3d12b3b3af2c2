/**
 * A swarm inside a program of one's own: started, commanded and stopped by method calls, watched by events.
 *
 * It is the same master as that of the command, in this process. So it lives as long as this process, and stands
 * still while this process's event loop is blocked: a program that computes should run the command instead.
 * Loaded in every child of a swarm app (`import { defineApp } from 'bullmq-swarm'`), so the master is
 * imported only by `start()`.
 */
import { EventEmitter } from 'node:events';
import type { DeathCause } from './death.js';
import { EXIT, type ExitCode, SwarmError } from './errors.js';
import type { ChildLine, LogFields, Logger } from './log.js';
import type { Onlooker } from './master/onlookers.js';
import type { MasterShell } from './master/shell.js';
import type { ReleasedJob } from './protocol.js';
import type { Command } from './registry/commands.js';
import type { ChildRecord } from './registry/schema.js';
import type { SwarmOptions } from './swarm-options.js';

/** Who is meant by an event. */
export interface SwarmChild {
  identity: string;
  slot: number;
  group: string;
  pid: number;
  generation: number;
}

export interface SwarmExit extends SwarmChild {
  cause: DeathCause;
  /** Why, in a line. */
  summary: string;
  code: number | null;
  signal: string | null;
  /** Jobs that it was last known to run. */
  busy: number;
}

export interface SwarmLogEntry {
  level: 'debug' | 'info' | 'warn' | 'error';
  message: string;
  fields: LogFields;
}

/**
 * - `idle`: not started yet
 * - `starting`: until each group has a child that is ready
 * - `running`, `quiet`, `stopping`
 * - `stopped`: for good
 */
export type SwarmState = 'idle' | 'starting' | 'running' | 'quiet' | 'stopping' | 'stopped';

export interface SwarmEvents {
  state: [state: SwarmState];
  ready: [child: SwarmChild];
  exited: [exit: SwarmExit];
  /** Jobs of a dead child were put back, or failed for good because of it. */
  released: [jobs: readonly ReleasedJob[]];
  /** A roll has ended; `error` says why it was given up. */
  rolled: [generation: number, error: string | null];
  /** What the command would log; at `logLevel` and above. */
  log: [entry: SwarmLogEntry];
  /** A line that a child printed. */
  output: [line: ChildLine];
  stopped: [exitCode: ExitCode];
}

/**
 * ```ts
 * const swarm = new Swarm({ app: new URL('./worker.js', import.meta.url), count: 4, redis: 'redis://…' });
 * swarm.on('exited', ({ slot, cause, summary }) => console.warn(`slot ${slot}: ${cause}: ${summary}`));
 * await swarm.start();
 * await swarm.scale(8);
 * await swarm.stop();
 * ```
 */
export class Swarm extends EventEmitter<SwarmEvents> {
  readonly #options: SwarmOptions;
  #state: SwarmState = 'idle';
  #shell: MasterShell | null = null;
  #finished: Promise<ExitCode> | null = null;
  #stopRequested = false;
  /** Children that were ready, for events about them. */
  readonly #known = new Set<string>();

  /** Options are those of a config file, with the same names, forms and defaults. They stand above variables. */
  constructor(options: SwarmOptions = {}) {
    super();
    this.#options = options;
  }

  get state(): SwarmState {
    return this.#state;
  }

  /** As the registry shows it; null before the start. */
  get identity(): string | null {
    return this.#shell?.view.info.identity ?? null;
  }

  /** As of now, with their memory and jobs; empty before the start. */
  get children(): readonly ChildRecord[] {
    return this.#shell?.view.children ?? [];
  }

  /**
   * Resolves when each group has a child that is ready. Rejects with a `SwarmError`: bad options (`exitCode` 64), no
   * usable Redis (69), an app that cannot boot (70).
   */
  async start(): Promise<void> {
    if (this.#state !== 'idle') {
      throw new SwarmError(
        'SWARM_ALREADY_STARTED',
        `a Swarm is started once, and this one is ${this.#state}`,
        {
          exitCode: EXIT.usage,
        },
      );
    }
    this.#change('starting');
    let onReady = (): void => {};
    const ready = new Promise<void>((resolve) => {
      onReady = resolve;
    });
    this.#finished = this.#run(onReady);
    // whoever waits for the stop hears of it there
    this.#finished.catch(() => {});
    const ended = this.#finished.then(() => {
      throw new SwarmError('SWARM_STOPPED', 'the swarm was stopped before its children were ready', {
        exitCode: EXIT.ok,
      });
    });
    await Promise.race([ready, ended]);
  }

  /**
   * Drains, hands back what is unfinished, and resolves to the exit code that the command would have: 0, or 1 if a
   * child had to be killed or jobs are left.
   */
  async stop(): Promise<ExitCode> {
    if (!this.#finished) {
      this.#change('stopped');
      return EXIT.ok;
    }
    this.#stopRequested = true;
    this.#askToStop();
    return this.#finished;
  }

  /** Takes no new jobs: all children, or one of them by slot or identity. */
  quiet(child?: number | string): Promise<string> {
    return this.#command({ type: 'quiet', child: this.#childOf(child) });
  }

  resume(child?: number | string): Promise<string> {
    return this.#command({ type: 'resume', child: this.#childOf(child) });
  }

  /** Replaces every child by a new generation, one by one; rejects if the new code does not boot. */
  roll(): Promise<string> {
    return this.#command({ type: 'roll' });
  }

  /** Replaces one child, by slot or identity. */
  recycle(child: number | string): Promise<string> {
    return this.#command({ type: 'recycle', child: this.#childOf(child) as string });
  }

  /** Changes the number of children; `group` where there are several. */
  scale(count: number, group: string | null = null): Promise<string> {
    return this.#command({ type: 'scale', count, group });
  }

  async #run(onReady: () => void): Promise<ExitCode> {
    try {
      const [{ loadSwarmConfig }, { runMasterWithin }] = await Promise.all([
        import('./swarm-options.js'),
        import('./master.js'),
      ]);
      const config = await loadSwarmConfig(this.#options);
      const code = await runMasterWithin(config, {
        log: this.#logger(config.logLevel),
        onlookers: [this.#onlooker(onReady)],
        listensToSignals: false,
        onShell: (shell) => {
          this.#shell = shell;
          // it begins to run in this turn of the loop
          if (this.#stopRequested) setImmediate(() => this.#askToStop());
        },
      });
      this.#change('stopped');
      this.emit('stopped', code);
      return code;
    } catch (error) {
      this.#change('stopped');
      throw error;
    }
  }

  #onlooker(onReady: () => void): Onlooker {
    return {
      decided: (effects, { state, children }) => {
        for (const child of children) this.#noticeReady(child);
        for (const effect of effects) {
          if (effect.type === 'announceRoll') this.emit('rolled', effect.generation, effect.error);
        }
        const groups = [...new Set(state.slots.map(({ group }) => group))];
        const isServed = (group: string): boolean =>
          state.slots.some((slot) => slot.group === group && (slot.state === 'up' || slot.state === 'quiet'));
        if (this.#state === 'starting' && groups.length > 0 && groups.every(isServed)) {
          this.#change('running');
          onReady();
        }
        if (state.phase === 'stopped' || this.#state === 'starting') return;
        this.#change(state.phase);
      },
      heard: (_slot, _group, message) => {
        if (message.type !== 'released') return;
        const jobs = message.jobs.filter(({ outcome }) => outcome !== 'finished');
        if (jobs.length > 0) this.emit('released', jobs);
      },
      died: ({ child, death, code, signal }) => {
        this.#known.delete(child.identity);
        const { cause, evidence } = death;
        this.emit('exited', {
          ...whoIs(child),
          cause,
          summary: evidence.summary,
          code,
          signal,
          busy: child.busy,
        });
      },
    };
  }

  #noticeReady(child: ChildRecord): void {
    if (child.readyAtMs === null || this.#known.has(child.identity)) return;
    if (child.state === 'backoff' || child.state === 'failed') return;
    this.#known.add(child.identity);
    this.emit('ready', whoIs(child));
  }

  #logger(lowest: SwarmLogEntry['level']): Logger {
    const levels = ['debug', 'info', 'warn', 'error'] as const;
    const log =
      (level: SwarmLogEntry['level']) =>
      (message: string, fields: LogFields = {}): void => {
        if (levels.indexOf(level) >= levels.indexOf(lowest)) this.#tell('log', { level, message, fields });
      };
    return {
      debug: log('debug'),
      info: log('info'),
      warn: log('warn'),
      error: log('error'),
      childOutput: (line) => this.#tell('output', line),
    };
  }

  /** A listener that throws is a defect of the program's, and no reason to let go of children. */
  #tell<Name extends 'log' | 'output'>(name: Name, ...args: SwarmEvents[Name]): void {
    try {
      (this as EventEmitter).emit(name, ...args);
    } catch (error) {
      setImmediate(() => {
        throw error;
      });
    }
  }

  #change(state: SwarmState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.emit('state', state);
  }

  #askToStop(): void {
    this.#shell?.command({ type: 'stop', child: null }, () => {});
  }

  /** Resolves to what came of it, in a line. */
  #command(command: Command): Promise<string> {
    return new Promise((resolve, reject) => {
      const failed = (message: string): void =>
        reject(
          new SwarmError('SWARM_COMMAND_FAILED', `${command.type}: ${message}`, { exitCode: EXIT.killed }),
        );
      if (!this.#shell || this.#state === 'stopped') return failed(`this swarm is ${this.#state}`);
      this.#shell.command(command, ({ state, message }) => {
        if (state === 'done') resolve(message);
        if (state === 'failed') failed(message);
      });
    });
  }

  /** null: all. Whoever is not there is refused by the master, which says why. */
  #childOf(child: number | string | undefined): string | null {
    if (child === undefined) return null;
    if (typeof child === 'string') return child;
    return (
      this.#shell?.view.state.slots.find(({ index }) => index === child)?.child?.identity ?? `slot ${child}`
    );
  }
}

function whoIs({ identity, slot, group, pid, generation }: ChildRecord): SwarmChild {
  return { identity, slot, group, pid, generation };
}
