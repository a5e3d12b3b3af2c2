/** All that is known from one dump, for people. Pure. Names that others chose are shown, never obeyed. */
import { type DumpJob, type DumpRecord, type Frame, frameText, ioText, summaryOf } from '../dump.js';
import { formatBytes, formatDuration } from '../units.js';
import { section, timeText } from './death-report.js';
import { type Column, formatTable } from './table.js';
import { flowText, safeText } from './terminal-text.js';

const JOB_COLUMNS: readonly Column[] = [
  { title: 'QUEUE', cutTo: 6 },
  { title: 'ID', cutTo: 8 },
  { title: 'NAME', cutTo: 6 },
  { title: 'RUN', align: 'right' },
  { title: 'SINCE', align: 'right' },
];
const INDENT_CELLS = 2;

export function dumpReport(dump: DumpRecord, width: number): string[] {
  const { job, jobs, stack, io, processes, notes } = dump;
  const own = stack.filter(({ owner }) => owner === 'app');
  return [
    ...headLines(dump, width),
    ...section('what it comes to', [summaryOf(dump), ...notes]),
    ...section(jobTitle(dump), jobLines(job ? [job] : jobs, dump.atMs, width)),
    ...(job && jobs.length > 1
      ? section(
          'beside it',
          jobLines(
            jobs.filter((other) => !isSame(other, job)),
            dump.atMs,
            width,
          ),
        )
      : []),
    ...section('your code', own.length < stack.length ? own.map(atText) : []),
    ...section('stack', stack.map(atText)),
    ...section('kernel', kernelLines(dump)),
    ...section(
      'processes that it started',
      processes.map(({ pid, command, state, ageMs }) => `${pid} ${state} ${ageText(ageMs)} ${command}`),
    ),
    ...section(
      'under way',
      io.map((each) => `${each.type} ${ioText(each)}${whose(each.job)}`),
    ),
    ...section('the rest', restLines(dump)),
  ];
}

function headLines(dump: DumpRecord, width: number): string[] {
  const { identity, kind, trigger, atMs, slot, group, generation, blockedMs, tag, node, isAfterBlock } = dump;
  return flowText(
    [
      `${safeText(identity)}: ${kind}${isAfterBlock ? ', after the call' : ''}`,
      blockedMs > 0 ? `blocked for ${formatDuration(blockedMs)}` : '',
      `asked for by ${trigger}`,
      timeText(atMs),
      `slot ${slot}`,
      group === 'default' ? '' : `group ${safeText(group)}`,
      `generation ${generation}`,
      tag === '' ? '' : `tag ${safeText(tag)}`,
      node === '' ? '' : `node ${safeText(node)}`,
    ],
    width,
  );
}

function jobTitle({ kind, job, jobs }: DumpRecord): string {
  if (job) return 'job';
  return jobs.length > 1 && kind !== 'turning' ? 'jobs, each of which may be it' : 'jobs';
}

function jobLines(jobs: readonly DumpJob[], atMs: number, width: number): string[] {
  if (jobs.length === 0) return ['none'];
  const rows = jobs.map(({ queue, id, name, attempt, startedAtMs }) => [
    queue,
    id,
    name,
    attempt === null ? '-' : String(attempt),
    formatDuration(Math.max(0, atMs - startedAtMs)),
  ]);
  return formatTable(JOB_COLUMNS, rows, width - INDENT_CELLS);
}

function isSame(a: DumpJob, b: DumpJob): boolean {
  return a.queue === b.queue && a.id === b.id;
}

function atText(frame: Frame): string {
  return `at ${frameText(frame)}`;
}

function kernelLines({ native }: DumpRecord): string[] {
  if (!native) return [];
  const { state, syscall, target, wchan, cpuPercent } = native;
  const call = syscall === null ? '' : `, ${syscall === 'running' ? 'in no system call' : `in ${syscall}`}`;
  const line = `main thread ${STATES[state] ?? state}${call}${target === null ? '' : ` of ${target}`}`;
  return [
    `${line}${wchan === null ? '' : ` (${wchan})`}`,
    cpuPercent === null ? '' : `${cpuPercent} % of a CPU while it was looked at`,
  ].filter((text) => text !== '');
}

const STATES: Readonly<Record<string, string>> = {
  R: 'runs',
  S: 'sleeps',
  D: 'waits in the kernel',
  T: 'is stopped',
  t: 'is traced',
};

function restLines({ heap, elu, resources, workerThreads, samples, isMoving, tookMs }: DumpRecord): string[] {
  const kept = Object.entries(resources).map(([type, number]) => `${number} ${type}`);
  const moves = isMoving === null ? '' : isMoving ? ', which differ' : ', all the same';
  return [
    heap
      ? `heap ${formatBytes(heap.usedBytes)} of ${formatBytes(heap.limitBytes)}, ${formatBytes(heap.externalBytes)} outside`
      : '',
    elu === null ? '' : `event loop busy ${Math.round(elu * 100)} % at its last report`,
    kept.length > 0 ? `kept alive by ${kept.join(', ')}` : '',
    workerThreads > 0 ? `worker threads: ${workerThreads}` : '',
    samples > 0 ? `samples: ${samples}${moves}; taken in ${tookMs} ms` : '',
  ].filter((text) => text !== '');
}

function ageText(ageMs: number | null): string {
  return ageMs === null ? '' : `for ${formatDuration(ageMs)}`;
}

function whose(job: { queue: string; id: string } | null): string {
  return job ? `, of ${job.queue}/${job.id}` : '';
}
