/** Copies the Lua scripts beside the built modules that load them. Part of `npm run build`. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { PACKAGE_OUTPUTS } from './outputs.mjs';

for (const { source, output } of PACKAGE_OUTPUTS) {
  for (const entry of readdirSync(source, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith('.lua')) continue;
    const from = join(entry.parentPath ?? entry.path, entry.name);
    const to = join(output, relative(source, from));
    // Untouched when equal: a running child or a watcher must not see a half-written script.
    if (existsSync(to) && readFileSync(to).equals(readFileSync(from))) continue;
    mkdirSync(dirname(to), { recursive: true });
    cpSync(from, to);
  }
}
