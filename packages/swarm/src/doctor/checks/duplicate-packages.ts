/** Which bullmq and ioredis does the app load, and are there others beside them? */
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { defineCheck, listed, NotLookedAt, type Problem, type Verdict, verdictOf } from '../check.js';

export interface PackagesFacts {
  copies: readonly Copy[];
}

export interface Copy {
  name: string;
  version: string;
  /** Its directory. */
  path: string;
}

/** Packages inside packages inside packages: nobody nests deeper, and links may go in circles. */
const MAX_DEPTH = 4;
const MAX_DIRECTORIES = 5_000;

export const duplicatePackages = defineCheck<PackagesFacts>({
  name: 'duplicate-packages',
  section: 'App',
  async gather(exam) {
    const apps = [...new Set((await exam.fleets()).map(({ app }) => app))].filter((app) => existsSync(app));
    if (apps.length === 0) throw new NotLookedAt('no app was named, and none is here');
    const copies = apps.flatMap((app) => copiesFor(dirname(realpathSync(app))));
    if (copies.length === 0) throw new NotLookedAt('the app has no node_modules with bullmq in it');
    return { copies: [...new Map(copies.map((copy) => [copy.path, copy])).values()] };
  },
  judge: judgePackages,
});

/**
 * Every bullmq that code of the app or of its packages may load; of ioredis, which many packages bring for
 * themselves, only those that the app and these bullmqs load.
 */
export function copiesFor(directory: string): Copy[] {
  const bullmqs: Copy[] = [];
  const seen = new Set<string>();
  for (let at = directory; ; at = dirname(at)) {
    collect(join(at, 'node_modules'), 0, seen, bullmqs);
    if (at === dirname(at)) break;
  }
  const users = [directory, ...bullmqs.map(({ path }) => path)];
  const own = nearest(directory, 'bullmq');
  return [...(own ? [own] : []), ...bullmqs, ...users.flatMap((user) => nearest(user, 'ioredis') ?? [])];
}

function collect(modules: string, depth: number, seen: Set<string>, found: Copy[]): void {
  for (const path of packagesIn(modules)) {
    const real = realOf(path);
    if (real === null || seen.has(real) || seen.size > MAX_DIRECTORIES) continue;
    seen.add(real);
    // by its directory: an alias is somebody's intention
    const copy = path === join(modules, 'bullmq') ? copyAt(real, 'bullmq') : null;
    if (copy) found.push(copy);
    if (depth < MAX_DEPTH) collect(join(real, 'node_modules'), depth + 1, seen, found);
  }
}

/** The one that code in this directory gets. */
function nearest(directory: string, name: string): Copy | null {
  for (let at = directory; ; at = dirname(at)) {
    const real = realOf(join(at, 'node_modules', name));
    const copy = real === null ? null : copyAt(real, name);
    if (copy || at === dirname(at)) return copy;
  }
}

function packagesIn(modules: string): string[] {
  return namesIn(modules)
    .filter((name) => !name.startsWith('.'))
    .flatMap((name) => {
      const path = join(modules, name);
      return name.startsWith('@') ? namesIn(path).map((inner) => join(path, inner)) : [path];
    });
}

export function judgePackages({ copies }: PackagesFacts): Verdict {
  const problems = ['bullmq', 'ioredis'].flatMap((name): Problem[] => {
    const versions = [...new Set(copies.filter((copy) => copy.name === name).map(({ version }) => version))];
    if (versions.length < 2) return [];
    const paths = copies
      .filter((copy) => copy.name === name)
      .map(({ path, version }) => `${version} in ${path}`);
    return [
      {
        status: 'warn',
        found: `the app sees ${name} ${listed(versions)}: ${listed(paths, 3)}`,
        cure: `one version for all: npm ls ${name}, npm dedupe, "overrides" in package.json`,
      },
    ];
  });
  const fine = copies.map(({ name, version }) => `${name} ${version}`).join(', ');
  const why =
    'Two versions of bullmq have different scripts and may work on the same queues; Workers of a copy that the app does not load itself cannot be followed; a connection made by one ioredis is not what another expects';
  return verdictOf(problems, fine, why);
}

function copyAt(path: string, name: string): Copy | null {
  try {
    const { version } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8')) as { version?: unknown };
    return typeof version === 'string' ? { name, version, path } : null;
  } catch {
    return null;
  }
}

function realOf(path: string): string | null {
  try {
    return realpathSync(path);
  } catch {
    return null;
  }
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
