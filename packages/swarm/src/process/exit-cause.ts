/**
 * Why a child ended, from what is known of its end. Pure.
 *
 * The order is that of certainty: what we did ourselves, what the kernel says, what V8 says, what the
 * program says of itself, and only then what the exit status alone tells. A SIGKILL carries no sender, so
 * one that nobody owns up to stays a `signal`, with a word on what would tell more.
 */
import type { DeathCause, Evidence, InheritedCause, OomEvidence, UncaughtEvidence } from '../death.js';
import type { KillReason, LeaveReason } from '../supervisor/state.js';

export interface ExitFacts {
  code: number | null;
  signal: NodeJS.Signals | null;
  killedFor: KillReason | null;
  leavesFor: LeaveReason | null;
  wasReady: boolean;
  drained: boolean;
  uncaught: UncaughtEvidence | null;
  /** V8's line on stderr, if it was among the last. */
  heapOom: string | null;
  /** Asked for at a SIGKILL. */
  oom: OomEvidence | null;
  addons: readonly string[];
  /** Where a dump saw it hang; empty or missing: none did. */
  hangsIn?: string | undefined;
  /** Before it was ready: what its Workers last said of their connections. */
  bootTrouble?: string | null | undefined;
  /** The limit that it was over, with the figures; null or missing: none. */
  excess?: string | null | undefined;
}

/** Of those whose end their master has seen. */
type SeenCause = Exclude<DeathCause, InheritedCause>;

export interface Judgement {
  cause: DeathCause;
  evidence: Evidence;
}

const LEFT = { stop: 'stopped', scale: 'stopped', roll: 'rolled', recycle: 'recycled' } as const;

/** How a process ends that crashes by itself; somebody may also send them. */
const CRASHES: ReadonlySet<string> = new Set([
  'SIGSEGV',
  'SIGBUS',
  'SIGILL',
  'SIGFPE',
  'SIGTRAP',
  'SIGABRT',
  'SIGSYS',
]);

/** Of Node's documentation, "Process exit codes". */
const NODE_CODES: Readonly<Record<number, string>> = {
  1: 'also what Node leaves with after an uncaught error',
  5: 'V8 had a fatal error',
  7: "the app's own handler of uncaught errors threw",
  9: 'Node did not take its arguments',
  13: 'a top-level await never settled',
};

export function judge(facts: ExitFacts): Judgement {
  const cause = causeOf(facts);
  const { summary, hint = null } = WORDS[cause](facts);
  const { killedFor, leavesFor, wasReady, drained, oom, heapOom, uncaught } = facts;
  return {
    cause,
    evidence: { summary, hint, killedFor, leavesFor, wasReady, drained, oom, heapOom, uncaught },
  };
}

function causeOf({
  code,
  signal,
  killedFor,
  leavesFor,
  drained,
  uncaught,
  heapOom,
  oom,
}: ExitFacts): SeenCause {
  // whoever left before the kill arrived did not die of it
  if (killedFor && signal === 'SIGKILL')
    return killedFor === 'stop-timeout' ? LEFT[leavesFor ?? 'stop'] : killedFor;
  if (drained && code === 0) return LEFT[leavesFor ?? 'stop'];
  // with whatever code, and also if its jobs could not be handed back in time: it was told to
  if (leavesFor && code !== null && !uncaught) return LEFT[leavesFor];
  if (signal === 'SIGKILL' && oom && (oom.kernelLog !== null || oom.counted > 0)) return 'oom-kill';
  if (isAbort(signal) && heapOom) return 'heap-oom';
  if (uncaught) return 'uncaught';
  return signal ? 'signal' : 'exit';
}

interface Words {
  summary: string;
  hint?: string | null;
}

const WORDS: Record<SeenCause, (facts: ExitFacts) => Words> = {
  stopped: left,
  rolled: left,
  recycled: left,
  'boot-timeout': ({ bootTrouble }) => ({
    summary: `was not ready in time (--boot-timeout): killed by its master${bootTrouble ? `; ${bootTrouble}` : ''}`,
  }),
  'max-memory-hard': ({ excess }) => ({
    summary: `RSS passed --max-memory-hard: killed by its master${excess ? `: ${excess}` : ''}`,
  }),
  stuck: ({ hangsIn }) => ({
    summary: `its loop did not turn any more (--stuck-kill-after)${hangsIn ? `, in ${hangsIn}` : ''}: killed by its master`,
  }),
  'job-timeout': () => ({
    summary: "a job was past its time (--job-timeout, or its queue's jobTimeoutMs): killed by its master",
  }),
  'oom-kill': ({ oom }) => ({ summary: oomWords(oom) }),
  'heap-oom': ({ heapOom }) => ({
    summary: heapOom ?? '',
    hint: 'the limit is --max-old-space-size of node: --max-memory sets it, and --node-arg before that',
  }),
  uncaught: uncaughtWords,
  signal: signalWords,
  exit: exitWords,
};

function left({ killedFor, leavesFor, signal, code, excess }: ExitFacts): Words {
  const why = leavesFor === 'recycle' && excess ? `recycle, ${excess}` : (leavesFor ?? 'stop');
  const told = `told to leave (${why})`;
  if (code) return { summary: `${told}, and left with exit code ${code}` };
  if (killedFor && signal === 'SIGKILL') {
    return { summary: `${told}, was still there when its time was up: killed by its master` };
  }
  return { summary: told };
}

function oomWords(oom: OomEvidence | null): string {
  const counted =
    oom?.counterFile && oom.counted > 0 ? `oom_kill of ${oom.counterFile} went up by ${oom.counted}` : null;
  const logged = oom?.kernelLog ? `kernel log: ${oom.kernelLog}` : null;
  return `killed by the kernel, out of memory: ${[counted, logged].filter((part) => part !== null).join('; ')}`;
}

/** The first line of a stack has the error's name as well. */
function uncaughtWords({ uncaught }: ExitFacts): Words {
  const [first = ''] = (uncaught?.stack || uncaught?.message || '').split('\n');
  return { summary: uncaught?.phase === 'boot' ? `at boot: ${first}` : first };
}

function signalWords({ signal, oom, addons }: ExitFacts): Words {
  if (signal === 'SIGKILL') return { summary: 'SIGKILL, not sent by its master', hint: killHint(oom) };
  if (!signal || !CRASHES.has(signal)) return { summary: `${signal}: somebody else sent it` };
  const loaded =
    addons.length === 0 ? 'no native addon was loaded' : `native addons were loaded: ${addons.length}`;
  return {
    summary: `${signal}: native code crashed (${loaded}), or somebody else sent it`,
    hint: 'a core dump would tell more (ulimit -c unlimited; coredumpctl info), and so do the last lines of its stderr',
  };
}

/** Who sends what: the kernel when memory runs out, daemons before it does, platforms and people. */
function killHint(oom: OomEvidence | null): string {
  const senders = 'kill -9, systemd-oomd or earlyoom (journalctl), a platform that enforces its limits';
  if (!oom) return `senders: the kernel when out of memory (dmesg), ${senders}`;
  if (oom.counterFile !== null) {
    return `not the kernel's OOM killer: oom_kill of ${oom.counterFile} counts no other. Somebody sent it: ${senders}`;
  }
  if (oom.kernelLogRead)
    return `not the kernel's OOM killer: its log does not name this pid. Somebody sent it: ${senders}`;
  if (oom.onMachine === 0)
    return `not the kernel's OOM killer: it killed nobody on this machine. Somebody sent it: ${senders}`;
  const suspicion =
    oom.onMachine === null
      ? ''
      : `; the kernel OOM-killed ${oom.onMachine} on this machine about then, perhaps this one`;
  return (
    `no memory cgroup and no kernel log can be read here, so that nobody can be ruled out${suspicion}: ` +
    `dmesg as root names the pids that the kernel killed; other senders: ${senders}`
  );
}

function exitWords({ code, wasReady, bootTrouble }: ExitFacts): Words {
  const known = code === null ? undefined : NODE_CODES[code];
  const when = wasReady ? '' : `, before it was ready${bootTrouble ? ` (${bootTrouble})` : ''}`;
  return { summary: `ended itself with exit code ${code ?? 'unknown'}${when}${known ? ` (${known})` : ''}` };
}

/** How V8 and Node end a process that cannot go on, having said why: by abort(), or by an instruction that traps. */
export function isAbort(signal: NodeJS.Signals | null): boolean {
  return signal === 'SIGABRT' || signal === 'SIGTRAP' || signal === 'SIGILL';
}

/** V8's or Node's own words about a full heap, as they begin a line of stderr; null: the line is none. */
export function heapOomLine(line: string): string | null {
  const isFatal =
    line.startsWith('FATAL ERROR: ') || line.startsWith('# Fatal ') || line.startsWith('Fatal ');
  return isFatal && /out of memory/i.test(line) ? line : null;
}
