/**
 * `npm run demo [-- FOLDER]`: swarm at its main job. Four children render every document of a folder (the
 * packages in node_modules) through BullMQ; half-way one of them is killed with `kill -9`. At the end
 * every job and every page is looked for, and the exit code says whether anything was lost.
 *
 * All of it is what a user would run: the `swarm` command, the app in examples/press, a producer.
 */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Registry } from 'bullmq-swarm/registry';
import { addFlow, findDocuments } from '../examples/press/flow.js';
import { openQueues } from '../examples/press/queues.js';
import { count, Progress, seconds } from './demo/progress.mjs';
import { Swarm } from './demo/swarm.mjs';
import { verify } from './demo/verify.mjs';

const ROOT = join(import.meta.dirname, '..');
const OUT = join(ROOT, 'demo-out');
const SITE = join(OUT, 'site');
const LOG = join(OUT, 'swarm.log');
const CHILDREN = 4;

const BOOT_DEADLINE_MS = 60_000;
/** Without any page for so long, something is stuck. */
const STALL_DEADLINE_MS = 30_000;
const REPLACED_DEADLINE_MS = 30_000;
const LOOK_EVERY_MS = 100;
const CLOSE_DEADLINE_MS = 2_000;

const CHECKED =
  '  checked    every document has its whole page, or a failed job that says why; no job is left in any queue\n';

const folder = resolve(process.argv[2] ?? join(ROOT, 'node_modules'));
if (!existsSync(folder)) {
  console.error(`demo: no folder ${folder}; usage: npm run demo [-- FOLDER]`);
  process.exit(64);
}

const progress = new Progress();
const swarm = new Swarm({
  app: relative(process.cwd(), join(ROOT, 'examples/press/worker.js')),
  count: CHILDREN,
  log: LOG,
});
const toClose = [];
let interrupted = false;

rmSync(OUT, { recursive: true, force: true });
mkdirSync(SITE, { recursive: true });
console.log(`demo: ${swarm.start()}`);
try {
  process.exitCode = await Promise.race([demo(), interruption(), endOfSwarm()]);
} catch (error) {
  progress.end();
  if (interrupted) {
    console.log('demo: stopping');
    process.exitCode = 130;
  } else {
    console.error(`demo: FAILED: ${error.message}`);
    process.exitCode = 1;
  }
}
process.exit(await leave(process.exitCode));

async function demo() {
  const { registry, connection } = await connect();
  await until(
    'all children are up',
    BOOT_DEADLINE_MS,
    async () => (await upChildren(registry)).length === CHILDREN,
  );
  console.log(`demo: ${CHILDREN} children are up`);

  const { queues, close: closeQueues } = openQueues(connection);
  toClose.push(closeQueues);
  const documents = await findDocuments(folder);
  const startedAtMs = performance.now();
  const flow = await addFlow(connection, { root: folder, out: SITE });
  console.log(`demo: added ${count(flow.documents)} pages and ${flow.letters + 1} index pages to two queues`);

  const killed = await watch({ registry, queues, total: flow.documents, frontId: flow.id, startedAtMs });
  const tookMs = performance.now() - startedAtMs;
  console.log('demo: checking every document and every job');
  await until(
    'the killed child is replaced, and all children have reported',
    REPLACED_DEADLINE_MS,
    async () => {
      const children = await upChildren(registry);
      return children.length === CHILDREN && children.every(({ busy }) => busy === 0);
    },
  );
  const ps = await swarm.command('ps');
  const result = await verify({ queues, documents, letters: flow.letters, out: SITE });
  return summary({ result, killed, tookMs, ps });
}

/** Both ends, once the embedded Redis is there. */
async function connect() {
  let url = '';
  await until('swarm has its Redis', BOOT_DEADLINE_MS, async () => {
    url = (await swarm.command('redis').catch(() => '')).trim();
    return url !== '';
  });
  const registry = new Registry({ redis: url });
  toClose.push(() => registry.close());
  return { registry, connection: { url } };
}

/** Shows how it goes until the front page is there; kills a busy child half-way. */
async function watch({ registry, queues, total, frontId, startedAtMs }) {
  let killed = null;
  let lastDone = 0;
  let lastDoneAtMs = startedAtMs;
  for (;;) {
    // asked first, so that what is shown last is all of it
    const ended = await hasEnded(queues.index, frontId);
    const counts = await queues.pages.getJobCounts('completed', 'failed');
    const done = counts.completed + counts.failed;
    const nowMs = performance.now();
    if (done !== lastDone) lastDoneAtMs = nowMs;
    lastDone = done;
    const children = await registry.children();
    progress.show({
      done,
      total,
      jobsPerSecond: done / ((nowMs - startedAtMs) / 1000),
      children: children.map(({ slot, state }) => `${slot}:${state}`).join(' '),
    });
    if (killed === null && done >= total / 2) killed = kill(children);
    if (ended) break;
    if (nowMs - lastDoneAtMs > STALL_DEADLINE_MS) {
      throw new Error(`no page was finished for ${seconds(STALL_DEADLINE_MS)}: ${done} of ${total} are done`);
    }
    await sleep(LOOK_EVERY_MS);
  }
  progress.end();
  if (killed === null) throw new Error('all was done before a child could be killed; take a larger folder');
  return killed;
}

function kill(children) {
  const [victim] = children.filter(({ state }) => state === 'up').sort((a, b) => b.busy - a.busy);
  if (victim === undefined) return null;
  process.kill(victim.pid, 'SIGKILL');
  progress.say(`demo: kill -9 ${victim.pid} (child in slot ${victim.slot}, in the middle of its jobs)`);
  return { ...victim, atMs: Date.now() };
}

async function hasEnded(queue, id) {
  const job = await queue.getJob(id);
  return job?.finishedOn !== undefined;
}

function summary({ result, killed, tookMs, ps }) {
  const lines = swarm.logLines();
  const exits = lines.filter(({ message, slot }) => message === 'exited' && slot !== undefined);
  const released = lines
    .filter(({ message }) => message === 'released')
    .reduce((sum, line) => sum + line.released, 0);
  const back = lines.find(
    ({ message, slot, time }) =>
      message === 'ready' && slot === killed.slot && Date.parse(time) > killed.atMs,
  );
  const jobs = result.completed + result.failed.length + result.indexes;
  const wrong = [...result.wrong];
  if (exits.length !== 1) wrong.push(`one child was killed, but ${exits.length} exited`);
  if (released !== result.restarted.length) {
    wrong.push(`swarm put ${released} jobs back, but ${result.restarted.length} ran again`);
  }
  if (result.charged.length > 0) wrong.push(`${result.charged.length} jobs were charged a second attempt`);

  console.log(`
$ swarm ps
${ps.trimEnd()}

demo: ${wrong.length === 0 ? 'nothing lost' : 'FAILED'}
  jobs       ${count(jobs)} in ${seconds(tookMs)}, ${count(jobs / (tookMs / 1000))} jobs/s
  pages      ${count(result.completed)} rendered${refused(result.failed)}
  killed     1 child with kill -9; its slot was ready again after ${back ? seconds(Date.parse(back.time) - killed.atMs) : '?'}
  put back   ${released} jobs of that child; ${ranAgain(result.restarted, killed.atMs)}
${wrong.length === 0 ? CHECKED : ''}  look at    ${shown(join(SITE, 'index.html'))}
  log        ${shown(LOG)}`);
  for (const problem of wrong.slice(0, 20)) console.log(`  LOST       ${problem}`);
  if (wrong.length > 20) console.log(`  … and ${wrong.length - 20} more`);
  return wrong.length === 0 ? 0 : 1;
}

function refused(failed) {
  return failed.length === 0
    ? ''
    : `, ${failed.length} refused by the app (${failed[0].reason.split(':')[0]}), as they should`;
}

function ranAgain(restarted, killedAtMs) {
  const slots = [...new Set(restarted.map(({ returnvalue }) => returnvalue.slot))].sort();
  if (slots.length === 0) return 'it held none at that moment';
  const where = `${slots.length === 1 ? 'slot' : 'slots'} ${slots.join(', ')}`;
  const withinMs = Math.max(...restarted.map(({ processedOn }) => processedOn)) - killedAtMs;
  return `all ran again within ${seconds(withinMs)} in ${where}, no attempt charged`;
}

function shown(path) {
  return relative(process.cwd(), path);
}

async function upChildren(registry) {
  return (await registry.children()).filter(({ state }) => state === 'up');
}

async function until(what, deadlineMs, condition) {
  const endAtMs = performance.now() + deadlineMs;
  while (!(await condition())) {
    if (performance.now() > endAtMs) throw new Error(`${what}: not within ${seconds(deadlineMs)}`);
    await sleep(LOOK_EVERY_MS);
  }
}

/** Rejects at Ctrl-C. */
function interruption() {
  return new Promise((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM']) {
      process.on(signal, () => {
        interrupted = true;
        reject(new Error(signal));
      });
    }
  });
}

/** Rejects when swarm ends before it is told to. */
async function endOfSwarm() {
  const { code, signal } = await swarm.ended;
  throw new Error(`swarm ended by itself with ${signal ?? `exit code ${code}`}`);
}

/** Stops swarm and leaves nothing behind but the output. @returns the exit code */
async function leave(exitCode) {
  // With Redis gone, a connection may never close.
  for (const step of toClose.splice(0).reverse()) await Promise.race([step(), sleep(CLOSE_DEADLINE_MS)]);
  const ended = await swarm.stop();
  await swarm.removeState();
  if (exitCode === 130) return exitCode;
  if (exitCode === 0 && ended.code === 0) return 0;
  if (exitCode === 0) {
    console.error(`demo: FAILED: swarm ended with ${ended.signal ?? `exit code ${ended.code}`}, not with 0`);
  }
  showLogTail();
  return 1;
}

function showLogTail() {
  console.error(`demo: the end of ${shown(LOG)}:`);
  for (const line of swarm.logLines().slice(-20)) console.error(`  ${line.text ?? JSON.stringify(line)}`);
}
