/**
 * The effect shell around `decide`: whatever happens – a signal, a message, an exit, a timer – becomes
 * an event, one loop turns events into effects, and the effects are carried out here, or by the part that they are
 * about: the shell makes the parts and connects them. Handlers only enqueue. The master loads neither user code nor
 * BullMQ, so that nothing of theirs can take it down.
 */
import type { Config, GroupConfig } from '../config.js';
import { EXIT, type ExitCode } from '../errors.js';
import type { Logger } from '../log.js';
import { ChildHandle } from '../process/child-handle.js';
import { type Forked, forkChild } from '../process/fork.js';
import { Sampler } from '../process/memory.js';
import type { ActiveJob } from '../protocol.js';
import { lockHoldingsOf } from '../recovery/lock-holdings.js';
import type { Orphan } from '../recovery/predecessors.js';
import type { Reply } from '../registry/command-listener.js';
import type { Command } from '../registry/commands.js';
import type { DeathStream } from '../registry/death-stream.js';
import type { DumpStream } from '../registry/dump-stream.js';
import { Reporter } from '../registry/reporter.js';
import type { Rescue } from '../registry/rescue.js';
import type { MasterInfo } from '../registry/schema.js';
import type { RegistryWriter } from '../registry/writer.js';
import { decide } from '../supervisor/decide.js';
import type { Effect, SupervisorEvent } from '../supervisor/events.js';
import { wantedCount } from '../supervisor/scale.js';
import { DEFAULT_POLICY, initialState, nextDueAtMs, type SupervisorState } from '../supervisor/state.js';
import type { Look, WatchdogMessage } from '../watchdog-protocol.js';
import { BadUsage } from './bad-usage.js';
import { Captures } from './captures.js';
import { CommandCenter } from './command-center.js';
import { Deaths } from './deaths.js';
import { Debts } from './debts.js';
import { DumpRequests } from './dump-requests.js';
import { Dumps } from './dumps.js';
import { Exits } from './exits.js';
import { Fleet } from './fleet.js';
import { IdleChildren } from './idle-children.js';
import { Inbox } from './inbox.js';
import { JobLedger } from './job-ledger.js';
import { JobTimeouts } from './job-timeouts.js';
import { LimitWatch } from './limit-watch.js';
import { LostHosts } from './lost-hosts.js';
import { Narrator } from './narrator.js';
import { type MasterView, type Onlooker, Onlookers } from './onlookers.js';
import { Reports } from './reports.js';
import { SignalNarrator } from './signal-narrator.js';
import { hasTerminal, listenToSignals } from './signals.js';
import { UsualDurations } from './usual-durations.js';
import { Watchdogs } from './watchdogs.js';

const TICK_MS = 1_000;
const LAST_WRITE_MS = 1_000;

const EXIT_CODES = {
  stopped: EXIT.ok,
  killed: EXIT.killed,
  left: EXIT.killed,
  forced: EXIT.forced,
  'app-failed': EXIT.appFailed,
} as const;

export interface MasterParts {
  config: Config;
  info: MasterInfo;
  log: Logger;
  writer: RegistryWriter;
  deathStream: DeathStream;
  dumpStream: DumpStream;
  redisUrl: string;
  redisIsEmbedded: boolean;
  /** What predecessors' children left behind. */
  orphans: readonly Orphan[];
  rescue: Rescue;
  onlookers?: readonly Onlooker[];
  /** Whether signals of this process are the master's; default true. */
  listensToSignals?: boolean;
}

export class MasterShell {
  readonly #parts: MasterParts;
  readonly #log: Logger;
  readonly #narrator: Narrator;
  readonly #signalNarrator: SignalNarrator;
  readonly #reporter: Reporter;
  readonly #debts: Debts;
  readonly #lostHosts: LostHosts;
  readonly #deaths: Deaths;
  readonly #fleet = new Fleet(() => this.#state);
  readonly #exits: Exits;
  readonly #inbox: Inbox;
  readonly #dumpRequests: DumpRequests;
  readonly #reports: Reports;
  readonly #center = new CommandCenter((identity, killedFor) => this.#exits.whyEnded(identity, killedFor));
  readonly #sampler = new Sampler();
  readonly #limits: LimitWatch;
  readonly #watchdogs: Watchdogs;
  readonly #dumps: Dumps;
  readonly #jobTimeouts: JobTimeouts;
  readonly #idleChildren: IdleChildren;
  readonly #captures: Captures;
  readonly #jobLedger = new JobLedger();
  readonly #onlookers: Onlookers;
  readonly view: MasterView;
  readonly #usualDurations = new UsualDurations();
  readonly #badUsage = new BadUsage((event) => this.#enqueue(event));
  #state: SupervisorState;
  readonly #queue: SupervisorEvent[] = [];
  #deciding = false;
  #dueTimer: NodeJS.Timeout | undefined;
  #sampling = false;
  #finish: (code: ExitCode) => void = () => {};

  constructor(parts: MasterParts) {
    const { config, log, writer } = parts;
    this.#parts = parts;
    this.#log = log;
    this.#narrator = new Narrator(log);
    this.#signalNarrator = new SignalNarrator(log, {
      jobs: () => this.#fleet.busy,
      drainTimeoutMs: config.drainTimeoutMs,
      pid: parts.info.pid,
      hasTerminal: hasTerminal(),
    });
    this.#onlookers = new Onlookers(parts.onlookers ?? [], log);
    this.#debts = new Debts(parts.orphans);
    const { drainTimeoutMs, bootTimeoutMs, stuckAfterMs, stuckKillAfterMs, stuckKillMindsLocks } = config;
    this.#state = initialState(
      config.groups,
      {
        ...DEFAULT_POLICY,
        drainTimeoutMs,
        bootTimeoutMs,
        stuckAfterMs,
        stuckKillAfterMs,
        stuckKillMindsLocks,
      },
      performance.now(),
    );
    this.view = this.#viewOf(parts.info);
    this.#limits = new LimitWatch({
      groups: config.groups,
      log,
      children: () => this.#fleet.all.filter((child) => !this.#captures.isStopped(child)),
      isSeated: (identity) => this.#fleet.isSeated(identity),
      samples: this.#fleet.samples,
      growth: () => this.#jobLedger.records,
      ask: (event) => this.#enqueue(event),
    });
    this.#watchdogs = new Watchdogs({
      children: () => this.#fleet.all,
      ask: (event) => this.#enqueue(event),
      onEnded: (child) => this.#narrator.watchdogEnded(child),
    });
    this.#reporter = new Reporter({
      writer,
      log,
      snapshot: (clockOffsetMs) => this.#reports.make(clockOffsetMs),
      onLost: () => this.#enqueue({ type: 'redisLost' }),
      onBack: () => this.#enqueue({ type: 'redisBack' }),
      onBeat: (stale) => this.#lostHosts.onBeat(stale),
    });
    this.#lostHosts = new LostHosts({
      rescue: parts.rescue,
      self: parts.info,
      log,
      trouble: this.#narrator.releases,
      helpers: () => this.#fleet.helpers,
      send: (identity, message) => this.#fleet.get(identity)?.send(message),
      isKnown: (master) => this.#debts.concerns(master),
      onDeath: (death) => this.#deaths.inherit(death, true),
    });
    this.#dumps = new Dumps({
      info: parts.info,
      log,
      stream: parts.dumpStream,
      clockOffsetMs: () => this.#reporter.clockOffsetMs,
      blockOf: (identity) => this.#state.blocks[identity],
      details: config.dumpDetails,
    });
    this.#jobTimeouts = new JobTimeouts({
      config,
      narrator: this.#narrator,
      children: () => this.#fleet.all,
      isAtBreakpoint: (identity) => this.#state.blocks[identity]?.kind === 'debugger',
      dump: (child, about) => this.#dumps.request(child, 'job-timeout', about),
      ask: (event) => this.#enqueue(event),
    });
    this.#idleChildren = new IdleChildren({
      log,
      isSeated: (identity) => this.#fleet.isSeated(identity),
      siblingOf: (child) => this.#fleet.siblingOf(child),
      dump: (child, notes) => this.#dumps.request(child, 'not-consuming', null, notes),
      ask: (event) => this.#enqueue(event),
    });
    this.#captures = new Captures({
      log,
      stateOf: (child) => this.#fleet.standingOf(child),
      snapshotTaken: (child) => this.#limits.snapshotTaken(child),
    });
    this.#deaths = new Deaths({
      info: parts.info,
      log,
      stream: parts.deathStream,
      clockOffsetMs: () => this.#reporter.clockOffsetMs,
    });
    this.#reports = new Reports({
      info: parts.info,
      state: () => this.#state,
      children: () => this.#fleet.records,
      owed: () => this.#debts.list,
      jobMemory: () => this.#jobLedger.records,
      jobDurations: () => this.#usualDurations.records,
    });
    this.#dumpRequests = new DumpRequests({
      dumps: this.#dumps,
      fleet: this.#fleet,
      narrator: this.#narrator,
      blockOf: (identity) => this.#state.blocks[identity],
    });
    this.#exits = new Exits({
      config,
      log,
      narrator: this.#narrator,
      onlookers: this.#onlookers,
      fleet: this.#fleet,
      debts: this.#debts,
      deaths: this.#deaths,
      dumps: this.#dumps,
      jobTimeouts: this.#jobTimeouts,
      limits: this.#limits,
      ask: (event) => this.#enqueue(event),
      forget: (child) => this.#forget(child),
      removeMaster: (master) => writer.removeMaster(master),
    });
    this.#inbox = new Inbox({
      narrator: this.#narrator,
      onlookers: this.#onlookers,
      reporter: this.#reporter,
      debts: this.#debts,
      deaths: this.#deaths,
      limits: this.#limits,
      lostHosts: this.#lostHosts,
      idleChildren: this.#idleChildren,
      captures: this.#captures,
      jobLedger: this.#jobLedger,
      usualDurations: this.#usualDurations,
      badUsage: this.#badUsage,
      ask: (event) => this.#enqueue(event),
    });
  }

  /** The app's own words about why it does not boot. */
  get appError(): string | null {
    return this.#badUsage.message ?? this.#exits.appError;
  }

  /** It ran to its end at its first boot: nobody tried again. */
  get appNeverWorks(): boolean {
    return this.#state.neverWorks;
  }

  /** Runs until it is stopped, or the app proves unable to boot. */
  async run(): Promise<ExitCode> {
    const finished = new Promise<ExitCode>((resolve) => {
      this.#finish = resolve;
    });
    const { listensToSignals = true } = this.#parts;
    const stopListening = listensToSignals
      ? listenToSignals({
          onEvent: (event, signal) => this.#onSignal(event, signal),
          onDump: () => this.#dumpRequests.bySignal(),
        })
      : () => {};
    const ticker = setInterval(() => this.#tick(), TICK_MS);
    this.#tick();
    const code = await finished;
    clearInterval(ticker);
    clearTimeout(this.#dueTimer);
    this.#limits.close();
    this.#sampler.close();
    this.#lostHosts.close();
    const lastReport = this.#debts.list.length > 0 ? 'write' : 'remove';
    await Promise.all([this.#deaths.close(LAST_WRITE_MS), this.#reporter.close(lastReport, LAST_WRITE_MS)]);
    stopListening();
    return this.#badUsage.message === null ? code : EXIT.usage;
  }

  /** A request through the registry. */
  command(command: Command, reply: Reply): void {
    this.#log.info('command', { ...command });
    if (command.type === 'dump') return void this.#dumpRequests.byCommand(command.child, reply);
    if (command.type === 'profile' || command.type === 'heap')
      return this.#captures.take(command, this.#fleet.get(command.child), reply);
    const event = this.#center.take(command, reply, this.#state, performance.now());
    if (event) this.#enqueue(event);
  }

  #onSignal(event: SupervisorEvent, signal: NodeJS.Signals): void {
    const before = this.#state;
    this.#enqueue(event);
    this.#signalNarrator.acted(event, signal, before, this.#state);
  }

  #enqueue(event: SupervisorEvent): void {
    this.#queue.push(event);
    if (this.#deciding) return;
    this.#deciding = true;
    try {
      for (let next = this.#queue.shift(); next; next = this.#queue.shift()) this.#decide(next);
    } finally {
      this.#deciding = false;
    }
    this.#setDueTimer();
  }

  #decide(event: SupervisorEvent): void {
    const nowMs = performance.now();
    const { state, effects } = decide(this.#state, event, { nowMs, random: Math.random() });
    this.#state = state;
    this.#center.observe(state, effects, nowMs);
    for (const effect of effects) this.#carryOut(effect, effects);
    this.#onlookers.decided(effects, this.view);
  }

  /** @param all of the decision that it is part of */
  #carryOut(effect: Effect, all: readonly Effect[]): void {
    switch (effect.type) {
      case 'spawn':
        void this.#spawn(effect);
        return;
      case 'send':
        this.#fleet.get(effect.identity)?.send(effect.message);
        return;
      case 'kill': {
        const child = this.#fleet.get(effect.identity);
        if (child) this.#narrator.kill(child, effect.reason);
        child?.killGroup();
        return;
      }
      case 'dump':
        return this.#dumpRequests.bySupervisor(effect);
      case 'release':
        this.#fleet.get(effect.by)?.send({
          type: 'release',
          releaseId: effect.releaseId,
          holdings: this.#debts.holdingsOf(effect.owner),
          death: this.#debts.deathOf(effect.owner),
          quarantineAfter: this.#parts.config.quarantineAfter,
          usesLimits: this.#debts.usedLimits(effect.owner),
        });
        return;
      case 'extendLocks': {
        const holdings = lockHoldingsOf(this.#fleet.get(effect.owner)?.workers ?? []);
        this.#fleet.get(effect.by)?.send({ type: 'extendLocks', owner: effect.owner, holdings });
        return;
      }
      case 'settle':
        return this.#exits.settle(effect.owner, effect.isPartial);
      case 'announceExit':
        return this.#exits.announce(effect);
      case 'announceLeft':
        return this.#exits.announceLeft(effect);
      case 'announceReplacement':
        return this.#narrator.replacement(effect, this.#exits.because(effect, all));
      case 'announceRoll':
        this.#reports.rollError = this.#exits.because(effect, all);
        return this.#narrator.roll(effect, this.#reports.rollError);
      case 'log':
        this.#log[effect.level](effect.message, { ...this.#fleet.where(effect.slot), ...effect.fields });
        return;
      case 'report':
        this.#reporter.changed();
        return;
      case 'exit':
        this.#finish(EXIT_CODES[effect.reason]);
        return;
    }
  }

  async #spawn({ slot: index, seat, generation }: Extract<Effect, { type: 'spawn' }>): Promise<void> {
    const { config, info, redisUrl, redisIsEmbedded } = this.#parts;
    const group = this.#groupOf(index);
    const count = wantedCount(this.#state);
    const order = {
      config,
      group,
      slot: index,
      count,
      generation,
      host: info.host,
      redisUrl,
      redisIsEmbedded,
    };
    let forked: Forked;
    try {
      forked = await forkChild(order);
    } catch (error) {
      this.#enqueue({ type: 'spawnFailed', slot: index, seat, error: (error as Error).message });
      return;
    }
    const child = new ChildHandle(forked, index, group.name, generation, {
      onMessage: (from, message) => this.#inbox.take(from, message),
      onWatchdog: (from, message) => this.#onWatchdog(from, message),
      onMalformed: (from, why) => this.#narrator.malformed(from, why),
      onLine: ({ slot, pid }, stream, text) => this.#log.childOutput({ slot, pid, stream, text }),
      onExit: (from, exit) => this.#exits.onExit(from, exit),
    });
    const { identity, pid } = child;
    this.#fleet.add(child);
    this.#deaths.born(child);
    this.#narrator.spawned(child);
    this.#enqueue({ type: 'childSpawned', slot: index, seat, identity, pid, generation });
  }

  #onWatchdog(child: ChildHandle, message: WatchdogMessage): void {
    if (message.type === 'trouble') this.#narrator.trouble(child, message.message);
    else if (message.type === 'look') this.#watchdogs.hear(child, this.#excused(child, message.look));
    else if (message.type === 'jobs') this.#sawJobs(child, message.jobs);
    else this.#dumps.hear(child, message);
  }

  #sawJobs(child: ChildHandle, jobs: readonly ActiveJob[]): void {
    child.sawJobs(jobs);
    this.#reporter.changed();
  }

  /** A snapshot of its heap holds it, as a debugger would. */
  #excused(child: ChildHandle, look: Look): Look {
    return look.kind && this.#captures.isStopped(child) ? { ...look, kind: 'debugger' } : look;
  }

  #tick(): void {
    this.#enqueue({ type: 'tick' });
    this.#exits.inherit();
    this.#watchdogs.look();
    this.#dumps.look();
    this.#onlookers.ticked(this.view);
    this.#jobTimeouts.look();
    void this.#sample();
  }

  #setDueTimer(): void {
    clearTimeout(this.#dueTimer);
    const dueAtMs = nextDueAtMs(this.#state);
    if (dueAtMs === null || this.#state.phase === 'stopped') return;
    const inMs = Math.max(1, Math.ceil(dueAtMs - performance.now()));
    this.#dueTimer = setTimeout(() => this.#enqueue({ type: 'tick' }), inMs);
  }

  async #sample(): Promise<void> {
    if (this.#sampling) return;
    this.#sampling = true;
    try {
      const pids = this.#fleet.all.map(({ pid }) => pid);
      const samples = await this.#sampler.sample(pids, this.#limits.softBounds);
      const living = new Set(this.#fleet.all.map(({ pid }) => pid));
      for (const [pid, sample] of samples) {
        // one that is dead or a zombie has none; its last living sample says more
        if (sample.rssBytes && living.has(pid)) this.#fleet.samples.set(pid, sample);
      }
      this.#deaths.look(this.#fleet.all, this.#fleet.samples);
      this.#limits.sampled();
    } finally {
      this.#sampling = false;
    }
  }

  #viewOf(info: MasterInfo): MasterView {
    const state = () => this.#state;
    const records = () => this.#fleet.records;
    return {
      info,
      get state() {
        return state();
      },
      get children() {
        return records();
      },
    };
  }

  /** Everybody who keeps something about a child that is gone. */
  #forget(child: ChildHandle): void {
    this.#lostHosts.onChildGone(child.identity);
    this.#limits.forget(child);
    this.#watchdogs.forget(child);
    this.#dumps.forget(child);
    this.#jobTimeouts.forget(child);
    this.#idleChildren.forget(child);
    this.#captures.forget(child);
  }

  #groupOf(index: number): GroupConfig {
    const name = this.#fleet.slot(index)?.group;
    return this.#parts.config.groups.find((group) => group.name === name) as GroupConfig;
  }
}
