// A BullMQ program whose jobs hang, each in the way that its data names, at their first start only.
import { execSync } from 'node:child_process';
import { pbkdf2Sync } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import inspector from 'node:inspector';
import { createRequire } from 'node:module';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { getHeapStatistics } from 'node:v8';
import { runInNewContext, runInThisContext } from 'node:vm';
import { Worker as Thread } from 'node:worker_threads';

// an import of a CommonJS package costs twice the CPU time, and tests start hundreds of these
const { Worker } = createRequire(import.meta.url)('bullmq');

const { QUEUE_NAME, QUEUE_REDIS_PORT, APP_CONCURRENCY = '1' } = process.env;

/** `(module (func (export "spin") (loop (br 0))))` */
const SPINNING_WASM = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 8, 1, 4, 115, 112, 105, 110, 0, 0, 10, 9, 1,
  7, 0, 3, 64, 12, 0, 11, 11,
]);

const PAUSE_MAIN = `
  const { Session } = require('node:inspector');
  const { workerData } = require('node:worker_threads');
  const session = new Session();
  session.connectToMainThread();
  session.post('Debugger.enable');
  session.once('Debugger.paused', () => {
    setTimeout(() => {
      session.post('Debugger.resume', () => {
        session.disconnect();
        // node aborts where a thread ends right after it
        setTimeout(() => process.exit(), 300);
      });
    }, workerData.pauseMs);
  });
  session.post('Debugger.pause');
  setTimeout(() => {}, 600_000);
`;

/** Functions of names and places of their own; a millisecond or so each. */
const STEPS = Array.from({ length: 12 }, (_, index) =>
  runInThisContext(
    `(function step${index}() {${'\n'.repeat(index)} let sum = 0; for (let at = 0; at < 1e6; at++) sum += at; return sum; })`,
    { filename: fileURLToPath(import.meta.url) },
  ),
);

const hangs = {
  loop: function spinForever() {
    for (;;);
  },
  movingLoop: function alternate() {
    for (;;) for (const step of STEPS) step();
  },
  regex: function matchBadly() {
    return /^(a+)+$/.test(`${'a'.repeat(40)}!`);
  },
  stringify: function stringifyForever() {
    const value = {
      toJSON() {
        for (;;);
      },
    };
    return JSON.stringify({ value });
  },
  parse: function parseALot({ text }) {
    for (;;) JSON.parse(text);
  },
  pbkdf2: function deriveForever() {
    return pbkdf2Sync('password', 'salt', 2_000_000_000, 32, 'sha512');
  },
  pbkdf2For: function deriveAWhile({ iterations }) {
    return pbkdf2Sync('password', 'salt', iterations, 32, 'sha512');
  },
  pbkdf2Exit: function deriveAndExit({ iterations }) {
    pbkdf2Sync('password', 'salt', iterations, 32, 'sha512');
    process.exit(3);
  },
  exec: function runAndWait() {
    return execSync('sleep 612');
  },
  fifo: function readFromNobody({ path }) {
    // opened for both, so that only the read waits
    const fd = openSync(path, 'r+');
    try {
      return readSync(fd, Buffer.alloc(1));
    } finally {
      closeSync(fd);
    }
  },
  openFifo: function openForNobody({ path }) {
    return readFileSync(path);
  },
  atomics: function waitForNobody() {
    return Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  },
  vm: function runInVm() {
    return runInNewContext('for (;;);', {}, { filename: 'sandboxed.vm.js' });
  },
  microtasks: function chainMicrotasks() {
    const again = () => queueMicrotask(again);
    again();
    return delay(600_000);
  },
  nextTick: function chainTicks() {
    const again = () => process.nextTick(again);
    again();
    return delay(600_000);
  },
  /** As much as fits is held, and all of it is renewed again and again. */
  gc: async function holdMuch() {
    const { heap_size_limit: limit } = getHeapStatistics();
    const held = [];
    while (getHeapStatistics().used_heap_size < 0.75 * limit) {
      held.push(newObject());
      if (held.length % 50 === 0) await delay(0);
    }
    churnHeap(held);
  },
  wasm: async function spinInWasm() {
    const { instance } = await WebAssembly.instantiate(SPINNING_WASM);
    return instance.exports.spin();
  },
  compute: function computeFor({ cpuMs }) {
    const start = process.cpuUsage();
    for (;;) {
      const { user, system } = process.cpuUsage(start);
      if ((user + system) / 1_000 > cpuMs) return;
    }
  },
  sleep: function sleepFor({ sleepMs }) {
    return Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, sleepMs);
  },
  /** At a breakpoint, with a debugger's port open. */
  debug: async function stopAtBreakpoint({ pauseMs }) {
    inspector.open(0, '127.0.0.1');
    await delay(600);
    const thread = new Thread(PAUSE_MAIN, { eval: true, workerData: { pauseMs } });
    await once(thread, 'exit');
    inspector.close();
  },
  fetch: async function fetchUsers({ url }) {
    return (await fetch(url)).text();
  },
  dns: async function resolveName({ name }) {
    return lookup(name);
  },
  never: function promiseNothing() {
    return new Promise(() => {});
  },
  mutex: async function lockBoth() {
    const mutex = { tail: Promise.resolve() };
    const lock = () => {
      const before = mutex.tail;
      let release;
      mutex.tail = new Promise((resolve) => {
        release = resolve;
      });
      return before.then(() => release);
    };
    await lock();
    await lock();
  },
};

function churnHeap(held) {
  for (let at = 0; ; at = (at + 7) % held.length) held[at] = newObject();
}

function newObject() {
  return new Array(200).fill(1.5).map((value, index) => ({ value, index }));
}

async function processor(job) {
  const { hang, ms = 0, first = true, ...data } = job.data;
  console.log(`runs ${job.id}`);
  if (hang === 'parse') data.text = `[${'1,'.repeat(data.items)}1]`;
  // what hangs after an await has async callers
  await delay(20);
  if (hang && (!first || job.attemptsStarted <= 1)) await hangs[hang](data);
  if (ms) await delay(ms);
  console.log(`ends ${job.id}`);
  return { pid: process.pid };
}

const worker = new Worker(QUEUE_NAME, processor, {
  connection: { host: '127.0.0.1', port: Number(QUEUE_REDIS_PORT) },
  concurrency: Number(APP_CONCURRENCY),
});
worker.on('error', () => {});
