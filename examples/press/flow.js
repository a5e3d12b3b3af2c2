/**
 * What the producer adds: one flow. Its root is the front page, below that a job a letter, below those a
 * job a document. BullMQ runs a parent only when all of its children have ended, and counts them in Redis,
 * atomically: no job has to ask whether it is the last one, which several processes would answer wrongly.
 */
import { readdir } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { FlowProducer } from 'bullmq';
import { letterOf } from './layout.js';

const KINDS = [
  { name: 'markdown', pattern: /\.(?:md|markdown)$/i },
  { name: 'types', pattern: /\.d\.[cm]?ts$/ },
];

const DAY_SECONDS = 24 * 3600;
const KEEP = { removeOnComplete: { age: DAY_SECONDS }, removeOnFail: { age: 7 * DAY_SECONDS } };

/** A page that cannot be rendered is listed as such: it does not hold up the index. */
const PAGE = {
  ...KEEP,
  attempts: 3,
  backoff: { type: 'exponential', delay: 500 },
  ignoreDependencyOnFailure: true,
};
/** An index page that cannot be written fails the whole press, instead of leaving it to wait for ever. */
const LETTER = {
  ...KEEP,
  attempts: 3,
  backoff: { type: 'exponential', delay: 500 },
  failParentOnFailure: true,
};

/**
 * Finds the documents below `root` and adds the flow that turns them into pages below `out`.
 * @returns {Promise<{ id: string, documents: number, letters: number }>} `id`: of the front page's job
 */
export async function addFlow(connection, { root, out }) {
  const documents = await findDocuments(root);
  if (documents.length === 0) throw new Error(`no Markdown file and no type declaration below ${root}`);
  const letters = [...new Set(documents.map(({ file }) => letterOf(file)))].sort();
  const producer = new FlowProducer({ connection });
  try {
    const { job } = await producer.add({
      name: 'front',
      queueName: 'index',
      data: { root, out },
      opts: KEEP,
      children: letters.map((letter) => ({
        name: 'letter',
        queueName: 'index',
        data: { letter, out },
        opts: LETTER,
        children: documents
          .filter(({ file }) => letterOf(file) === letter)
          .map(({ kind, file }) => ({
            name: kind,
            queueName: 'pages',
            data: { root, file, out },
            opts: PAGE,
          })),
      })),
    });
    return { id: job.id, documents: documents.length, letters: letters.length };
  } finally {
    await producer.close();
  }
}

/** All documents below `root`, as paths with `/`. Links are not followed. */
export async function findDocuments(root) {
  const found = [];
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    const kind = KINDS.find(({ pattern }) => pattern.test(entry.name));
    if (kind === undefined || !entry.isFile()) continue;
    const path = join(entry.parentPath ?? entry.path, entry.name);
    found.push({ kind: kind.name, file: relative(root, path).split(sep).join('/') });
  }
  return found.sort((a, b) => (a.file < b.file ? -1 : 1));
}
