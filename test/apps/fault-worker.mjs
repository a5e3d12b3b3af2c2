// A BullMQ program whose jobs misbehave as their data says. What is in `first` holds only when a job is
// started for the first time: the fault happens once, and the next run can end the job.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { createRequire } from 'node:module';

// an import of a CommonJS package costs twice the CPU time, and tests start hundreds of these
const { Worker } = createRequire(import.meta.url)('bullmq');

const {
  QUEUE_NAME,
  QUEUE_NAMES,
  QUEUE_REDIS_HOST = '127.0.0.1',
  QUEUE_REDIS_PORT,
  SWARM_SLOT,
  APP_CONCURRENCY = '1',
  APP_WORKER_OPTIONS = '{}',
} = process.env;
const IPC = {
  string: 'ready',
  number: 4711,
  null: null,
  list: [{ swarm: {} }],
  object: { type: 'process:msg', data: { swarm: 1 } },
  swarmNull: { swarm: null },
  swarmString: { swarm: 'stop' },
  noType: { swarm: {} },
  unknownType: { swarm: { type: 'x'.repeat(100_000) } },
  inheritedType: { swarm: { type: 'toString' } },
  protoType: { swarm: { type: '__proto__' } },
  beatWithout: { swarm: { type: 'beat' } },
  beatWrong: { swarm: { type: 'beat', beat: { busy: 'many', jobs: {} } } },
  beatNegative: { swarm: { type: 'beat', beat: { heapUsedBytes: -1 } } },
  releasedUnasked: { swarm: { type: 'released', releaseId: 'nobody', jobs: [], unserved: [], error: null } },
  releasedWrong: { swarm: { type: 'released', releaseId: 1, jobs: [null] } },
  drainedWrong: { swarm: { type: 'drained', handedBack: 'all' } },
  internal: { cmd: 'NODE_UNKNOWN' },
  internalOutOfTurn: { cmd: 'NODE_HANDLE_ACK' },
};

/** Jobs that run in this process now. */
let running = 0;

async function run(job) {
  running += 1;
  try {
    return await behave(job);
  } finally {
    running -= 1;
  }
}

async function behave(job) {
  const { first, ...always } = job.data;
  console.log(`runs ${job.id}`);
  const what = job.attemptsStarted <= 1 ? { ...always, ...first } : always;
  if (what.grandchildren) startGrandchildren();
  if (what.orphans) await leaveOrphans(what.orphans);
  if (what.flood) await flood(what.flood);
  if (what.ipc) for (const name of what.ipc) sendOdd(name);
  if (what.spin) for (;;);
  if (what.spinMs) spinFor(what.spinMs);
  if (what.crash)
    process.nextTick(() => {
      throw new Error('crashed by its job');
    });
  if (what.killBesideOthers) {
    while (running < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    process.kill(process.pid, 'SIGKILL');
  }
  if (what.ms) await new Promise((resolve) => setTimeout(resolve, what.ms));
  return { pid: process.pid, slot: SWARM_SLOT, starts: job.attemptsStarted };
}

/** Blocks the loop. */
function spinFor(ms) {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

/** A shell with children of its own, as `exec` makes them. */
function startGrandchildren() {
  spawn('sh', ['-c', 'sleep 600 & sleep 600 & wait'], { stdio: 'inherit' });
}

/** Processes whose parent is gone, and who end soon after: somebody must wait for them. */
async function leaveOrphans(count) {
  const script = `for i in $(seq ${count}); do setsid sleep 0.2 & done`;
  await once(spawn('sh', ['-c', script], { stdio: 'ignore' }), 'exit');
}

/** Ends when all of it has left this process. */
function flood({ lines = 0, lineBytes = 80, longLineBytes = 0, garbageBytes = 0 }) {
  const filler = 'x'.repeat(Math.max(0, lineBytes - 20));
  for (let at = 0; at < lines; at += 1) process.stdout.write(`flood ${at} ${filler}\n`);
  if (longLineBytes > 0) process.stdout.write(`long ${'y'.repeat(longLineBytes)}\n`);
  if (garbageBytes > 0) process.stdout.write(randomBytes(garbageBytes));
  return new Promise((resolve) => process.stdout.write('\nflood ends\n', resolve));
}

function sendOdd(name) {
  if (name === 'huge') process.send({ filler: 'z'.repeat(20_000_000) });
  else if (name === 'hugeOurs') process.send({ swarm: { type: 'beat', beat: 'z'.repeat(20_000_000) } });
  // past node, into the descriptor of the channel: a whole line, and the beginning of one
  else if (name === 'garbage') writeSync(3, 'not JSON at all\n');
  else if (name === 'halfLine') writeSync(3, '{"half":');
  else if (name === 'cyclic') {
    const cycle = {};
    cycle.cycle = cycle;
    process.send({ swarm: cycle });
  } else process.send(IPC[name]);
}

if (process.env.APP_CRASH_SLOT === SWARM_SLOT)
  setTimeout(() => {
    throw new Error('this slot is cursed');
  }, 200);

for (const queue of QUEUE_NAMES ? JSON.parse(QUEUE_NAMES) : [QUEUE_NAME]) {
  const worker = new Worker(queue, run, {
    connection: {
      host: QUEUE_REDIS_HOST,
      port: Number(QUEUE_REDIS_PORT),
      // with a number of tries, what ends while Redis is away for longer than they last fails for that alone
      maxRetriesPerRequest: null,
      retryStrategy: () => 200,
    },
    concurrency: Number(APP_CONCURRENCY),
    ...JSON.parse(APP_WORKER_OPTIONS),
  });
  worker.on('error', () => {});
  worker.on('failed', (job, error) => console.log(`failed ${job?.id}: ${error.message}`));
}
