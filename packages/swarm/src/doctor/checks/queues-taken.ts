/**
 * "The workers are not processing jobs": for each queue with jobs that could run, why nobody takes them. What names the
 * reason is asked first: paused, a limit, another prefix or database; then who is there, and what keeps him.
 */
import { nearest } from '../../suggest.js';
import { formatDuration } from '../../units.js';
import { defineCheck, listed, type Problem, plural, type Verdict, verdictOf } from '../check.js';
import type { QueueScan, ScannedQueue, Taker } from '../queue-scan.js';

export type QueuesFacts = QueueScan & {
  /** Masters of the namespace that run. */
  masters: number;
};

/** A Worker that sleeps is woken within some ms; this long is no accident. */
const WAITS_FOR_LONG_MS = 60_000;
const LIMITED_FOR_LONG_MS = 60_000;

export const queuesTaken = defineCheck<QueuesFacts>({
  name: 'queues-taken',
  section: 'Queues',
  async gather(exam) {
    const { masters } = await exam.snapshot();
    return { ...(await exam.queues()), masters: masters.filter(({ stale }) => !stale).length };
  },
  judge: judgeQueues,
});

export function judgeQueues(scan: QueuesFacts): Verdict {
  const waiting = scan.queues.filter((queue) => queue.waiting > 0);
  const problems = waiting.flatMap((queue) => problemOf(queue, scan) ?? []);
  const jobs = waiting.reduce((sum, queue) => sum + queue.waiting, 0);
  const own = scan.queues.filter(({ db }) => db === scan.db);
  const part = scan.partial ? ' (there are too many keys to look at all)' : '';
  const fine = `${plural(own.length, 'queue')}, ${jobs === 0 ? 'no job waits' : `${plural(jobs, 'job')} waiting where somebody takes them`}${part}`;
  return verdictOf(problems, fine, 'These jobs wait, and will go on waiting');
}

function problemOf(queue: ScannedQueue, scan: QueuesFacts): Problem | null {
  const jobs = `${plural(queue.waiting, 'job')} in ${nameOf(queue, scan)}`;
  const wait = queue.waiting === 1 ? 'waits' : 'wait';
  const has = queue.waiting === 1 ? 'has' : 'have';
  if (queue.isPaused) {
    return {
      status: 'warn',
      found: `${jobs} ${wait}: the queue is paused`,
      cure: `await queue.resume() of ${queue.queue}, if it is not meant to be paused`,
    };
  }
  if (queue.concurrency !== null && queue.concurrency < 1) {
    return {
      status: 'fail',
      found: `${jobs} ${wait}: the queue's global concurrency is ${queue.concurrency}, so none may run`,
      cure: `await queue.setGlobalConcurrency(n) of ${queue.queue} with n of 1 or more, or removeGlobalConcurrency()`,
    };
  }
  const { takers } = queue;
  if (takers.length === 0 && !queue.connectedWorkers) return nobody(queue, scan, `${jobs} ${wait}`);
  if (queue.limitedForMs > LIMITED_FOR_LONG_MS) {
    return {
      status: 'warn',
      found: `${jobs} ${wait}: its rate limit lets nothing through for ${formatDuration(queue.limitedForMs)}`,
      cure: `await queue.removeRateLimitKey() of ${queue.queue}, if that is not meant`,
    };
  }
  // Workers that are not ours may be what takes them
  if (takers.length === 0 || (queue.connectedWorkers ?? 0) > takers.length) return null;
  const waitedMs = queue.oldestWaitMs ?? 0;
  const able = takers.filter(({ child }) => child.state === 'up' && child.stuckSinceMs === null);
  if (able.length === 0) return allAway(takers, `${jobs} ${wait}`);
  const idle = able.filter(({ child }) => child.busy < child.concurrency);
  const isFull = queue.concurrency !== null && queue.active >= queue.concurrency;
  if (idle.length === 0 || isFull || waitedMs < WAITS_FOR_LONG_MS || queue.limitedForMs > 0) return null;
  return {
    status: 'fail',
    found: `${jobs} ${has} waited for up to ${formatDuration(waitedMs)}, although ${plural(idle.length, 'child has', 'children have')} nothing to do`,
    cure: `swarm dump ${idle[0]?.child.pid}, then swarm recycle ${idle[0]?.child.pid}`,
  };
}

function nobody(queue: ScannedQueue, scan: QueuesFacts, jobs: string): Problem | null {
  const elsewhere = scan.workers.filter((worker) => worker.queue === queue.queue);
  const here = elsewhere.filter((worker) => worker.here);
  const prefixes = unique(here.map(({ prefix }) => prefix));
  if (queue.db !== scan.db && here.some(({ prefix }) => prefix === queue.prefix)) {
    return {
      status: 'fail',
      found: `${jobs}: they are in database ${queue.db}, and the children work in database ${scan.db}`,
      cure: `let whoever adds jobs, and the workers, use one URL: its end names the database (/${scan.db}); then move or add these jobs again`,
    };
  }
  if (prefixes.length > 0 && !prefixes.includes(queue.prefix)) {
    return {
      status: 'fail',
      found: `${jobs}: nobody takes jobs of the prefix ${quoted(queue.prefix)}; the children take those of ${listed(prefixes.map(quoted))}`,
      cure: `give the Queue and the Worker the same prefix (--prefix ${queue.prefix} for an app of defineApp())`,
    };
  }
  if (elsewhere.length > 0 && here.length === 0) {
    return {
      status: 'fail',
      found: `${jobs}: the children that work for this queue are connected to another Redis or database`,
      cure: 'compare the URL of whoever adds jobs with that of the program: REDIS_URL, --redis, connection of new Worker()',
    };
  }
  // in another database, or of no concern of this fleet
  if (queue.db !== scan.db) return null;
  const names = unique(scan.workers.map((worker) => worker.queue));
  const similar = nearest(queue.queue, names);
  const meant = similar === null ? '' : `; the children work for ${quoted(similar)}: is that the same?`;
  if (scan.masters === 0) {
    const others =
      scan.namespaces.length > 0 ? `; registries here: ${listed(scan.namespaces)} (--namespace)` : '';
    return {
      status: 'warn',
      found: `${jobs}, and no master runs in this namespace${others}`,
      cure: 'start one: swarm --count 4 ./worker.js',
    };
  }
  return {
    status: 'warn',
    found: `${jobs}: nobody takes jobs of this queue${meant}`,
    cure: `start a Worker for ${queue.queue}, or if it is not used any more: await queue.obliterate()`,
  };
}

function allAway(takers: readonly Taker[], jobs: string): Problem {
  const stuck = takers.filter(({ child }) => child.stuckSinceMs !== null);
  const quiet = takers.filter(({ child }) => child.state === 'quiet');
  const [first] = takers;
  if (stuck.length > 0) {
    return {
      status: 'fail',
      found: `${jobs}: ${plural(stuck.length, 'child', 'children')} that would take them ${stuck.length === 1 ? 'is' : 'are'} stuck, and nobody else is up`,
      cure: `swarm dump ${stuck[0]?.child.pid} shows where; swarm recycle ${stuck[0]?.child.pid} replaces it`,
    };
  }
  if (quiet.length === takers.length) {
    return {
      status: 'warn',
      found: `${jobs}: all who take them are quiet`,
      cure: `swarm resume ${quiet.length === 1 ? first?.child.pid : 'all'}`,
    };
  }
  return {
    status: 'warn',
    found: `${jobs}: of those who take them none is up (${listed(unique(takers.map(({ child }) => child.state)))})`,
    cure: 'swarm ps shows who starts, stops or fails; swarm deaths shows why',
  };
}

/** As people call it, with what tells it apart from others of the same name. */
function nameOf({ queue, prefix, db }: ScannedQueue, scan: QueuesFacts): string {
  const namesakes = scan.queues.filter((other) => other.queue === queue);
  const isPlain = prefix === 'bull' && namesakes.length === 1;
  return `${quoted(queue)}${isPlain ? '' : ` (prefix ${quoted(prefix)}${db === scan.db ? '' : `, database ${db}`})`}`;
}

function quoted(text: string): string {
  return JSON.stringify(text);
}

function unique(texts: readonly string[]): string[] {
  return [...new Set(texts)];
}
