/**
 * Which queues of a swarm app a child takes, and how: what the app defines and what a list of
 * queues (`--queue`, `queues` of a config file or of a group in it) says, put together.
 */
import type { AppOptions, JobOptions, Processor, QueueOptions, QueueSettings } from '../app.js';
import type { ChildOptions } from '../child-options.js';
import { usageError } from '../errors.js';
import type { FetchGate, FetchLimit } from '../fetch/gate.js';
import { type AppQueue, defaultRetryInMs, type NameGate } from '../fetch/job-run.js';
import { reschedulingOverLimit } from '../limiter/around-processor.js';
import type { QueueTimeout } from '../protocol.js';
import { didYouMean } from '../suggest.js';

type Choice = Pick<ChildOptions, 'queues' | 'group'>;

/** In the order in which they are to be served. @param openGate opens the gate of a limit */
export function appQueues(
  app: AppOptions,
  { queues: chosen, group }: Choice,
  openGate: (limit: FetchLimit) => FetchGate,
): AppQueue[] {
  if (chosen.length === 0) {
    return Object.entries(app.queues).map(([name, queue]) => {
      return appQueue(
        app,
        name,
        queue,
        typeof queue === 'function' ? null : (queue.weight ?? null),
        openGate,
      );
    });
  }
  // whoever names queues says all there is to say of their order
  return chosen.map(({ name, weight }) => {
    const queue = Object.hasOwn(app.queues, name) ? app.queues[name] : undefined;
    if (queue) return appQueue(app, name, queue, weight, openGate);
    const known = Object.keys(app.queues);
    const list =
      group === 'default'
        ? 'the list of queues (--queue, SWARM_QUEUES or a config file)'
        : `the list of queues of group ${group}`;
    throw usageError(
      'SWARM_UNKNOWN_QUEUE',
      `${list} names ${JSON.stringify(name)}, but the app defines ${known.join(', ')}${didYouMean(name, known)}`,
    );
  });
}

/** A list without a weight in it asks for strict order, which may not be what is meant; null: no weight is lost by it. */
export function lostWeights(app: AppOptions, { queues: chosen, group }: Choice): string | null {
  if (chosen.length < 2 || chosen.some(({ weight }) => weight !== null)) return null;
  const weighted = chosen.flatMap(({ name }) => {
    const queue = Object.hasOwn(app.queues, name) ? app.queues[name] : undefined;
    return typeof queue === 'object' && queue.weight !== undefined ? [`${name},${queue.weight}`] : [];
  });
  if (weighted.length === 0) return null;
  const who = group === 'default' ? 'each child' : `group ${group}`;
  const order = chosen.map(({ name }) => name).join(', ');
  return (
    `${who} works strictly in the order ${order}: the app's weights are not used, ` +
    `because its list of queues has none (${weighted[0]} gives one)`
  );
}

/** Of the queues that have one of their own. */
export function queueTimeouts(
  app: AppOptions,
  { queues: chosen }: Pick<ChildOptions, 'queues'>,
): QueueTimeout[] {
  const names = chosen.length === 0 ? Object.keys(app.queues) : chosen.map(({ name }) => name);
  return names.flatMap((name) => {
    const queue = Object.hasOwn(app.queues, name) ? app.queues[name] : undefined;
    if (typeof queue !== 'object' || queue.jobTimeoutMs === undefined) return [];
    return [{ queue: name, timeoutMs: queue.jobTimeoutMs === 'off' ? null : queue.jobTimeoutMs }];
  });
}

function appQueue(
  app: AppOptions,
  name: string,
  queue: QueueOptions,
  weight: number | null,
  openGate: (limit: FetchLimit) => FetchGate,
): AppQueue {
  const settings: QueueSettings = typeof queue === 'function' ? {} : queue;
  return {
    name,
    weight,
    process: reschedulingOverLimit(processorOf(name, queue)),
    maxActive: settings.maxActive ?? null,
    gate: settings.limit ? openGate(settings.limit) : null,
    nameGates: nameGates(queue, openGate),
    worker: { ...app.worker, ...settings.worker },
  };
}

function nameGates(
  queue: QueueOptions,
  openGate: (limit: FetchLimit) => FetchGate,
): ReadonlyMap<string, NameGate> {
  const gates = new Map<string, NameGate>();
  if (typeof queue === 'function') return gates;
  for (const [name, job] of Object.entries(queue.jobs ?? {})) {
    if (typeof job === 'function' || !job.limit) continue;
    const { limit } = job;
    const gate = openGate(limit);
    // nobody waits for room there
    gate.onRoom(() => {});
    gates.set(name, { gate, retryInMs: () => limit.retryInMs?.() ?? defaultRetryInMs() });
  }
  return gates;
}

function processorOf(queueName: string, queue: QueueOptions): Processor {
  if (typeof queue === 'function') return queue;
  if (queue.process) return queue.process;
  const { jobs } = queue;
  return (job, context) => {
    const options = Object.hasOwn(jobs, job.name) ? jobs[job.name] : undefined;
    if (options) return processorOfJob(options)(job, context);
    const known = Object.keys(jobs).join(', ');
    throw new Error(
      `queue ${queueName} has no processor for jobs named ${JSON.stringify(job.name)}, only for ${known}`,
    );
  };
}

function processorOfJob(options: JobOptions): Processor {
  return typeof options === 'function' ? options : options.process;
}
