// Writes the table of options into README.md, from the product's own table. With --check: says whether it is current.
import { readFileSync, writeFileSync } from 'node:fs';
import { optionRows } from '../packages/swarm/dist/options.js';

const README = new URL('../README.md', import.meta.url);
const BEGIN = '<!-- options: written by scripts/options-table.mjs -->';
const END = '<!-- /options -->';

const cell = (text) => text.replaceAll('|', '\\|');
const rows = optionRows().map(({ flag, env, defaultText, describe }) => {
  const variables = env.slice(0, 3).map((name) => `\`${name}\``);
  return `| \`${cell(flag)}\` | ${variables.join(', ')} | ${cell(defaultText)} | ${cell(describe)} |`;
});
const table = ['| flag | environment | default | meaning |', '| --- | --- | --- | --- |', ...rows].join('\n');

const text = readFileSync(README, 'utf8');
const [before, rest] = text.split(BEGIN);
const after = rest?.split(END)[1];
if (after === undefined) throw new Error(`README.md has no place for the options: ${BEGIN} … ${END}`);
const next = `${before}${BEGIN}\n${table}\n${END}${after}`;
if (!process.argv.includes('--check')) writeFileSync(README, next);
else if (next !== text) {
  console.error('README.md: the table of options is not current; run node scripts/options-table.mjs');
  process.exitCode = 1;
}
