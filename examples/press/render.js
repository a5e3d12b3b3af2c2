/** From a file's text to the body of its page. Pure: text in, `{ title, body }` out. */
import { posix } from 'node:path';
import hljs from 'highlight.js';
import { Marked } from 'marked';
import { escapeHtml } from './layout.js';

const marked = new Marked({
  gfm: true,
  renderer: {
    code({ text, lang }) {
      return block(text, lang?.match(/^[\w#+-]+/)?.[0] ?? '');
    },
    link({ href, title, tokens }) {
      const hint = title ? ` title="${escapeHtml(title)}"` : '';
      return `<a href="${escapeHtml(toPage(href))}"${hint}>${this.parser.parseInline(tokens)}</a>`;
    },
  },
});

export function renderMarkdown(text, file) {
  const heading = text.match(/^#\s+(.+)$/m)?.[1];
  const title = heading?.replace(/[[\]*`_]|\(.*?\)|<.*?>/g, '').trim();
  return { title: title || file, body: marked.parse(text) };
}

export function renderTypes(text, file) {
  return { title: posix.basename(file), body: block(text, 'typescript') };
}

function block(text, language) {
  const known = hljs.getLanguage(language) !== undefined;
  const html = known ? hljs.highlight(text, { language, ignoreIllegals: true }).value : escapeHtml(text);
  return `<pre><code class="hljs">${html}</code></pre>\n`;
}

/** A link to a neighbouring Markdown file leads to its page. */
function toPage(href) {
  return /^[a-z]+:|^#|^\//i.test(href) ? href : href.replace(/\.(md|markdown)(?=#|$)/i, '.$1.html');
}
