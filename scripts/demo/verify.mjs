/**
 * Looks for anything lost, in two independent places: what BullMQ says of every job, and what lies in the
 * output folder. Returns the figures and the list of what is wrong, which should be empty.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What press itself refuses; any other failure is none that the demo expects. */
const PRESS_REASON = /^(too big|unreadable): /;

const UNFINISHED = ['active', 'waiting', 'delayed', 'prioritized', 'waiting-children'];

export async function verify({ queues, documents, letters, out }) {
  const wrong = [];
  const [completed, failed] = await endedJobs(queues.pages);

  for (const queue of Object.values(queues)) {
    const counts = await queue.getJobCounts(...UNFINISHED);
    for (const [state, jobs] of Object.entries(counts)) {
      if (jobs > 0) wrong.push(`queue ${queue.name} still has ${jobs} ${state}`);
    }
  }
  if (completed.length + failed.length !== documents.length) {
    wrong.push(
      `${documents.length} pages were asked for, but ${completed.length} jobs completed and ${failed.length} failed`,
    );
  }
  const [indexes, failedIndexes] = await endedJobs(queues.index);
  if (indexes.length !== letters + 1 || failedIndexes.length > 0) {
    wrong.push(
      `of ${letters + 1} index pages ${indexes.length} completed and ${failedIndexes.length} failed`,
    );
  }

  const done = new Map(completed.map((job) => [job.data.file, job]));
  const refused = new Map(failed.map((job) => [job.data.file, job]));
  const written = await pagesIn(out);
  for (const { file } of documents) {
    if (refused.has(file)) {
      const { id, failedReason } = refused.get(file);
      if (!PRESS_REASON.test(failedReason)) wrong.push(`${file}: job ${id} failed: ${failedReason}`);
    } else if (!done.has(file)) {
      wrong.push(`${file}: no job for it has ended`);
    } else if (!(await isWhole(written.get(file), done.get(file)))) {
      wrong.push(`${file}: job ${done.get(file).id} completed, but its page is not there`);
    }
  }
  const drafts = (await readdir(out, { recursive: true })).filter((name) => name.endsWith('.draft'));
  if (drafts.length > 0) wrong.push(`${drafts.length} pages were left half-written, e.g. ${drafts[0]}`);
  if (written.size !== completed.length) {
    wrong.push(`${completed.length} page jobs completed, but there are ${written.size} pages`);
  }

  return {
    wrong,
    completed: completed.length,
    failed: failed.map((job) => ({ file: job.data.file, reason: job.failedReason })),
    indexes: indexes.length,
    /** Jobs that ran again without being charged an attempt: what a release does. */
    restarted: [...completed, ...indexes].filter((job) => job.attemptsStarted > job.attemptsMade),
    /** Jobs that were charged more than one attempt. */
    charged: [...completed, ...indexes].filter((job) => job.attemptsMade > 1),
  };
}

/** Those that completed, and those that failed. */
async function endedJobs(queue) {
  return [await queue.getJobs(['completed']), await queue.getJobs(['failed'])];
}

async function pagesIn(out) {
  const pages = new Map();
  const root = join(out, 'pages');
  for (const name of await readdir(root, { recursive: true })) {
    if (name.endsWith('.html')) pages.set(name.slice(0, -'.html'.length), join(root, name));
  }
  return pages;
}

/** The page is complete, and this job wrote it. */
async function isWhole(path, job) {
  if (path === undefined) return false;
  const html = await readFile(path, 'utf8');
  return html.endsWith('</html>\n') && html.includes(`job ${job.id}</footer>`);
}
