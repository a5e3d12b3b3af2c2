/** The frame around every page, and where pages lie. */
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';

/** Path of a document's page below the output folder, with `/`. */
export const pageOf = (file) => `pages/${file}.html`;

/** Path of a letter's index page below the output folder. */
export const letterPageOf = (letter) => `letters/${letter === '#' ? 'other' : letter.toLowerCase()}.html`;

/** The package, or the folder, that a document belongs to: it is listed under that name. */
export function ownerOf(file) {
  const [first, second] = file.split('/');
  return first.startsWith('@') && second !== undefined ? `${first}/${second}` : first;
}

export function letterOf(file) {
  const initial = ownerOf(file).replace(/^@/, '')[0].toUpperCase();
  return /[A-Z]/.test(initial) ? initial : '#';
}

/** Href from one page to another, both below the output folder. */
export const linkTo = (from, to) =>
  posix.relative(posix.dirname(from), to).split('/').map(encodeURIComponent).join('/');

export const escapeHtml = (text) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/**
 * Writes a page so that whoever looks, and whatever is killed meanwhile, the old page or the new one is
 * there as a whole. The draft carries the job's id: the job's next run takes over what a killed one left.
 */
export async function writePage(job, path, { title, body, note }) {
  const file = join(job.data.out, path);
  const draft = `${file}.${job.id}.draft`;
  const html = page(path, { title, body, note });
  await mkdir(dirname(file), { recursive: true });
  await writeFile(draft, html);
  await rename(draft, file);
  return Buffer.byteLength(html);
}

// Documents come from anybody: nothing in them is run, and nothing is fetched for them.
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

function page(path, { title, body, note }) {
  const home =
    path === 'index.html' ? '' : `<nav><a href="${linkTo(path, 'index.html')}">All documents</a></nav>\n`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
</head>
<body>
${home}<main>
${body}</main>
<footer>${escapeHtml(note)}</footer>
</body>
</html>
`;
}

const STYLE = `
:root { color-scheme: light dark; --text: #1f2328; --dim: #59636e; --line: #d1d9e0; --code: #f6f8fa; --link: #0550ae;
  --keyword: #a40e26; --string: #0a3069; --name: #6639ba; --number: #0550ae; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6edf3; --dim: #9198a1; --line: #3d444d; --code: #151b23; --link: #79c0ff;
    --keyword: #ff7b72; --string: #a5d6ff; --name: #d2a8ff; --number: #79c0ff; }
}
body { margin: 0 auto; max-width: 58rem; padding: 1.5rem 1rem; color: var(--text); font: 16px/1.6 system-ui, sans-serif; }
a { color: var(--link); text-decoration: none; } a:hover { text-decoration: underline; }
nav, footer { color: var(--dim); font-size: .875rem; } footer { border-top: 1px solid var(--line); margin-top: 2rem; padding-top: .5rem; }
pre { background: var(--code); border-radius: 6px; overflow-x: auto; padding: .75rem 1rem; font-size: .875rem; line-height: 1.45; }
code { font-family: ui-monospace, monospace; } :not(pre) > code { background: var(--code); border-radius: 4px; padding: .1em .3em; }
table { border-collapse: collapse; } td, th { border: 1px solid var(--line); padding: .3rem .6rem; }
h1, h2 { border-bottom: 1px solid var(--line); padding-bottom: .2em; } blockquote { border-left: 3px solid var(--line); margin: 0; padding-left: 1rem; color: var(--dim); }
ul.columns { columns: 16rem; padding-left: 1.2rem; } .letters { display: flex; flex-wrap: wrap; gap: .5rem; list-style: none; padding: 0; }
.letters a { border: 1px solid var(--line); border-radius: 6px; display: block; padding: .3rem .7rem; } .letters small, .dim { color: var(--dim); }
.hljs-keyword, .hljs-meta, .hljs-tag { color: var(--keyword); } .hljs-string, .hljs-regexp { color: var(--string); }
.hljs-title, .hljs-built_in, .hljs-type, .hljs-name { color: var(--name); } .hljs-number, .hljs-literal, .hljs-attr, .hljs-property { color: var(--number); }
.hljs-comment { color: var(--dim); }
`;
