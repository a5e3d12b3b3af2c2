/**
 * Removes what `tsc -b` left behind of source files that are gone: a deleted test must not run on, and a
 * deleted module must not be packed. Part of `npm run build`.
 */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { OUTPUT_DIRECTORIES } from './outputs.mjs';

const BUILT = /\.(?:js|js\.map|d\.ts|d\.ts\.map)$/;

for (const { source, output } of OUTPUT_DIRECTORIES) {
  if (!existsSync(output)) continue;
  for (const entry of readdirSync(output, { recursive: true, withFileTypes: true })) {
    const file = join(entry.parentPath ?? entry.path, entry.name);
    const isBuilt = entry.isFile() && BUILT.test(file);
    const isCopied = entry.isFile() && file.endsWith('.lua');
    if (!isBuilt && !isCopied) continue;
    const name = relative(output, file);
    const origin = join(source, isBuilt ? name.replace(BUILT, '.ts') : name);
    if (!existsSync(origin)) {
      rmSync(file);
      console.log(`build: removed ${file}, its source is gone`);
    }
  }
}
