/**
 * The jobs of the queue `index`. BullMQ starts each when all the jobs below it have ended (see flow.js), in
 * whatever child, and hands it what they returned: nothing is shared between processes but Redis and files.
 */
import { slot } from './child.js';
import { escapeHtml, letterPageOf, linkTo, writePage } from './layout.js';

/** Lists the documents of one letter. */
export async function letterPage(job) {
  const { letter } = job.data;
  const pages = Object.values(await job.getChildrenValues());
  const failures = Object.values(await job.getIgnoredChildrenFailures());
  const path = letterPageOf(letter);
  const owners = groupByOwner(pages);
  const sections = Object.keys(owners)
    .sort()
    .map((owner) => ownerSection(path, owner, owners[owner]));
  const failed = failures.length === 0 ? '' : `<h2>Not rendered</h2>\n${list(failures.map(escapeHtml))}`;
  await writePage(job, path, {
    title: `Documents: ${letter}`,
    body: `<h1>${escapeHtml(letter)}</h1>\n${sections.join('')}${failed}`,
    note: `${pages.length} documents, index job ${job.id}`,
  });
  return {
    letter,
    path,
    pages: pages.length,
    failures: failures.length,
    owners: Object.keys(owners).length,
    slot,
  };
}

/** The front page, over all letters. */
export async function frontPage(job) {
  const { root } = job.data;
  const letters = Object.values(await job.getChildrenValues()).sort((a, b) => (a.letter < b.letter ? -1 : 1));
  const sum = (field) => letters.reduce((total, letter) => total + letter[field], 0);
  const items = letters.map(
    ({ letter, path, pages }) =>
      `<li><a href="${linkTo('index.html', path)}">${escapeHtml(letter)} <small>${pages}</small></a></li>`,
  );
  const result = {
    pages: sum('pages'),
    failures: sum('failures'),
    owners: sum('owners'),
    letters: letters.length,
  };
  await writePage(job, 'index.html', {
    title: 'Documents',
    body: `<h1>Documents</h1>
<p>${result.pages} documents of ${result.owners} packages in <code>${escapeHtml(root)}</code>${
      result.failures === 0 ? '' : `; ${result.failures} could not be rendered`
    }.</p>
<ul class="letters">
${items.join('\n')}
</ul>
`,
    note: `index job ${job.id}`,
  });
  return { ...result, slot };
}

function ownerSection(from, owner, pages) {
  const links = pages
    .sort((a, b) => (a.file < b.file ? -1 : 1))
    .map(({ file, path, title }) => {
      const name = file.slice(owner.length + 1) || file;
      const label =
        title === file || name.endsWith(title) ? '' : ` <span class="dim">${escapeHtml(title)}</span>`;
      return `<a href="${linkTo(from, path)}">${escapeHtml(name)}</a>${label}`;
    });
  return `<h2>${escapeHtml(owner)}</h2>\n${list(links)}`;
}

const list = (items) =>
  `<ul class="columns">\n${items.map((item) => `<li>${item}</li>`).join('\n')}\n</ul>\n`;

function groupByOwner(pages) {
  const groups = {};
  for (const page of pages) {
    groups[page.owner] ??= [];
    groups[page.owner].push(page);
  }
  return groups;
}
