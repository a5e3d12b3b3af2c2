/**
 * Which test files a run takes. The quick tier is for every day: nearly all unit tests, and of the tests with real
 * processes one of each kind. In the files named here a test says itself whether it belongs to it: `it` does,
 * `fullIt` does not (test/support/tier.ts).
 */

/** Of the tests with real processes, the files that the quick tier has tests of. */
const QUICK_PROCESS_FILES = [
  'fault/boot',
  'fault/kill',
  'fault/master-killed',
  'fault/oom-kill',
  'fault/redis-gone',
  'fault/stop',
  'fault/stuck',
  'process/bad-input',
  'process/programs',
  'process/registry',
  'process/swarm-app',
];

/** Unit tests that take longest, with real Redis fleets, CLI processes or thousands of random cases. */
const SLOW_UNIT_FILES = [
  'bullmq-features',
  'cli',
  'commands',
  'config-file',
  'doctor-redis',
  'limiter-cluster',
  'limiter-properties',
  'multi-consumer',
  'platform-files',
  'redis-checks',
];

/** `long` only if it is asked for; all of it where nobody waits, or for files that are named. */
export function chooseTier({ asked, isCi, namesFiles }) {
  if (asked) return asked;
  return isCi || namesFiles ? 'full' : 'quick';
}

/** The files of a tier, in the order in which to start them. */
export function filesOf(tier, all) {
  const files = tier === 'quick' ? all.filter(isQuick) : all;
  if (tier === 'quick') assertNamesExist(all);
  // those that start processes take longest: none of them is to be what the end waits for
  return [...files.filter(isProcessFile), ...files.filter((file) => !isProcessFile(file))];
}

function isQuick(file) {
  const named = (names) => names.some((name) => file.endsWith(`/${name}.test.js`));
  return isProcessFile(file) ? named(QUICK_PROCESS_FILES) : !named(SLOW_UNIT_FILES);
}

function isProcessFile(file) {
  return file.startsWith('test/');
}

/** A file that is renamed must not leave the tier unseen. */
function assertNamesExist(all) {
  for (const name of [...QUICK_PROCESS_FILES, ...SLOW_UNIT_FILES]) {
    if (!all.some((file) => file.endsWith(`/${name}.test.js`)))
      throw new Error(`scripts/tiers.mjs names ${name}.test.ts, and there is no such file`);
  }
}
