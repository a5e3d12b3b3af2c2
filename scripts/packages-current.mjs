/**
 * Tells whether node_modules is what package-lock.json asks for, on this platform: exit 0, or exit 1 and
 * the reason on stdout. It compares with the lock file that npm itself leaves inside node_modules, so that
 * packages installed by hand with `npm install` count as well as those of `npm ci`.
 */
import { existsSync, readFileSync } from 'node:fs';

const INSTALLED = 'node_modules/.package-lock.json';

/** @returns {string | null} why not, or null */
function outdated() {
  if (!existsSync(INSTALLED)) return 'no packages yet';
  const wanted = packagesOf('package-lock.json');
  const installed = packagesOf(INSTALLED);
  for (const [path, entry] of Object.entries(wanted)) {
    // The rest are the workspaces themselves, which are in the tree anyway.
    if (!path.includes('node_modules/')) continue;
    const found = installed[path];
    if (found === undefined && (entry.optional || !fitsPlatform(entry))) continue;
    if (!existsSync(path)) return `${path} is missing`;
    if (entry.link) continue;
    if (found?.version !== entry.version || found?.integrity !== entry.integrity) {
      return `${path} should be ${entry.version}, is ${found?.version ?? 'of an unknown version'}`;
    }
  }
  for (const [path, entry] of Object.entries(installed)) {
    if (wanted[path] === undefined) return `${path} is no longer wanted`;
    if (!fitsPlatform(entry))
      return `${path} is for another platform than ${process.platform}-${process.arch}`;
  }
  return null;
}

function packagesOf(file) {
  return JSON.parse(readFileSync(file, 'utf8')).packages ?? {};
}

function fitsPlatform(entry) {
  return (
    (entry.os === undefined || entry.os.includes(process.platform)) &&
    (entry.cpu === undefined || entry.cpu.includes(process.arch))
  );
}

const reason = outdated();
if (reason !== null) {
  console.log(reason);
  process.exitCode = 1;
}
