// Four kinds of job. Each run leaves two lines in a ledger that survives its process:
// a line is one write to a file opened for appending, so neither a kill nor a neighbour can tear it.
import { openSync, writeSync } from 'node:fs';

const ledger = openSync(process.env.CHAOS_LEDGER, 'a');
const note = (what, job) => {
  const at = Date.now();
  writeSync(
    ledger,
    `${JSON.stringify({ what, queue: job.queueName, id: job.id, run: job.token, pid: process.pid, at })}\n`,
  );
};
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const kinds = {
  short: (job) => sleep(job.data.ms),
  busy(job) {
    const endMs = performance.now() + job.data.ms;
    while (performance.now() < endMs);
  },
  async hungry(job) {
    const held = [];
    for (let mb = 0; mb < job.data.mb; mb += 4) {
      held.push(Buffer.alloc(4 << 20, 1));
      await sleep(5);
    }
    return held.length;
  },
  async failing(job) {
    await sleep(job.data.ms);
    throw new Error('fails, as it should');
  },
};

/** Until V8 gives up; the event loop stands still meanwhile. */
function devour() {
  const held = [];
  for (;;) held.push(new Array(100_000).fill({}));
}

export async function run(job) {
  note('start', job);
  // the first run of some jobs never ends by itself: their process must be killed, or runs out of memory
  if (job.data.loops && job.attemptsStarted <= 1) for (;;);
  if (job.data.devours && job.attemptsStarted <= 1) devour();
  try {
    return await kinds[job.name](job);
  } finally {
    note('end', job);
  }
}
