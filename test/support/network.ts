/**
 * Hosts with a network of their own between them: Linux network namespaces on a bridge, whose other end is here. A
 * link can be taken down as a cable is pulled: nothing comes through, and nobody says so.
 */
import { spawnSync } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import type { TestContext } from 'node:test';
import { type OtherHost, otherHost } from './other-host.js';

export interface Network {
  /** Of this end: what listens there is reached by all hosts. */
  address: string;
  /** A host on it, with an address and a boot of its own. */
  join(name: string): Promise<NetworkHost>;
}

export interface NetworkHost extends OtherHost {
  address: string;
  pull(): void;
  plug(): void;
}

/** A text: why there can be none here. */
export function openNetwork(t: TestContext): Network | string {
  const id = randomBytes(3).toString('hex');
  const bridge = `swb-${id}`;
  const subnet = `10.${randomInt(128, 255)}.${randomInt(0, 255)}`;
  const address = `${subnet}.1`;
  const undo: string[][] = [['link', 'del', bridge]];
  t.after(() => {
    for (const args of undo.reverse()) ip(...args);
  });
  const failure =
    ip('link', 'add', bridge, 'type', 'bridge') ??
    ip('address', 'add', `${address}/24`, 'dev', bridge) ??
    ip('link', 'set', bridge, 'up') ??
    ip('netns', 'add', `${bridge}-probe`) ??
    ip('netns', 'del', `${bridge}-probe`);
  if (failure !== null) return `no network of its own can be made here: ${failure}`;

  let hosts = 0;
  return {
    address,
    async join(name) {
      hosts += 1;
      const [namespace, link] = [`${bridge}-${hosts}`, `swv-${id}-${hosts}`];
      const own = `${subnet}.${hosts + 1}`;
      undo.push(['netns', 'del', namespace], ['link', 'del', link]);
      must('netns', 'add', namespace);
      must('link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace);
      must('link', 'set', link, 'master', bridge, 'up');
      must('-n', namespace, 'address', 'add', `${own}/24`, 'dev', 'eth0');
      must('-n', namespace, 'link', 'set', 'eth0', 'up');
      must('-n', namespace, 'link', 'set', 'lo', 'up');
      const boot = `${randomBytes(4).toString('hex')}-0000-4000-8000-000000000000`;
      const host = await otherHost(t, name, boot);
      return {
        name,
        address: own,
        command: ['ip', 'netns', 'exec', namespace, ...host.command],
        pull: () => must('link', 'set', link, 'down'),
        plug: () => must('link', 'set', link, 'up'),
      };
    },
  };
}

/** @returns what went wrong, or null */
function ip(...args: readonly string[]): string | null {
  const { status, stderr, error } = spawnSync('ip', args, { encoding: 'utf8' });
  return status === 0 ? null : (error?.message ?? stderr.trim());
}

function must(...args: readonly string[]): void {
  const failure = ip(...args);
  if (failure !== null) throw new Error(`ip ${args.join(' ')}: ${failure}`);
}
