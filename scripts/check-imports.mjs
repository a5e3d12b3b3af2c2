/**
 * Holds the direction of imports in packages/swarm/src: `node scripts/check-imports.mjs [root]`. An area is
 * a folder or a file at the top of src. An import that the table below does not name is an error, and so is
 * an area that is not in the table: a new one has to say where it stands.
 *
 * A lint rule would see only the text of one import. Here two promises hold over any number of steps
 * (what a child loads at start, what the master never loads), so the whole graph is read. The sources are
 * searched by pattern rather than parsed: formatted ESM has few forms, and no dependency is needed.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, posix, relative } from 'node:path';

const root = process.argv[2] ?? join(import.meta.dirname, '..');
const sourceRoot = join(root, 'packages/swarm/src');

/** Areas that each may use: all may import from their own. `types:` before a name: only `import type`. */
const MAY_IMPORT = {
  errors: [],
  protocol: ['errors'],
  config: ['errors', 'types:protocol'],
  log: ['errors', 'config'],
  supervisor: ['types:protocol', 'types:errors'],
  process: ['errors', 'protocol', 'config', 'log', 'types:supervisor', 'types:child'],
  redis: ['errors', 'config', 'log'],
  registry: ['errors', 'protocol', 'redis', 'types:config'],
  fetch: ['errors', 'protocol'],
  limiter: ['errors', 'redis'],
  recovery: ['errors', 'protocol'],
  platform: ['errors', 'config'],
  app: ['errors', 'types:limiter'],
  child: ['errors', 'protocol', 'app', 'fetch', 'limiter', 'recovery', 'types:config', 'types:registry'],
  master: ['errors', 'protocol', 'config', 'log', 'supervisor', 'process', 'registry', 'redis', 'platform'],
  settings: ['errors', 'config'],
  commands: ['errors', 'config', 'settings', 'log', 'master', 'registry', 'redis', 'platform', 'protocol'],
  cli: ['errors', 'config', 'settings', 'log', 'commands'],
  index: ['errors', 'app', 'child', 'limiter', 'registry', 'config'],
};

/** Nothing from outside src, `node:` included: the core reads no clock, no environment and no randomness. */
const PURE = ['supervisor'];

/** From these files on, over static imports (`dynamic: true`: over `import()` as well), never these packages. */
const NEVER_LOADS = [
  {
    from: 'child',
    packages: ['winston', 'yargs', 'ioredis'],
    dynamic: false,
    why: 'every child would pay for it',
  },
  { from: 'master', packages: ['bullmq'], dynamic: true, why: 'only children load BullMQ' },
  { from: 'cli', packages: ['bullmq'], dynamic: false, why: 'only children load BullMQ' },
];

const problems = [];
const graph = readGraph();

for (const [file, imports] of graph) {
  const from = areaOf(file);
  const allowed = MAY_IMPORT[from];
  if (allowed === undefined) {
    problems.push(
      `${file}: the area "${from}" is not in the table of scripts/check-imports.mjs: add what it may import`,
    );
    continue;
  }
  for (const { specifier, target, kind } of imports) {
    if (target === null) {
      if (PURE.includes(from))
        problems.push(`${file}: imports '${specifier}', but ${from} is pure: pass the value in`);
      continue;
    }
    const to = areaOf(target);
    if (to === from || allowed.includes(to)) continue;
    if (allowed.includes(`types:${to}`)) {
      if (kind === 'type') continue;
      problems.push(`${file}: imports '${specifier}' as a value: ${from} may take only types from ${to}`);
      continue;
    }
    problems.push(`${file}: imports '${specifier}': ${from} may not import from ${to}`);
  }
}

for (const { from, packages, dynamic, why } of NEVER_LOADS) {
  for (const file of graph.keys()) {
    if (areaOf(file) !== from) continue;
    const path = pathToPackage(file, packages, dynamic);
    if (path !== null) problems.push(`${path.join(' → ')}: ${from} must not load ${path.at(-1)}: ${why}`);
  }
}

checkDashboard();

for (const problem of new Set(problems)) console.error(problem);
if (problems.length > 0) process.exitCode = 1;
else console.log(`${graph.size} files`);

/** @returns the shortest chain of files from `start` to one of the packages, or null */
function pathToPackage(start, packages, dynamic) {
  const paths = [[start]];
  const seen = new Set([start]);
  for (const path of paths) {
    for (const { specifier, target, kind } of graph.get(path.at(-1))) {
      if (kind === 'type' || (kind === 'dynamic' && !dynamic)) continue;
      if (target === null) {
        const name = packages.find((each) => specifier === each || specifier.startsWith(`${each}/`));
        if (name !== undefined) return [...path, name];
      } else if (!seen.has(target) && graph.has(target)) {
        seen.add(target);
        paths.push([...path, target]);
      }
    }
  }
  return null;
}

/** The dashboard is a reader like any other: what it needs is public. */
function checkDashboard() {
  const source = join(root, 'packages/dashboard/src');
  if (!existsSync(source)) return;
  for (const file of sourcesUnder(source)) {
    for (const { specifier } of importsOf(readFileSync(join(source, file), 'utf8'))) {
      const own =
        specifier === 'bullmq-swarm' ||
        specifier.startsWith('bullmq-swarm/') ||
        specifier.includes('packages/swarm');
      if (own && specifier !== 'bullmq-swarm/registry') {
        problems.push(
          `dashboard/${file}: imports '${specifier}': the dashboard uses bullmq-swarm/registry alone`,
        );
      }
    }
  }
}

function readGraph() {
  return new Map(
    sourcesUnder(sourceRoot).map((file) => {
      const imports = importsOf(readFileSync(join(sourceRoot, file), 'utf8')).map((found) => ({
        ...found,
        target: found.specifier.startsWith('.')
          ? posix.join(posix.dirname(file), found.specifier).replace(/\.js$/, '.ts')
          : null,
      }));
      return [file, imports];
    }),
  );
}

function importsOf(text) {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
  const found = [];
  for (const [, type, specifier] of code.matchAll(
    /^\s*(?:import|export)\s+(type\s+)?(?:[\w*{][^'";]*?\sfrom\s+)?['"]([^'"]+)['"]/gm,
  )) {
    found.push({ specifier, kind: type === undefined ? 'static' : 'type' });
  }
  for (const [, specifier] of code.matchAll(/\b(?:import|require)\(\s*['"]([^'"]+)['"]\s*\)/g)) {
    // `typeof import('x')` is erased.
    const erased = new RegExp(`typeof import\\(\\s*['"]${specifier.replace(/[^\w]/g, '\\$&')}`).test(code);
    found.push({ specifier, kind: erased ? 'type' : 'dynamic' });
  }
  return found;
}

function sourcesUnder(directory) {
  return readdirSync(directory, { recursive: true })
    .filter((name) => /\.ts$/.test(name) && !name.endsWith('.d.ts'))
    .map((name) => relative('.', name).replaceAll('\\', '/'))
    .sort();
}

function areaOf(file) {
  return file.split('/')[0].replace(/\.ts$/, '');
}
