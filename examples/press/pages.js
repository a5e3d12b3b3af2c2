/** The jobs of the queue `pages`: one document each. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { UnrecoverableError } from 'bullmq';
import { slot } from './child.js';
import { ownerOf, pageOf, writePage } from './layout.js';

/** Highlighting holds the event loop, 1 MB for about a second; generated giants are not worth that. */
export const MAX_DOCUMENT_BYTES = 512 * 1024;

const GONE = new Set(['ENOENT', 'EACCES', 'EPERM', 'EISDIR', 'ELOOP']);

/**
 * Renders one document and writes its page. Fit to run twice, as every BullMQ job has to be: the page is
 * written anew, whole. What cannot get better by itself fails for good; the rest is left to the retries.
 */
export async function pressPage(job, render) {
  const { root, file } = job.data;
  const text = await readDocument(join(root, file));
  const { title, body } = render(text, file);
  const path = pageOf(file);
  const bytes = await writePage(job, path, {
    title,
    body,
    note: `${file}, rendered by child ${slot}, job ${job.id}`,
  });
  return { file, path, title, owner: ownerOf(file), bytes, slot, pid: process.pid };
}

async function readDocument(path) {
  try {
    const { size } = await stat(path);
    if (size > MAX_DOCUMENT_BYTES) {
      throw new UnrecoverableError(
        `too big: ${size} bytes, at most ${MAX_DOCUMENT_BYTES} are rendered: ${path}`,
      );
    }
    return await readFile(path, 'utf8');
  } catch (error) {
    if (GONE.has(error.code)) {
      throw Object.assign(new UnrecoverableError(`unreadable: ${error.message}`), { cause: error });
    }
    throw error;
  }
}
