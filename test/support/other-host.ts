/**
 * Another host, as far as processes can tell: a name, pids and, if wanted, a boot of its own, by Linux
 * namespaces. All of it is killed at once when the process that the test sees is.
 */
import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { temporaryDirectory } from './programs.js';

export interface OtherHost {
  name: string;
  /** What to put before a command so that it runs there. */
  command: readonly string[];
}

/** Of a Redis on loopback that all of them can reach: names of loopback are each host's own. */
export const SHARED_LOOPBACK = '0.0.0.0';

const NAMESPACES = ['unshare', '--uts', '--pid', '--mount-proc', '--fork', '--kill-child'];
/** $0: name, $1: file with a boot id, or nothing; the rest: the command. */
const ENTER = `
hostname "$0" || exit 1
[ -z "$1" ] || mount --bind "$1" /proc/sys/kernel/random/boot_id || exit 1
shift
exec "$@"
`;

/** null: other hosts can be made here; else why not. */
export function whyNoOtherHost(): string | null {
  const { status, error, stderr } = spawnSync(
    'unshare',
    [...NAMESPACES.slice(1), 'sh', '-c', ENTER, 'probe', '', 'true'],
    {
      encoding: 'utf8',
    },
  );
  return status === 0 ? null : `no namespaces can be made here: ${error?.message ?? stderr.trim()}`;
}

/** @param bootId other than this host's; null: the same, as in another container */
export async function otherHost(
  t: TestContext,
  name: string,
  bootId: string | null = null,
): Promise<OtherHost> {
  let file = '';
  if (bootId !== null) {
    file = join(await temporaryDirectory(t), 'boot-id');
    await writeFile(file, `${bootId}\n`);
  }
  return { name, command: [...NAMESPACES, 'sh', '-c', ENTER, name, file] };
}
