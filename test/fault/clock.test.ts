/**
 * Fault 29: the wall clock jumps by an hour, in the master or in its children. libfaketime stands between these
 * processes and the kernel's clock, because the machine's own belongs to others too. It leaves the monotonic
 * clock alone, as does whoever sets a clock.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { completed } from '../support/jobs.js';
import { temporaryDirectory } from '../support/programs.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { Trial } from '../support/trial.js';

/** Some beats and ticks, which is how long it takes until somebody would act on it. */
const WRONG_MS = 4_000;
const LIBRARY = findLibrary();

const HOURS: Record<string, number> = { '+1h': 1, '-1h': -1, '+0': 0 };

type Who = 'master' | 'children';

describe('the wall clock', {
  concurrency: 2,
  skip: LIBRARY === null && 'libfaketime is not to be had here (apt-get install faketime)',
}, () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  for (const who of ['master', 'children'] as const) {
    it(`jumps in the ${who}: forth, and back, and nobody is killed for it`, async (t) => {
      const trial = new Trial(t, redis);
      const clocks = await openClocks(t);
      const swarm = trial.start(null, {
        args: ['--config', clocks.config, '--max-age', '30m', '--boot-timeout', '10m'],
        env: clocks.env,
      });
      const pids = await swarm.ready(2);
      for (const [at, offset] of ['+1h', '-1h', '+0'].entries()) {
        await clocks.set(who, offset);
        const ids = await trial.addMany(4, { ms: 500 });
        const { atMs: masterMs } = await trial.runs(ids[0] as string);
        await completed(trial.queue, 4 * (at + 1));
        const childMs = (await trial.queue.getJob(ids[0] as string))?.processedOn ?? 0;
        assert.equal(
          hoursFrom(who === 'master' ? masterMs : childMs),
          HOURS[offset],
          'its clock did not jump',
        );
        assert.equal(hoursFrom(who === 'master' ? childMs : masterMs), 0, 'the other clock jumped too');
        await delay(WRONG_MS);
      }
      await trial.nothingLost(new Map([[swarm, 2]]));
      assert.deepEqual([...swarm.children.values()].sort(), [...pids].sort());
      assert.deepEqual(swarm.all('kill'), []);
    });
  }
});

interface Clocks {
  /** A config file: the children have another clock than the master. */
  config: string;
  /** Of the master. */
  env: Record<string, string>;
  set(who: Who, offset: string): Promise<void>;
}

async function openClocks(t: TestContext): Promise<Clocks> {
  const directory = await temporaryDirectory(t);
  const fileOf = (who: Who): string => join(directory, who);
  const set = (who: Who, offset: string): Promise<void> => writeFile(fileOf(who), `${offset}\n`);
  await set('master', '+0');
  await set('children', '+0');
  const config = join(directory, 'swarm.config.json');
  const env = { FAKETIME_TIMESTAMP_FILE: fileOf('children') };
  await writeFile(config, JSON.stringify({ groups: { all: { count: 2, env } } }));
  return {
    config,
    set,
    env: {
      LD_PRELOAD: LIBRARY ?? '',
      FAKETIME_TIMESTAMP_FILE: fileOf('master'),
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      DONT_FAKE_MONOTONIC: '1',
    },
  };
}

function hoursFrom(epochMs: number): number {
  return Math.round((epochMs - Date.now()) / 3_600_000) + 0;
}

/** Debian has it in a directory that carries the architecture's name. */
function findLibrary(): string | null {
  try {
    const found = readdirSync('/usr/lib', { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && entry.name.includes('-linux-'))
      .map(({ name }) => join('/usr/lib', name, 'faketime', 'libfaketimeMT.so.1'));
    return found.find((file) => existsSync(file)) ?? null;
  } catch {
    return null;
  }
}
