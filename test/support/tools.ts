/** Programs that some tests use: those of this machine, or what `scripts/setup tests` took out of Debian's packages. */
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

// seen from test/dist/support
const FROM_SETUP = fileURLToPath(new URL('../../../node_modules/.test-tools', import.meta.url));

/** Its path; null: it is not to be had here. */
export function toolPath(name: 'promtool' | 'tini'): string | null {
  const directories = [...(process.env['PATH'] ?? '').split(delimiter).filter(Boolean), FROM_SETUP];
  return directories.map((directory) => join(directory, name)).find((path) => existsSync(path)) ?? null;
}
