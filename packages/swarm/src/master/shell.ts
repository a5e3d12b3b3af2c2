/**
 * The effect shell around `decide`: whatever happens – a signal, a message, an exit, a timer – becomes
 * an event, one loop turns events into effects, and the effects are carried out here. Handlers only
 * enqueue. The master loads neither user code nor BullMQ, so that nothing of theirs can take it down.
 */
import type { Config, GroupConfig } from '../config.js';
import { EXIT, type ExitCode } from '../errors.js';
import type { Logger } from '../log.js';
import { ChildHandle, type Exit, isDrained } from '../process/child-handle.js';
import { type Forked, forkChild } from '../process/fork.js';
import { type Sample, Sampler } from '../process/memory.js';
import type { ChildMessage } from '../protocol.js';
import { holdingsOf } from '../recovery/holdings.js';
import { lockHoldingsOf } from '../recovery/lock-holdings.js';
import type { Helper } from '../recovery/lost-hosts.js';
import type { Orphan } from '../recovery/predecessors.js';
import type { Reply } from '../registry/command-listener.js';
import type { Command } from '../registry/commands.js';
import type { DeathStream } from '../registry/death-stream.js';
import type { DumpStream } from '../registry/dump-stream.js';
import { Reporter } from '../registry/reporter.js';
import type { Rescue } from '../registry/rescue.js';
import type { ChildRecord, LastDeath, MasterInfo } from '../registry/schema.js';
import type { MasterReport, RegistryWriter } from '../registry/writer.js';
import { decide } from '../supervisor/decide.js';
import type { Effect, SupervisorEvent } from '../supervisor/events.js';
import { isGoing } from '../supervisor/scale.js';
import {
  childrenOf,
  DEFAULT_POLICY,
  initialState,
  isSeated,
  type KillReason,
  nextDueAtMs,
  type Slot,
  type SupervisorState,
} from '../supervisor/state.js';
import type { Look, WatchdogMessage } from '../watchdog-protocol.js';
import { bootError, whyEnded } from './boot-error.js';
import { Captures } from './captures.js';
import { CommandCenter } from './command-center.js';
import { noticeOf } from './death-notice.js';
import { type Death, Deaths } from './deaths.js';
import { Debts } from './debts.js';
import { Dumps } from './dumps.js';
import { IdleChildren } from './idle-children.js';
import { InheritedDeath, inheritedCause } from './inherited-death.js';
import { JobLedger } from './job-ledger.js';
import { JobTimeouts } from './job-timeouts.js';
import { LimitWatch } from './limit-watch.js';
import { LostHosts } from './lost-hosts.js';
import { Narrator, where } from './narrator.js';
import { type MasterView, type Onlooker, Onlookers } from './onlookers.js';
import { childRecord, emptySeatRecord, masterState, onRedisClock } from './records.js';
import { listenToSignals } from './signals.js';
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
  readonly #reporter: Reporter;
  readonly #debts: Debts;
  readonly #lostHosts: LostHosts;
  readonly #deaths: Deaths;
  readonly #center = new CommandCenter((identity, killedFor) => this.#whyEnded(identity, killedFor));
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
  /** By identity. */
  readonly #children = new Map<string, ChildHandle>();
  readonly #samples = new Map<number, Sample>();
  /** By slot: who sat there before, and how it ended. */
  readonly #last = new Map<number, { record: ChildRecord; death: LastDeath }>();
  /** By identity: those whose end is to be announced. */
  readonly #judged = new Map<string, Death>();
  #state: SupervisorState;
  readonly #queue: SupervisorEvent[] = [];
  #deciding = false;
  #dueTimer: NodeJS.Timeout | undefined;
  #sampling = false;
  #wanted = 0;
  #appError: string | null = null;
  #dumpedAllAtMs = Number.NEGATIVE_INFINITY;
  #finish: (code: ExitCode) => void = () => {};

  constructor(parts: MasterParts) {
    const { config, log, writer } = parts;
    this.#parts = parts;
    this.#log = log;
    this.#narrator = new Narrator(log);
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
      children: () => [...this.#children.values()].filter((child) => !this.#captures.isStopped(child)),
      isSeated: (identity) => isSeated(this.#state, identity),
      samples: this.#samples,
      ask: (event) => this.#enqueue(event),
    });
    this.#watchdogs = new Watchdogs({
      children: () => this.#children.values(),
      ask: (event) => this.#enqueue(event),
    });
    this.#reporter = new Reporter({
      writer,
      log,
      snapshot: (clockOffsetMs) => this.#report(clockOffsetMs),
      onLost: () => this.#enqueue({ type: 'redisLost' }),
      onBack: () => this.#enqueue({ type: 'redisBack' }),
      onBeat: (stale) => this.#lostHosts.onBeat(stale),
    });
    this.#lostHosts = new LostHosts({
      rescue: parts.rescue,
      self: parts.info,
      log,
      helpers: () => this.#helpers(),
      send: (identity, message) => this.#children.get(identity)?.send(message),
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
      children: () => this.#children.values(),
      isAtBreakpoint: (identity) => this.#state.blocks[identity]?.kind === 'debugger',
      dump: (child, about) => this.#dumps.request(child, 'job-timeout', about),
      ask: (event) => this.#enqueue(event),
    });
    this.#idleChildren = new IdleChildren({
      log,
      isSeated: (identity) => isSeated(this.#state, identity),
      siblingOf: (child) => this.#siblingOf(child),
      dump: (child, notes) => this.#dumps.request(child, 'not-consuming', null, notes),
      ask: (event) => this.#enqueue(event),
    });
    this.#captures = new Captures({
      log,
      stateOf: (child) => this.#stateOf(child),
      snapshotTaken: (child) => this.#limits.snapshotTaken(child),
    });
    this.#deaths = new Deaths({
      info: parts.info,
      log,
      stream: parts.deathStream,
      clockOffsetMs: () => this.#reporter.clockOffsetMs,
    });
  }

  /** The app's own words about why it does not boot. */
  get appError(): string | null {
    return this.#appError;
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
          onDump: () => this.#dumpAll(),
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
    return code;
  }

  /** A request through the registry. */
  command(command: Command, reply: Reply): void {
    this.#log.info('command', { ...command });
    if (command.type === 'dump') return void this.#dumpFor(command.child, reply);
    if (command.type === 'profile' || command.type === 'heap')
      return this.#captures.take(command, this.#children.get(command.child), reply);
    const event = this.#center.take(command, reply, this.#state, performance.now());
    if (event) this.#enqueue(event);
  }

  /** Each second at most: of a thousand signals, nobody wants a thousand dumps. */
  #dumpAll(): void {
    const nowMs = performance.now();
    if (nowMs - this.#dumpedAllAtMs < TICK_MS) return;
    this.#dumpedAllAtMs = nowMs;
    for (const child of this.#children.values()) void this.#dumps.request(child, 'signal');
  }

  async #dumpFor(identity: string | null, reply: Reply): Promise<void> {
    const children = [...this.#children.values()].filter(
      (child) => identity === null || child.identity === identity,
    );
    const taken = await Promise.all(children.map((child) => this.#dumps.request(child, 'command')));
    const dumps = taken.flatMap((dump) => (dump ? [dump.id] : []));
    if (dumps.length > 0) reply({ state: 'done', message: `${dumps.length} dumped`, dumps });
    else
      reply({ state: 'failed', message: identity === null ? 'it has no child now' : 'this child is gone' });
  }

  #onSignal(event: SupervisorEvent, signal: NodeJS.Signals): void {
    const { phase, roll } = this.#state;
    this.#enqueue(event);
    const now = this.#state.phase;
    if (roll === 'none' && this.#state.roll !== 'none') this.#log.info('rolling', { signal });
    else if (event.type === 'stopForced') this.#log.warn('stopping now', { signal });
    else if (now !== phase) this.#log.info(now === 'stopped' ? 'stopping' : now, { signal });
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
    for (const effect of effects) this.#carryOut(effect);
    this.#onlookers.decided(effects, this.view);
  }

  #carryOut(effect: Effect): void {
    switch (effect.type) {
      case 'spawn':
        void this.#spawn(effect);
        return;
      case 'send':
        this.#children.get(effect.identity)?.send(effect.message);
        return;
      case 'kill': {
        const child = this.#children.get(effect.identity);
        if (child) this.#narrator.kill(child, effect.reason);
        child?.killGroup();
        return;
      }
      case 'dump':
        return this.#dump(effect);
      case 'release':
        this.#children.get(effect.by)?.send({
          type: 'release',
          releaseId: effect.releaseId,
          holdings: this.#debts.holdingsOf(effect.owner),
          death: this.#debts.deathOf(effect.owner),
          quarantineAfter: this.#parts.config.quarantineAfter,
          usesLimits: this.#debts.usedLimits(effect.owner),
        });
        return;
      case 'extendLocks': {
        const holdings = lockHoldingsOf(this.#children.get(effect.owner)?.workers ?? []);
        this.#children.get(effect.by)?.send({ type: 'extendLocks', owner: effect.owner, holdings });
        return;
      }
      case 'settle':
        this.#settle(effect.owner);
        return;
      case 'announceExit':
        this.#announceExit(effect);
        return;
      case 'announceLeft':
        return this.#announceLeft(effect);
      case 'announceReplacement':
        return this.#narrator.replacement(effect);
      case 'announceRoll':
        return this.#narrator.roll(effect);
      case 'log':
        this.#log[effect.level](effect.message, { ...this.#where(effect.slot), ...effect.fields });
        return;
      case 'report':
        this.#reporter.changed();
        return;
      case 'exit':
        this.#finish(EXIT_CODES[effect.reason]);
        return;
    }
  }

  #dump({ identity, reason }: Extract<Effect, { type: 'dump' }>): void {
    const child = this.#children.get(identity);
    const block = this.#state.blocks[identity];
    if (!child) return;
    if (block) this.#narrator.stuck(child, block);
    void this.#dumps.request(child, reason);
  }

  async #spawn({ slot: index, seat, generation }: Extract<Effect, { type: 'spawn' }>): Promise<void> {
    const { config, info, redisUrl, redisIsEmbedded } = this.#parts;
    const group = this.#groupOf(index);
    const order = { config, group, slot: index, generation, host: info.host, redisUrl, redisIsEmbedded };
    let forked: Forked;
    try {
      forked = await forkChild(order);
    } catch (error) {
      this.#enqueue({ type: 'spawnFailed', slot: index, seat, error: (error as Error).message });
      return;
    }
    const child = new ChildHandle(forked, index, group.name, generation, {
      onMessage: (from, message) => this.#onMessage(from, message),
      onWatchdog: (from, message) => this.#onWatchdog(from, message),
      onMalformed: (from, why) => this.#narrator.malformed(from, why),
      onLine: ({ slot, pid }, stream, text) => this.#log.childOutput({ slot, pid, stream, text }),
      onExit: (from, exit) => this.#onExit(from, exit),
    });
    const { identity, pid } = child;
    this.#children.set(identity, child);
    this.#deaths.born(child);
    this.#narrator.spawned(child);
    this.#enqueue({ type: 'childSpawned', slot: index, seat, identity, pid, generation });
  }

  #onWatchdog(child: ChildHandle, message: WatchdogMessage): void {
    if (message.type === 'trouble') this.#narrator.trouble(child, message.message);
    else if (message.type === 'look') this.#watchdogs.hear(child, this.#excused(child, message.look));
    else this.#dumps.hear(child, message);
  }

  /** A snapshot of its heap holds it, as a debugger would. */
  #excused(child: ChildHandle, look: Look): Look {
    return look.kind && this.#captures.isStopped(child) ? { ...look, kind: 'debugger' } : look;
  }

  /** What the process table says of a child, for those who want something of it. */
  #stateOf({ identity, slot, readyAtMs }: ChildHandle) {
    const seat = this.#slot(slot);
    const child = seat && childrenOf(seat).find((other) => other.identity === identity);
    return {
      isReady: readyAtMs !== null,
      isLeaving: !child || child.killedFor !== null || child.leavesFor !== null,
      blockedMs: this.#state.blocks[identity]?.blockedMs ?? 0,
    };
  }

  #onMessage(child: ChildHandle, message: ChildMessage): void {
    const { slot, identity } = child;
    this.#onlookers.heard(slot, child.group, message);
    switch (message.type) {
      case 'ready':
        this.#narrator.ready(child, message);
        this.#enqueue({ type: 'childReady', slot, identity, canRelease: message.canRelease });
        void this.#limits.ready(child);
        return;
      case 'releasing':
        return this.#deaths.releasing(message);
      case 'released': {
        const { releaseId, error, unserved } = message;
        this.#narrator.released(child, message);
        if (error === null) this.#debts.swept(releaseId);
        this.#deaths.released(message);
        this.#enqueue({ type: 'releaseAnswered', releaseId, by: identity, error, unserved });
        return;
      }
      case 'leasesFreed':
        return this.#narrator.leasesFreed(child, message);
      case 'swept':
        return this.#lostHosts.onSwept(child, message);
      case 'notConsuming':
        return this.#idleChildren.hear(child, message);
      case 'queueSeen':
        return this.#idleChildren.onSeen(message);
      case 'locksExtended': {
        const { owner, unserved } = message;
        this.#narrator.locksExtended(child, message);
        const error = message.error ?? (unserved.length > 0 ? 'it does not work for these queues' : null);
        this.#enqueue({ type: 'locksExtended', owner, by: identity, error });
        return;
      }
      case 'uncaught':
        return this.#narrator.uncaught(child, message);
      case 'draining':
        return this.#narrator.draining(child, message);
      case 'drained':
        this.#narrator.drained(child, message);
        if (message.left?.length) this.#enqueue({ type: 'killRequested', identity, reason: 'job-timeout' });
        return;
      case 'log':
        return this.#narrator.relayed(child, message);
      case 'workerStarted':
        // it may take a job in the next moment: its queue and tokens are what a successor finds that job by
        return this.#reporter.changed('now');
      case 'workerEnded':
        return this.#reporter.changed();
      case 'jobMemory':
        return this.#jobLedger.add(message.kinds);
      case 'jobDurations':
        return this.#usualDurations.add(message.kinds);
      case 'captureBegun':
      case 'captured':
        return this.#captures.hear(child, message);
      case 'jobTimeouts':
      case 'waiting':
      case 'limitsUsed':
      case 'addonLoaded':
      case 'beat':
        return;
    }
  }

  #onExit(child: ChildHandle, { code, signal }: Exit): void {
    const { slot: index, identity, pid } = child;
    const drained = isDrained(child);
    const holdings = holdingsOf(child.workers, child.jobs);
    // of a bullmq that cannot put jobs back, the stalled check is all there is
    const isHopeless = child.readyAtMs !== null && !child.canRelease;
    const held = holdings.length > 0 && !isHopeless;
    if (held && !drained) this.#debts.add(identity, holdings, child.usesLimits);
    const slot = this.#slot(index);
    const sample = this.#samples.get(pid);
    const told = slot && childrenOf(slot).find((other) => other.identity === identity);
    const { killedFor = null, leavesFor = null } = told ?? {};
    const jobDump = killedFor === 'job-timeout' ? this.#jobTimeouts.dumpOf(identity) : null;
    const dump = this.#dumps.latest(identity) ?? jobDump;
    const facts = { sample, owes: held && !drained, dump };
    const judged = this.#deaths.died(child, { killedFor, leavesFor }, facts);
    this.#judged.set(identity, judged);
    this.#debts.explain(
      noticeOf(child, judged.cause, Date.now(), dump, this.#jobTimeouts.givenUpBy(identity)),
    );
    const death: LastDeath = { atMs: Date.now(), identity, pid, code, signal, cause: judged.cause };
    if (slot) {
      const record = childRecord(slot, child, sample, death);
      this.#last.set(index, { record, death });
      this.#onlookers.died({ child: record, death: judged, code, signal });
    }
    const strands = isHopeless && child.jobs.length > 0;
    this.#enqueue({ type: 'childExited', slot: index, identity, drained, held, isHopeless: strands });
    this.#judged.delete(identity);
    this.#children.delete(identity);
    this.#samples.delete(pid);
    this.#lostHosts.onChildGone(identity);
    this.#limits.forget(child);
    this.#watchdogs.forget(child);
    this.#dumps.forget(child);
    this.#jobTimeouts.forget(child);
    this.#idleChildren.forget(child);
    this.#captures.forget(child);
  }

  #announceExit(effect: Extract<Effect, { type: 'announceExit' }>): void {
    const { identity, killedFor, restartInMs } = effect;
    const child = this.#children.get(identity);
    const death = this.#judged.get(identity);
    if (!child || !death) return;
    this.#narrator.exited(child, death, restartInMs);
    if (child.readyAtMs === null) this.#appError = bootError(child, killedFor, this.#parts.config);
  }

  #announceLeft({ owner, canSucceed }: Extract<Effect, { type: 'announceLeft' }>): void {
    const owed = this.#debts.jobsOf(owner);
    const jobs = owed.length > 0 ? owed : (this.#children.get(owner)?.jobs ?? []);
    this.#narrator.left(owner, jobs, canSucceed);
  }

  /** In one line, for whoever asked for a replacement. */
  #whyEnded(identity: string, killedFor: KillReason | null): string | null {
    const child = this.#children.get(identity);
    return child ? whyEnded(child, killedFor, this.#parts.config) : null;
  }

  #settle(owner: string): void {
    const predecessor = this.#debts.settle(owner);
    if (!predecessor) return;
    this.#log.info('a predecessor is accounted for', { master: predecessor });
    this.#parts.writer.removeMaster(predecessor).catch(() => {
      // it expires by itself
    });
  }

  #tick(): void {
    this.#enqueue({ type: 'tick' });
    for (const orphan of this.#debts.takeGone()) this.#inherit(orphan);
    this.#watchdogs.look();
    this.#dumps.look();
    this.#onlookers.ticked(this.view);
    this.#jobTimeouts.look();
    void this.#sample();
  }

  #inherit({ owner, left }: Orphan): void {
    const cause = left && inheritedCause(left.master, owner, 'master-died');
    if (cause) this.#deaths.inherit(new InheritedDeath(left.master, left.child, cause), false);
    this.#enqueue({ type: 'predecessorFound', owner });
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
      const pids = [...this.#children.values()].map(({ pid }) => pid);
      const samples = await this.#sampler.sample(pids, this.#limits.softBounds);
      for (const [pid, sample] of samples) {
        // a zombie has none; its last living sample says more
        if (sample.rssBytes !== 0) this.#samples.set(pid, sample);
      }
      this.#deaths.look(this.#children.values(), this.#samples);
      this.#limits.sampled();
    } finally {
      this.#sampling = false;
    }
  }

  #viewOf(info: MasterInfo): MasterView {
    const state = () => this.#state;
    const records = () => this.#state.slots.flatMap((slot) => this.#records(slot));
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

  #report(clockOffsetMs: number): MasterReport {
    const { info } = this.#parts;
    const { phase, generation, slots } = this.#state;
    const records = slots.flatMap((slot) => this.#records(slot));
    return {
      info: { ...info, startedAtMs: info.startedAtMs + clockOffsetMs },
      state: masterState(phase, slots),
      generation,
      count: this.#count(),
      children: records.map((record) => onRedisClock(record, clockOffsetMs)),
      owed: this.#debts.list,
      jobMemory: this.#jobLedger.records,
      jobDurations: this.#usualDurations.records,
      clockOffsetMs,
    };
  }

  /** Children wanted; it may have been changed at run time. */
  #count(): number {
    const { phase, slots } = this.#state;
    if (phase === 'running' || phase === 'quiet')
      this.#wanted = slots.filter((slot) => !isGoing(slot)).length;
    return this.#wanted;
  }

  /** Whoever sits in a slot, comes to it or leaves it; an empty one shows its last child. */
  #records(slot: Slot): ChildRecord[] {
    const last = this.#last.get(slot.index);
    const record = (child: ChildHandle): ChildRecord => {
      const block = this.#state.blocks[child.identity];
      return childRecord(slot, child, this.#samples.get(child.pid), last?.death ?? null, block);
    };
    const records = childrenOf(slot).flatMap(({ identity }) => {
      const child = this.#children.get(identity);
      return child ? [record(child)] : [];
    });
    if (records.length > 0 || !last) return records;
    return [emptySeatRecord(slot, last.record, last.death)];
  }

  /** Children that go on, and whose bullmq can put jobs back. */
  #helpers(): Helper[] {
    return this.#state.slots.flatMap(childrenOf).flatMap((child) => {
      const { identity, readyAtMs, canRelease, killedFor, leavesFor } = child;
      const isAble = readyAtMs !== null && canRelease && killedFor === null && leavesFor === null;
      const handle = this.#children.get(identity);
      return isAble && handle ? [{ identity, workers: handle.workers }] : [];
    });
  }

  /** One that could do something in its place. */
  #siblingOf({ identity, group }: ChildHandle): ChildHandle | null {
    const helpers = this.#helpers().map((helper) => this.#children.get(helper.identity));
    const siblings = helpers.filter((other) => other?.group === group && other.identity !== identity);
    return siblings.find((other) => other && !this.#state.blocks[other.identity]) ?? null;
  }

  #slot(index: number): Slot | undefined {
    return this.#state.slots.find((slot) => slot.index === index);
  }

  #groupOf(index: number): GroupConfig {
    const name = this.#slot(index)?.group;
    return this.#parts.config.groups.find((group) => group.name === name) as GroupConfig;
  }

  #where(index: number | null): { slot?: number; generation?: number; pid?: number } {
    if (index === null) return {};
    const child = this.#children.get(this.#slot(index)?.child?.identity ?? '');
    return child ? where(child) : { slot: index };
  }
}
