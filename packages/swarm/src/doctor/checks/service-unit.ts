/** What systemd does to the service when one child dies, and when it stops. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { formatDuration } from '../../units.js';
import { defineCheck, listed, NotLookedAt, type Problem, type Verdict, verdictOf } from '../check.js';

export interface UnitFacts {
  units: readonly Unit[];
}

export interface UnitName {
  name: string;
  /** Of a user's manager, not of the system's. */
  isOfUser: boolean;
}

export interface Unit extends UnitName {
  /** As `systemctl show` has it. */
  properties: Readonly<Record<string, string>>;
  drainTimeoutMs: number;
}

const PROPERTIES = ['LoadState', 'Type', 'OOMPolicy', 'KillMode', 'TimeoutStopUSec', 'Restart'];
const SYSTEMCTL_MS = 5_000;
/** After the drain: hand-back, close hooks, kill. */
const LEAVE_MS = 3_000;

export const serviceUnit = defineCheck<UnitFacts>({
  name: 'service-unit',
  section: 'Machine',
  async gather(exam) {
    const units = (await exam.fleets()).flatMap(({ pid, drainTimeoutMs }) => {
      const unit = pid === null ? null : unitOf(exam.machine.read(`/proc/${pid}/cgroup`) ?? '');
      return unit === null ? [] : [{ ...unit, drainTimeoutMs }];
    });
    if (units.length === 0) throw new NotLookedAt('no master on this host is a service of systemd');
    return {
      units: await Promise.all(units.map(async (unit) => ({ ...unit, properties: await show(unit) }))),
    };
  },
  judge: judgeUnits,
});

/** The service that a process is in, by its cgroups. Masters in a session of a user's are in a scope. */
export function unitOf(cgroups: string): UnitName | null {
  const paths = cgroups.split('\n').map((line) => line.split(':').slice(2).join(':'));
  for (const path of paths) {
    const services = path.split('/').filter((part) => part.endsWith('.service'));
    const name = services.at(-1);
    // a user's own manager is a service too, and its services are below it
    if (name !== undefined && !name.startsWith('user@'))
      return { name, isOfUser: services.some((service) => service.startsWith('user@')) };
  }
  return null;
}

async function show({ name, isOfUser }: UnitName): Promise<Record<string, string>> {
  const manager = isOfUser ? ['--user'] : [];
  try {
    const args = [...manager, 'show', name, `--property=${PROPERTIES.join(',')}`];
    const { stdout } = await promisify(execFile)('systemctl', args, { timeout: SYSTEMCTL_MS });
    const pairs = stdout.split('\n').map((line): [string, string] => {
      const at = line.indexOf('=');
      return [line.slice(0, at), line.slice(at + 1)];
    });
    const properties = Object.fromEntries(pairs.filter(([key]) => key !== ''));
    // of one that it does not know it shows the defaults
    if (properties['LoadState'] !== 'loaded')
      throw new NotLookedAt(
        `the manager of ${isOfUser ? 'this user' : 'the system'} has no unit ${name} loaded`,
      );
    return properties;
  } catch (cause) {
    if (cause instanceof NotLookedAt) throw cause;
    throw new NotLookedAt(`systemctl ${[...manager, 'show', name].join(' ')} does not answer`, { cause });
  }
}

export function judgeUnits({ units }: UnitFacts): Verdict {
  const problems = units.flatMap(problemsOf);
  const fine = `${listed(units.map(({ name }) => name))}: OOMPolicy, KillMode and TimeoutStopSec are right`;
  return verdictOf(
    problems,
    fine,
    'systemd acts on the whole service: a unit that does not know of children stops or kills all of them because of one',
  );
}

function problemsOf({ name, properties, drainTimeoutMs }: Unit): Problem[] {
  const {
    OOMPolicy: oomPolicy,
    KillMode: killMode,
    TimeoutStopUSec: stop = '',
    Restart: restart,
  } = properties;
  const problems: Problem[] = [];
  if (oomPolicy === 'stop' || oomPolicy === 'kill') {
    problems.push({
      status: 'warn',
      found: `${name} has OOMPolicy=${oomPolicy}: one child that the kernel kills takes the whole service with it`,
      cure: 'OOMPolicy=continue in [Service] (swarm init systemd writes such a unit), then systemctl daemon-reload',
    });
  }
  // under these, swarm asks systemd for more time as long as it needs it
  const isNotified = properties['Type']?.startsWith('notify') ?? false;
  const stopMs = isNotified ? null : parseSpan(stop);
  const neededMs = drainTimeoutMs + LEAVE_MS;
  if (stopMs !== null && stopMs < neededMs) {
    problems.push({
      status: 'warn',
      found: `${name} is killed ${formatDuration(stopMs)} after a stop, and swarm may need ${formatDuration(neededMs)}`,
      cure: `TimeoutStopSec=${Math.ceil(neededMs / 1_000) + 5} in [Service], or a shorter --timeout`,
    });
  }
  if (killMode === 'process' || killMode === 'none') {
    problems.push({
      status: 'warn',
      found: `${name} has KillMode=${killMode}: what is left of it lives on beside the next start`,
      cure: 'KillMode=mixed in [Service]',
    });
  }
  if (restart === 'no') {
    problems.push({
      status: 'warn',
      found: `${name} has Restart=no: a master that is killed stays dead`,
      cure: 'Restart=always in [Service]',
    });
  }
  return problems;
}

const SPAN_UNITS_MS: Readonly<Record<string, number>> = {
  us: 0.001,
  ms: 1,
  s: 1_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** `1min 30s` → ms; null: no limit, or not understood. */
export function parseSpan(text: string): number | null {
  const parts = text
    .trim()
    .split(/\s+/)
    .map((part) => /^(\d+(?:\.\d+)?)(us|ms|s|min|h|d)$/.exec(part));
  if (parts.length === 0 || parts.some((part) => part === null)) return null;
  return parts.reduce((sum, part) => sum + Number(part?.[1]) * (SPAN_UNITS_MS[part?.[2] ?? ''] ?? 0), 0);
}
