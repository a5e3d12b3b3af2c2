/**
 * What Redis answers to BullMQ's scripts, before BullMQ makes jobs of it: whether a job came and whether it has blame,
 * how long the queue is rate limited, when its next delayed job is due. All of BullMQ's calls of scripts go through one
 * public method, in 5.x of its `Scripts` and in 6.x of its `RedisQueueBackend`.
 *
 * Rejected: what the Worker keeps of it, `limitUntil` and `blockUntil`, is private.
 */
import type { BullModule, BullWorker } from '../child/bullmq.js';

/** What the scripts that may answer with a next job are called. */
const BRINGS_JOBS: ReadonlySet<string> = new Set([
  'moveToActive',
  'moveToFinished',
  'moveToDelayed',
  'retryJob',
]);
export const BLAME_FIELDS: readonly string[] = ['swarmExact', 'swarmShared'];

type ExecCommand = (client: unknown, name: string, args: unknown[]) => unknown;
interface ScriptRunner {
  execCommand?: ExecCommand;
}

/** 6.x by its backend, 5.x by the protected `scripts`. */
interface Scripted {
  getBackend?(): unknown;
  readonly scripts?: unknown;
}

/** A reply of a script that brings jobs: `[hash, id, limited for ms, due at ms]`; undefined: it brings none. */
export type RawReply = readonly unknown[] | undefined;

/** Called with a reply, undefined for an error, before BullMQ gets it, which waits for the promise if there is one. */
export type OnReply = (reply: RawReply) => Promise<void> | undefined;

/** @param sending called right before a script is sent */
export function watchReplies(worker: BullWorker, sending: () => OnReply): void {
  const runner = runnerOf(worker as BullWorker & Scripted);
  const execCommand = runner?.execCommand;
  if (!runner || !execCommand) return;
  runner.execCommand = (client, name, args) => {
    if (!BRINGS_JOBS.has(name)) return execCommand.call(runner, client, name, args);
    const onReply = sending();
    return Promise.resolve(execCommand.call(runner, client, name, args)).then(
      (value: unknown) => {
        const turn = onReply(Array.isArray(value) ? value : undefined);
        return turn ? turn.then(() => value) : value;
      },
      (error: unknown) => {
        void onReply(undefined);
        throw error;
      },
    );
  };
}

function runnerOf(worker: Scripted): ScriptRunner | undefined {
  return (worker.getBackend ? worker.getBackend() : worker.scripts) as ScriptRunner | undefined;
}

/** Whether `watchReplies` sees anything there. */
export function showsReplies(bullmq: BullModule): boolean {
  const { Scripts, RedisQueueBackend } = bullmq as BullModule & { Scripts?: { prototype: object } };
  const runner = 'getBackend' in bullmq.Worker.prototype ? RedisQueueBackend : Scripts;
  return 'execCommand' in (runner?.prototype ?? {});
}

/** A job's hash as Redis gives it: field, value, field, value … */
export function hasBlame(hash: unknown): boolean {
  if (!Array.isArray(hash)) return false;
  for (let at = 0; at < hash.length; at += 2) {
    if (BLAME_FIELDS.includes(hash[at] as string) && Number(hash[at + 1]) > 0) return true;
  }
  return false;
}
