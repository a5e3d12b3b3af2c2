/**
 * The swarm app: `npx swarm examples/press/worker.js --count 4`.
 *
 * Two queues, because their jobs differ: a page is one file, there are thousands, and any child may render
 * any of them; an index page needs all of its pages to be there, so it is a flow's parent (see flow.js).
 */
import { defineApp } from 'bullmq-swarm';
import { frontPage, letterPage } from './indexes.js';
import { pressPage } from './pages.js';
import { renderMarkdown, renderTypes } from './render.js';

export default defineApp({
  queues: {
    // Listed first, so served first: an index whose pages are done does not wait behind other folders' pages.
    index: { jobs: { letter: letterPage, front: frontPage } },
    pages: {
      jobs: {
        markdown: (job) => pressPage(job, renderMarkdown),
        types: (job) => pressPage(job, renderTypes),
      },
    },
  },
});
