/**
 * swarm's part of a child, set up before the app is loaded: it catches the app's Workers as they start,
 * tells the master how they are, and does what the master says. It opens no Redis connection.
 */
import { realpathSync } from 'node:fs';
import type { Worker } from 'node:worker_threads';
import type { ChildOptions } from '../child-options.js';
import { EXIT, SwarmError, usageError } from '../errors.js';
import type { Consumer } from '../fetch/consumer.js';
import { identityOf } from '../identity.js';
import { onFirstUse } from '../limiter/meeting.js';
import type { GivenUpJob, MasterMessage, ReleasedJob } from '../protocol.js';
import { extendLocks } from '../recovery/extend-locks.js';
import { freeLeases, freeOwnLeases } from '../recovery/free-leases.js';
import { canRelease, type Released, releaseHoldings } from '../recovery/release.js';
import { Strays } from '../recovery/strays.js';
import { sweepHolding } from '../recovery/sweep.js';
import { reportAddons } from './addons.js';
import { type AppDefinition, onAppDefined, provideRuntime } from './app-registration.js';
import { Heart } from './beat.js';
import { type BullWorker, type FoundBullmq, findBullmq } from './bullmq.js';
import type { Captures } from './captures.js';
import { Channel } from './channel.js';
import { provideContext } from './dump-context.js';
import { FetchWatch } from './fetch-watch.js';
import { IoWatch } from './io-watch.js';
import { killOwnGroup } from './own-group.js';
import { readQueueLoad } from './queue-load.js';
import { CapturedSignals } from './signals.js';
import { Departure } from './stop.js';
import { startWatchdog } from './watchdog.js';
import { Workers } from './workers.js';

/** An app that is not ready by then gets a hint. */
const HINT_MS = 5_000;
const MAX_TROUBLE_LENGTH = 300;
/** After the drain: hand-back, close hooks and a little more. */
const LEAVE_GRACE_MS = 6_000;
/** Less often than beats: nobody acts on it. */
const KINDS_REPORT_MS = 2_000;

export function startChild(options: ChildOptions): void {
  new ChildRuntime(options, realpathSync(process.argv[1] as string)).start();
}

class ChildRuntime {
  readonly #options: ChildOptions;
  readonly #app: string;
  readonly #identity: string;
  readonly #masterPid = process.ppid;
  readonly #channel = new Channel();
  readonly #signals = new CapturedSignals();
  readonly #workers: Workers;
  readonly #heart: Heart;
  readonly #departure: Departure;
  readonly #strays: Strays;
  readonly #fetchWatch: FetchWatch;
  /** Of a swarm app. */
  #consumer: Consumer | null = null;
  /** By id: while Redis is gone, a master asks more than once. */
  readonly #releases = new Map<string, Promise<Released>>();
  /** Loaded when somebody asks. */
  #captures: Promise<Captures> | null = null;
  #bullmq: FoundBullmq | null = null;
  /** What was said last of what keeps it from being ready. */
  #trouble = '';
  #phase: 'boot' | 'run' | 'leaving' = 'boot';
  #closeApp: ((force: boolean) => Promise<void>) | null = null;

  constructor(options: ChildOptions, app: string) {
    this.#options = options;
    this.#app = app;
    this.#identity = identityOf(options.host, process.pid, options.nonce);
    this.#workers = new Workers(options.concurrency, {
      onStarted: (worker, info) => {
        this.#channel.send({ type: 'workerStarted', worker: info });
        if (canRelease(worker)) this.#strays.watch(worker);
        if (this.#closeApp) return;
        if (this.#options.queues.length > 0) void this.#refuseQueues();
        else this.#readyWith(worker);
      },
      onEnded: (worker) => this.#channel.send({ type: 'workerEnded', worker }),
      onStaleEnd: ({ queue, id }) => {
        const message = `job ${queue}/${id} ended here after it was no longer ours: its result is not kept`;
        this.#channel.send({ type: 'log', level: 'debug', message });
      },
      onOpenEnd: (worker) => this.#strays.suspect(worker),
      onTrouble: (worker, error) => this.#reportTrouble(worker.name, error),
    });
    this.#strays = new Strays(this.#workers, (jobs) => {
      const names = jobs.map(({ queue, id }) => `${queue}/${id}`).join(' ');
      const message = `given back, they were active and nobody ran them: ${names}`;
      this.#channel.send({ type: 'log', level: 'warn', message });
    });
    this.#fetchWatch = new FetchWatch({
      workers: this.#workers,
      heldUp: (worker) => this.#consumer?.heldUp(worker.name) ?? null,
      onAlarm: (alarm) => this.#channel.send({ type: 'notConsuming', alarm }),
    });
    this.#heart = new Heart(this.#workers, (beat) => this.#channel.send({ type: 'beat', beat }));
    this.#departure = new Departure(this.#workers, this.#channel, () => this.#close());
  }

  start(): void {
    process.env['SWARM_IDENTITY'] = this.#identity;
    this.#signals.install();
    this.#channel.listen(
      (message) => this.#obey(message),
      () => this.#leaveAlone(),
    );
    this.#reportErrors();
    reportAddons((file) => this.#channel.send({ type: 'addonLoaded', file }));
    this.#heart.start();
    setInterval(() => this.#reportKinds(), KINDS_REPORT_MS).unref();
    if (this.#options.watchdog) {
      const ownThread = startWatchdog({
        masterPid: this.#masterPid,
        pulse: this.#heart.pulse.memory,
        board: this.#workers.board.memory,
        leaveWithinMs: this.#options.drainTimeoutMs + LEAVE_GRACE_MS,
      });
      this.#provideContext(ownThread);
    }
    this.#instrument();
    onFirstUse(() => this.#channel.send({ type: 'limitsUsed' }));
    provideRuntime({ track: (worker) => this.#workers.track(worker as BullWorker) });
    onAppDefined((app) => void this.#runApp(app));
    setTimeout(() => this.#hint(), HINT_MS).unref();
  }

  /** What the watchdog asks the main thread. */
  #provideContext(ownThread: Worker): void {
    const { context } = this.#workers;
    // where no context is kept, the only job there is has begun it
    const io = new IoWatch(() => context.current ?? (context.isKept ? null : this.#workers.onlyJob));
    io.listen();
    provideContext({ context, io, elu: () => this.#heart.elu, ownThread });
  }

  #instrument(): void {
    this.#bullmq = findBullmq(this.#app);
    if (!this.#bullmq) return;
    const missing = this.#workers.instrument(this.#bullmq.module);
    if (!missing) return;
    const message = `bullmq ${this.#bullmq.version} has no ${missing}: its Workers cannot be followed`;
    this.#channel.send({ type: 'log', level: 'error', message });
  }

  #reportErrors(): void {
    process.on('uncaughtExceptionMonitor', (error) => {
      // the app has a handler of its own, and may well go on
      if (process.listenerCount('uncaughtException') > 0) return;
      const { message, stack } = describe(error);
      const phase = this.#phase === 'boot' ? 'boot' : 'run';
      const job = this.#workers.throwingJob;
      this.#channel.send({ type: 'uncaught', phase, message, stack, ...(job && { job }) });
    });
    process.on('beforeExit', () => {
      if (this.#phase !== 'boot') return;
      const ranToEnd = !process.exitCode && !this.#closeApp;
      const message = this.#noWorkers('ended');
      this.#channel.send({ type: 'uncaught', phase: 'boot', message, stack: '', ranToEnd });
      // the message above is on its way; without this the event would come again
      this.#phase = 'leaving';
      process.exitCode ||= 1;
    });
  }

  /** What keeps a Worker from its Redis is said by nobody else, where the program listens to its errors. */
  #reportTrouble(queue: string, error: unknown): void {
    const { message } = describe(error);
    const said = `the Worker of ${queue}: ${message}`.slice(0, MAX_TROUBLE_LENGTH);
    if (this.#phase !== 'boot' || message === '' || said === this.#trouble) return;
    this.#trouble = said;
    this.#channel.send({ type: 'bootTrouble', message: said });
  }

  #noWorkers(what: 'ended' | 'runs'): string {
    const seen = this.#bullmq
      ? `its bullmq is ${this.#bullmq.version}, ${this.#bullmq.file}`
      : 'no bullmq is to be found beside it';
    const state =
      what === 'ended' ? 'ended without starting a BullMQ Worker' : 'runs, but has started no BullMQ Worker';
    return (
      `${this.#app} ${state}: is this the file that makes your new Worker(…)? It exports no defineApp(), and ${seen}. ` +
      "A bundled program hides its bullmq: import { track } from 'bullmq-swarm' and call track(worker) for each Worker, " +
      'or leave bullmq out of the bundle'
    );
  }

  #hint(): void {
    if (this.#phase !== 'boot' || this.#closeApp) return;
    const queues = this.#workers.list.map(({ name }) => name).join(', ');
    const unconnected = `not ready: the Workers of ${this.#app} (${queues}) have no connection to their Redis yet`;
    const why = this.#trouble === '' ? '' : ` (${this.#trouble})`;
    const message = queues === '' ? this.#noWorkers('runs') : `${unconnected}${why}`;
    this.#channel.send({ type: 'log', level: 'warn', message });
  }

  /** An unmodified program is ready when its first Worker has its connections. */
  #readyWith(worker: BullWorker): void {
    worker.waitUntilReady().then(
      () => this.#ready(),
      () => {
        // the Worker retries, and says so itself; the master's boot timeout bounds it
      },
    );
  }

  /** A program that makes its own Workers has chosen its queues; to ignore the flag would be to run the wrong ones. */
  async #refuseQueues(): Promise<void> {
    const names = this.#options.queues.map(({ name }) => name).join(', ');
    const message =
      `--queue (${names}) is for apps of defineApp(); ${this.#app} makes its own ` +
      'Workers, and so chooses its queues itself: leave --queue and SWARM_QUEUES out';
    await this.#refuse(usageError('SWARM_QUEUE_NEEDS_APP', message));
  }

  /** What the master was told to run cannot be run, now or later. */
  async #refuse({ code, message }: SwarmError): Promise<never> {
    const said = `${code}: ${message}`;
    await this.#channel.sendLast({
      type: 'uncaught',
      phase: 'boot',
      message: said,
      stack: '',
      isUsage: true,
    });
    process.exit(1);
  }

  #ready(): void {
    if (this.#phase !== 'boot') return;
    this.#phase = 'run';
    this.#channel.send({
      type: 'ready',
      bullmqVersion: this.#bullmq?.version ?? null,
      concurrency: this.#workers.concurrency,
      canRelease: this.#workers.list.every(canRelease),
    });
    this.#heart.beat();
    this.#fetchWatch.start();
  }

  async #runApp(app: AppDefinition): Promise<void> {
    // claimed before anything is awaited: the app's own Workers are not what makes it ready
    this.#closeApp = async () => {};
    try {
      const { runApp } = await import('./app-runner.js');
      this.#closeApp = await runApp(app, {
        options: this.#options,
        identity: this.#identity,
        bullmq: this.#bullmq,
        appFile: this.#app,
        warn: (message) => this.#channel.send({ type: 'log', level: 'warn', message }),
        workers: this.#workers,
        onWaiting: (jobs) => this.#channel.send({ type: 'waiting', jobs: [...jobs] }),
        onConsumer: (consumer) => {
          this.#consumer = consumer;
        },
        onJobTimeouts: (queues) => this.#channel.send({ type: 'jobTimeouts', queues: [...queues] }),
      });
      this.#ready();
    } catch (error) {
      if (error instanceof SwarmError && error.exitCode === EXIT.usage) await this.#refuse(error);
      this.#channel.send({ type: 'uncaught', phase: 'boot', ...describe(error) });
      console.error(error);
      await this.#channel.sendLast({ type: 'log', level: 'error', message: 'the app did not boot' });
      process.exit(1);
    }
  }

  #obey(message: MasterMessage): void {
    switch (message.type) {
      case 'quiet':
        return this.#workers.quiet();
      case 'resume':
        void this.#workers.resume();
        return;
      case 'stop':
        return this.#leave(message.drainTimeoutMs, message.givenUp);
      case 'abortJob':
        return this.#workers.abortRun(message.job);
      case 'release':
        void this.#release(message);
        return;
      case 'sweep':
        void this.#sweep(message);
        return;
      case 'extendLocks':
        void this.#extendLocks(message);
        return;
      case 'lookAtQueue':
        void this.#lookAtQueue(message);
        return;
      case 'capture':
        this.#captures ??= this.#loadCaptures();
        void this.#captures.then((captures) => captures.take(message));
        return;
      case 'withdrawCapture':
        void this.#captures?.then((captures) => captures.withdraw(message.captureId));
        return;
    }
  }

  #reportKinds(): void {
    const kinds = this.#workers.memory.take();
    if (kinds.length > 0) this.#channel.send({ type: 'jobMemory', kinds });
    const durations = this.#workers.durations.take();
    if (durations.length > 0) this.#channel.send({ type: 'jobDurations', kinds: durations });
  }

  async #loadCaptures(): Promise<Captures> {
    const { Captures } = await import('./captures.js');
    return new Captures(this.#options.slot, (message) => this.#channel.send(message));
  }

  #leave(drainTimeoutMs: number, givenUp: readonly GivenUpJob[] = [], alone = false): void {
    this.#phase = 'leaving';
    void this.#captures?.then((captures) => captures.end());
    this.#departure.begin(drainTimeoutMs, givenUp, alone);
  }

  /** The master is gone, and with it who would kill what this child leaves behind. */
  #leaveAlone(): void {
    process.on('exit', () => {
      if (process.ppid !== this.#masterPid) killOwnGroup();
    });
    this.#leave(this.#options.drainTimeoutMs, [], true);
  }

  async #release(order: Extract<MasterMessage, { type: 'release' }>): Promise<void> {
    const { releaseId } = order;
    try {
      const onMoving = (jobs: ReleasedJob[]): void =>
        this.#channel.send({ type: 'releasing', releaseId, jobs });
      const underWay = this.#releases.get(releaseId) ?? releaseHoldings(this.#workers, order, onMoving);
      this.#releases.set(releaseId, underWay);
      const { jobs, unserved } = await underWay;
      this.#channel.send({ type: 'released', releaseId, jobs, unserved, error: null });
    } catch (error) {
      const { message } = describe(error);
      this.#channel.send({ type: 'released', releaseId, jobs: [], unserved: [], error: message });
    } finally {
      this.#releases.delete(releaseId);
    }
    await this.#freeLeases(releaseId, order.usesLimits);
  }

  /** Of a dead child: the id of its release is its identity. */
  async #freeLeases(owner: string, usesLimits: boolean): Promise<void> {
    try {
      const leases = await freeLeases(owner, usesLimits);
      if (leases > 0) this.#channel.send({ type: 'leasesFreed', owner, leases, error: null });
    } catch (error) {
      this.#channel.send({ type: 'leasesFreed', owner, leases: 0, error: describe(error).message });
    }
  }

  async #sweep({ sweepId, holding }: Extract<MasterMessage, { type: 'sweep' }>): Promise<void> {
    const nothing = { served: true, released: [], waiting: [] };
    try {
      const swept = await sweepHolding(this.#workers, holding, this.#identity);
      this.#channel.send({ type: 'swept', sweepId, ...swept, error: null });
    } catch (error) {
      this.#channel.send({ type: 'swept', sweepId, ...nothing, error: describe(error).message });
    }
  }

  async #extendLocks({ owner, holdings }: Extract<MasterMessage, { type: 'extendLocks' }>): Promise<void> {
    try {
      const done = await extendLocks(this.#workers, holdings);
      this.#channel.send({ type: 'locksExtended', owner, ...done, error: null });
    } catch (error) {
      const { message } = describe(error);
      this.#channel.send({ type: 'locksExtended', owner, extended: 0, unserved: [], error: message });
    }
  }

  async #lookAtQueue({ lookId, ...queue }: Extract<MasterMessage, { type: 'lookAtQueue' }>): Promise<void> {
    const worker = this.#workers.find(queue);
    const load = worker ? await readQueueLoad(worker).catch(() => null) : null;
    const waiting = load && (load.isHeldUp ? 0 : load.waiting);
    this.#channel.send({ type: 'queueSeen', lookId, waiting });
  }

  /** A program with handlers of its own closes in its own way; any other has its Workers closed. */
  async #close(): Promise<void> {
    this.#reportKinds();
    // a job that was handed back and still runs would be waited for
    const force = this.#workers.busy > 0;
    // what closes next may be the connection that they are freed on
    await freeOwnLeases();
    if (this.#closeApp) await this.#closeApp(force);
    const ran = await this.#signals.run();
    if (!ran) await Promise.all(this.#workers.list.map((worker) => worker.close(force)));
  }
}

function describe(error: unknown): { message: string; stack: string } {
  if (error instanceof Error) return { message: error.message, stack: error.stack ?? String(error) };
  return { message: String(error), stack: '' };
}
