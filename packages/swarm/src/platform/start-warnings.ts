/** What is wrong with the place where a master was started, as far as it can be seen at once. Pure. */
import type { Config } from '../config.js';
import { dynoOf } from '../config-dyno.js';
import { formatBytes, formatDuration } from '../units.js';

export interface StartWarning {
  /** Stable, upper case, `SWARM_…`. */
  code: string;
  message: string;
}

export interface Place {
  env: NodeJS.ProcessEnv;
  pid: number;
  /** cgroups around us that the kernel kills as a whole, by their `memory.oom.group`; default: none. */
  oomGroups?: readonly { file: string; limitBytes: number | null }[];
}

/** From TERM to KILL. */
const DYNO_GRACE_MS = 30_000;
/** After the drain: hand-back, close hooks, kill. */
const LEAVE_MS = 3_000;
/** The least that the master itself takes, with what is nobody's; advice allows for twice that. */
const MASTER_BYTES = 100e6;
/** Set by a platform that runs swarm as a service. */
const SERVICE_VARIABLES = ['DYNO', 'INVOCATION_ID', 'KUBERNETES_SERVICE_HOST'];

export function startWarnings(config: Config, place: Place): StartWarning[] {
  const warnings = [
    pidOne(place),
    underNpm(place),
    dynoGrace(config, place),
    dynoMemory(config, place),
    oomGroup(config, place),
  ];
  return warnings.filter((warning) => warning !== null);
}

function pidOne({ pid }: Place): StartWarning | null {
  if (pid !== 1) return null;
  return {
    code: 'SWARM_PID_ONE',
    message:
      'swarm is PID 1 here, and Node does not wait for processes that are not its own: whatever jobs leave behind stays as a zombie until ' +
      'no process can be started any more; put an init in front (docker run --init; ENTRYPOINT ["tini", "--"])',
  };
}

/** On a developer's terminal nothing is wrong with it. */
function underNpm({ env, pid }: Place): StartWarning | null {
  const isService = pid === 1 || SERVICE_VARIABLES.some((name) => env[name]);
  const script = env['npm_lifecycle_event'];
  if (!isService || !script) return null;
  return {
    code: 'SWARM_UNDER_NPM',
    message: `swarm was started by npm (${script}), which does not pass TERM on dependably: a stop may kill all jobs; name swarm itself (node_modules/.bin/swarm) in the Procfile, unit or image`,
  };
}

function dynoGrace({ drainTimeoutMs }: Config, { env }: Place): StartWarning | null {
  const leftMs = DYNO_GRACE_MS - LEAVE_MS;
  if (!dynoOf(env, unknown) || drainTimeoutMs <= leftMs) return null;
  return {
    code: 'SWARM_DYNO_TIMEOUT',
    message: `Heroku kills a dyno 30 s after TERM, and --timeout ${formatDuration(drainTimeoutMs)} leaves no time to hand jobs back before that; at most ${formatDuration(leftMs)} does`,
  };
}

function dynoMemory({ groups }: Config, { env }: Place): StartWarning | null {
  const memoryBytes = dynoOf(env)?.memoryBytes ?? null;
  const limits = groups.map(
    ({ count, maxMemoryBytes }) => count * (maxMemoryBytes ?? Number.POSITIVE_INFINITY),
  );
  const sumBytes = limits.reduce((sum, bytes) => sum + bytes, 0);
  if (memoryBytes === null || sumBytes <= memoryBytes) return null;
  const count = groups.reduce((sum, group) => sum + group.count, 0);
  const allowed = Number.isFinite(sumBytes) ? `may take ${formatBytes(sumBytes)}` : 'have no --max-memory';
  return {
    code: 'SWARM_DYNO_MEMORY',
    message: `${count} children ${allowed}, and this dyno has ${formatBytes(memoryBytes)}: it would swap (R14) or be killed (R15) before a child meets a limit; fewer children (--count), a lower --max-memory, or a larger dyno`,
  };
}

/** Kubernetes sets it for every container: nothing is wrong while the children's own limits keep them below. */
function oomGroup({ groups }: Config, { oomGroups = [] }: Place): StartWarning | null {
  const hard = groups.map(
    ({ count, maxMemoryHardBytes }) => count * (maxMemoryHardBytes ?? Number.POSITIVE_INFINITY),
  );
  const needBytes = hard.reduce((sum, bytes) => sum + bytes, MASTER_BYTES);
  const tight = oomGroups.find(({ limitBytes }) => needBytes > (limitBytes ?? Number.MAX_VALUE));
  if (!tight) return null;
  const room = tight.limitBytes === null ? '' : ` of ${formatBytes(tight.limitBytes)}`;
  const allowed = Number.isFinite(needBytes)
    ? `the children may take ${formatBytes(needBytes - MASTER_BYTES)} before they are killed one by one`
    : 'the children have no --max-memory';
  return {
    code: 'SWARM_OOM_GROUP',
    message:
      `${tight.file} is 1: when the memory${room} runs out, the kernel kills all of it at once, the master too, and ${allowed}; ` +
      'set --max-memory so that count × --max-memory-hard, and 200 MB for the master, fit into it, or turn it off ' +
      '(Kubernetes: singleProcessOOMKill: true of the kubelet; systemd: OOMPolicy=continue)',
  };
}

function unknown(): null {
  return null;
}
