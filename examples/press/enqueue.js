/** The producer: `node enqueue.js [FOLDER] [OUT]`. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { addFlow } from './flow.js';
import { redisUrl } from './redis-url.js';

const modules = ['node_modules', join(import.meta.dirname, '../../node_modules')].find((path) =>
  existsSync(path),
);
const [folder = modules, target = 'press-out'] = process.argv.slice(2);
if (folder === undefined || !existsSync(folder)) {
  console.error(`press: no folder ${folder ?? 'node_modules'}; usage: node enqueue.js [FOLDER] [OUT]`);
  process.exit(1);
}
const out = resolve(target);

try {
  const added = await addFlow({ url: redisUrl() }, { root: resolve(folder), out });
  console.log(
    `press: ${added.documents} documents on queue pages, ${added.letters + 1} index pages on queue index`,
  );
  console.log(`press: when they are done, look at ${join(out, 'index.html')}`);
} catch (error) {
  console.error(`press: ${error.message}`);
  process.exitCode = 1;
}
