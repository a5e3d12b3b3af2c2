/**
 * What was found out about one child at one moment: stacks and facts, for whoever asks why it does not get
 * on. One schema for all cases; what does not apply is null or empty. Field names are public:
 * `swarm dumps --json` prints them. Sizes are bytes, times epoch ms unless they say otherwise.
 *
 * It holds no local variables, no job data and no query strings; of command lines and URLs, what `master/dump-details.ts` lets pass.
 */

export const DUMP_KINDS = [
  /** The main thread runs JavaScript and does not come back to its loop. */
  'javascript',
  /** It is in native code or in the kernel, where no JavaScript stack can be had. */
  'native',
  /** The process is stopped: SIGSTOP or the like. */
  'stopped',
  /** It would run if it got a CPU. */
  'starved',
  /** A debugger holds it. */
  'debugger',
  /** The loop turns, and a job has not ended in its time. */
  'job',
  /** The loop turns. */
  'turning',
  /** There is no watchdog, or it does not answer: seen from outside alone. */
  'unseen',
] as const;

export type DumpKind = (typeof DUMP_KINDS)[number];

/** Who asked for it. */
export const DUMP_TRIGGERS = [
  /** Its loop was silent for `--stuck-after`, or twice that, and so on. */
  'stuck',
  /** It was about to be killed, because it did not stop in time. */
  'stop-deadline',
  'job-timeout',
  'not-consuming',
  /** TTIN to the master. */
  'signal',
  /** `swarm dump`. */
  'command',
] as const;

export type DumpTrigger = (typeof DUMP_TRIGGERS)[number];

/** `app`: the user's own; `module`: of a package; `node`: Node's; `native`: V8's builtins, e.g. `RegExp.test`, and WebAssembly. */
export const FRAME_OWNERS = ['app', 'module', 'node', 'native'] as const;
export type FrameOwner = (typeof FRAME_OWNERS)[number];

export interface Frame {
  /** Empty: it has no name. */
  function: string;
  /** Of the source, where a source map tells; a path, `node:…`, `wasm://…`. */
  file: string | null;
  line: number | null;
  column: number | null;
  /** It waits for what is above it. */
  isAsync: boolean;
  owner: FrameOwner;
}

export interface DumpJob {
  queue: string;
  id: string;
  name: string;
  /** Which run of it, from 1. */
  attempt: number | null;
  startedAtMs: number;
}

/** The main thread as the kernel sees it; null: it does not say. */
export interface NativeSide {
  /** `R` running, `S` sleeping, `D` in the kernel, `T` stopped, `t` traced. */
  state: string;
  /** Function of the kernel in which it sleeps. */
  wchan: string | null;
  /** By name; `running`: in none. */
  syscall: string | null;
  /** What the call is about: a path, the peer of a socket. */
  target: string | null;
  /** Command line of a process that it started, and that is still there: the oldest. */
  command: string | null;
  /** Of one CPU while it was looked at, 0 to 100. */
  cpuPercent: number | null;
}

/** Input or output that has begun and not ended. */
export interface PendingIo {
  type: 'fetch' | 'http' | 'socket' | 'dns';
  /** `GET https://host/path?…`, without query; a host and port; a name that is looked up. */
  what: string;
  /** Address and port. */
  peer: string | null;
  /** `connecting`, `sent`, `reading` … */
  phase: string;
  /** null: since when is not known. */
  ageMs: number | null;
  /** Which job began it, where that is known. */
  job: { queue: string; id: string } | null;
}

/** A process that the child started. */
export interface StartedProcess {
  pid: number;
  command: string;
  state: string;
  ageMs: number | null;
  /** Which job started it, where that is known. */
  job: { queue: string; id: string } | null;
}

export interface Heap {
  usedBytes: number;
  limitBytes: number;
  /** Outside of the heap, held by objects in it. */
  externalBytes: number;
}

/** What is found out in the child, or about it. */
export interface Findings {
  kind: DumpKind;
  /** The first sample, innermost frame first. Empty: there is none to be had. */
  stack: Frame[];
  /** Innermost frames of all samples, as far as they differ. */
  tops: Frame[];
  /** How many samples there are. */
  samples: number;
  /** The samples differ. null: fewer than two. */
  isMoving: boolean | null;
  /** Taken as soon as the native call returned, which is where the stack was: it names the caller. */
  isAfterBlock: boolean;
  /** The job that it is about: the one that blocks, or has not ended in its time. null: not known. */
  job: DumpJob | null;
  /** All that ran; without `job`, each of them may be it. */
  jobs: DumpJob[];
  native: NativeSide | null;
  processes: StartedProcess[];
  io: PendingIo[];
  /** What keeps the loop alive, by type. */
  resources: Record<string, number>;
  heap: Heap | null;
  /** Event loop utilisation over the last seconds, 0 to 1. */
  elu: number | null;
  /** Worker threads that the app has started. */
  workerThreads: number;
  /** What else is to be said, for people. */
  notes: string[];
  /** How long it took. */
  tookMs: number;
}

export interface DumpRecord extends Findings {
  /** Of this dump. */
  id: string;
  atMs: number;
  /** Of the child. */
  identity: string;
  /** Of its master. */
  master: string;
  host: string;
  tag: string;
  slot: number;
  group: string;
  pid: number;
  generation: number;
  trigger: DumpTrigger;
  /** For how long the loop had not turned, as far as it counts. */
  blockedMs: number;
  /** Version of Node. */
  node: string;
}

/** As much of it as the record of a death keeps. */
export type DumpDigest = Pick<
  DumpRecord,
  'id' | 'atMs' | 'kind' | 'trigger' | 'blockedMs' | 'isMoving' | 'stack' | 'job' | 'native' | 'io'
>;

/** Calls in which a process waits for those that it has started. */
const WAITS: ReadonlySet<string> = new Set([
  'epoll_wait',
  'epoll_pwait',
  'epoll_pwait2',
  'poll',
  'ppoll',
  'wait4',
  'waitid',
]);

/**
 * Where it hangs, in a line: `RegExp.test ← parse (/app/parse.ts:10:5)`, `read /tmp/fifo`. What is innermost, the package
 * that called it, and the app's own code. Empty: not known.
 */
export function whereItHangs({ stack, native, kind }: Pick<Findings, 'stack' | 'native' | 'kind'>): string {
  const inner = stack.find(({ isAsync }) => !isAsync);
  const own = stack.find(isInFile) ?? stack.find(({ owner }) => owner === 'app');
  const module = stack.find(({ owner }) => owner === 'module');
  const isBefore = module && (!own || stack.indexOf(module) < stack.indexOf(own));
  const told = [inner?.owner === 'node' && own ? undefined : inner, isBefore ? module : undefined, own];
  const frames = told.filter((frame) => frame !== undefined);
  if (frames.length > 0) return [...new Set(frames)].map(frameText).join(' ← ');
  return kind === 'native' && native ? whereInKernel(native) : '';
}

/** Code of a `vm` or of `eval` has names of its own making. */
function isInFile({ owner, file }: Frame): boolean {
  return owner === 'app' && file !== null && file.startsWith('/');
}

function whereInKernel({ syscall, target, command }: NativeSide): string {
  if (syscall === null || syscall === 'running') return '';
  if (target !== null) return `${syscall} ${target}`;
  return command !== null && WAITS.has(syscall) ? `a wait for ${command}` : syscall;
}

/** `parse (src/parse.ts:10:5)` */
export function frameText({ function: name, file, line, column, isAsync }: Frame): string {
  const at = file === null ? '' : [file, line, column].filter((part) => part !== null).join(':');
  const before = isAsync ? 'async ' : '';
  if (name === '') return `${before}${at}`.trim();
  return at === '' ? `${before}${name}` : `${before}${name} (${at})`;
}

type Told = Pick<
  Findings,
  'kind' | 'stack' | 'native' | 'isMoving' | 'io' | 'processes' | 'job' | 'isAfterBlock'
>;

/** What it comes to, in a line, for people and as the reason of a job that fails for it. */
export function summaryOf(dump: Told & Pick<DumpRecord, 'blockedMs'>): string {
  const time = `${(dump.blockedMs / 1_000).toFixed(1)} s`;
  const where = whereItHangs(dump);
  switch (dump.kind) {
    case 'javascript': {
      const moves = dump.isMoving ? 'it runs on and on' : 'it stands';
      return `the main thread has not come back to its loop for ${time}${where && `: ${moves} in ${where}`}`;
    }
    case 'native':
      if (dump.isAfterBlock) return `the native call has returned; it was made in ${where}`;
      return `the main thread has been in native code for ${time}${where && `: ${where}`}`;
    case 'stopped':
      return `the process is stopped (SIGSTOP or the like), for ${time}`;
    case 'starved':
      return 'the main thread is ready to run and gets no CPU: the machine has too much to do';
    case 'debugger':
      return 'a debugger holds it';
    case 'job':
      return `the loop turns, and the job does not end: ${pendingText(dump)}`;
    case 'turning':
      return dump.job ? `the loop turns; ${pendingText(dump)}` : 'the loop turns';
    case 'unseen':
      return 'seen from outside alone';
  }
}

/**
 * What a job may wait for: what it has begun itself. Of anything else nothing is said, because this is also the reason of
 * a job that fails, and what its neighbours do is none of its business.
 */
export function pendingText({ job, io, processes }: Pick<Findings, 'job' | 'io' | 'processes'>): string {
  const begun = io.filter(({ type, phase }) => type !== 'socket' || phase !== 'open');
  const isOwn = (each: { job: { queue: string; id: string } | null }): boolean =>
    job !== null && each.job?.queue === job.queue && each.job.id === job.id;
  const waits = [
    ...begun.filter(isOwn).map(ioText),
    ...processes.filter(isOwn).map(({ command, pid }) => `${command} (pid ${pid})`),
  ];
  if (waits.length > 0) return `it may wait for ${waits.slice(0, 3).join(', ')}`;
  if ([...begun, ...processes].some((each) => each.job === null))
    return 'what it waits for is not known: what is under way in its process cannot be told apart by job';
  return 'it has begun no request, look-up or process that could end it: a promise that nobody resolves, a lock, or a timer';
}

/** `GET https://host/path?… (sent, no answer yet, 12.3 s)` */
export function ioText({ what, peer, phase, ageMs }: PendingIo): string {
  const age = ageMs === null ? '' : `, ${(ageMs / 1_000).toFixed(1)} s`;
  return `${what === '' ? (peer ?? 'a socket') : what} (${phase}${age})`;
}
