/**
 * Holds the direction of imports in packages/swarm/src: `node scripts/check-imports.mjs [root]`. What the
 * tables below do not allow is an error, and so is a file that belongs to no part.
 *
 * A lint rule would see only the text of one import. Here two promises hold over any number of steps
 * (what a child loads at start, what the master never loads), so the whole graph is read. The sources are
 * searched by pattern rather than parsed: formatted ESM has few forms, and no dependency is needed.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';

const root = process.argv[2] ?? join(import.meta.dirname, '..');
const sourceRoot = join(root, 'packages/swarm/src');

/** Files at the top of src that make up a part. Each folder is a part of its own name. */
const PART_OF_FILE = [
  [
    /^(active-job|errors|protocol|death|units|suggest|identity|log|output-sink|child-options|statm|secrets|controls|watchdog-protocol|line-reader|dump|duration-sketch)\.ts$/,
    'shared',
  ],
  [/^(config|config-.*|options?|option-.*|app-path)\.ts$/, 'config'],
  [/^(app|app-check|index)\.ts$/, 'api'],
  [/^swarm(-options)?\.ts$/, 'embed'],
  [/^(cli|command-line|command-table|completion|help|lost-terminal)\.ts$/, 'cli'],
  [/^master\.ts$/, 'master'],
];

/**
 * What each part may import besides itself: parts, or single files. After `types:`, only by `import type`.
 * cli → commands → master → what does the work; child → what runs jobs; neither ever the other way.
 */
const MAY_IMPORT = {
  shared: ['types:config'],
  config: ['shared', 'process/cpus.ts', 'redis/url.ts'],
  supervisor: ['types:shared'],
  process: ['shared', 'types:config', 'types:supervisor'],
  redis: ['shared', 'process'],
  registry: ['shared', 'redis', 'limiter/status.ts', 'process/proc.ts', 'types:config'],
  limiter: ['shared', 'redis', 'child/bullmq.ts', 'types:fetch', 'types:api'],
  fetch: ['shared', 'limiter', 'redis/ioredis.ts', 'types:api', 'types:child'],
  recovery: ['shared', 'limiter', 'child/bullmq.ts', 'types:child', 'types:registry'],
  child: [
    'shared',
    'fetch',
    'limiter',
    'recovery',
    'redis',
    'process/proc.ts',
    'process/native-side.ts',
    'types:api',
    'types:config',
  ],
  api: ['shared', 'child/app-registration.ts', 'embed', 'types:registry', 'types:fetch'],
  embed: ['shared', 'config', 'master', 'types:registry'],
  platform: ['shared', 'config', 'types:supervisor', 'types:registry', 'types:master'],
  http: ['shared', 'limiter/status.ts', 'registry', 'types:supervisor', 'types:master'],
  master: [
    'shared',
    'supervisor',
    'process',
    'registry',
    'redis',
    'recovery',
    'platform',
    'http',
    'config-dyno.ts',
    'types:config',
  ],
  doctor: ['shared', 'process', 'registry', 'redis', 'types:config'],
  commands: [
    'shared',
    'config',
    'master',
    'doctor',
    'process',
    'registry',
    'redis',
    'platform',
    'limiter/allows.ts',
    'types:limiter',
  ],
  cli: ['shared', 'config', 'commands'],
};

/** Nothing from outside src, `node:` included: they read no clock, no environment and no randomness. */
const PURE = ['supervisor'];

/** What is never reached from these files, over any number of imports; `lazily`: nor over `import()`. */
const NEVER_LOADS = [
  {
    from: /^child\/(preload|runtime|watchdog-thread)\.ts$/,
    target: /^ioredis(\/|$)/,
    lazily: false,
    why: 'an unmodified program brings its own, or none',
  },
  {
    from: /^child\//,
    target:
      /^(winston|yargs|yargs-parser|zod|pidusage)(\/|$)|^(commands|doctor|http|master|platform|registry|supervisor)\//,
    lazily: true,
    why: 'every child would pay for it',
  },
  {
    from: /^child\/(preload|runtime)\.ts$/,
    target: /^child\/(captures|dump-taker|main-inspector|source-maps)\.ts$/,
    lazily: false,
    why: 'most children never need it',
  },
  {
    from: /^child\/watchdog-thread\.ts$/,
    target: /^(fetch|limiter|recovery|redis)\/|^(child\/(runtime|workers)|protocol)\.ts$/,
    lazily: true,
    why: 'the thread is one more heap in every child',
  },
  {
    from: /^(cli|command-line)\.ts$/,
    target:
      /^(yargs|ioredis|winston|pidusage|zod)(\/|$)|^(master\.ts|(commands|doctor|http|master|registry)\/(?!screen\.ts|registry-options\.ts))/,
    lazily: false,
    why: 'a command loads what it is about, and `--version` nothing',
  },
  {
    from: /^commands\/(?!run\.ts)[^/]+\.ts$|^registry\//,
    target: /^(winston|pidusage)(\/|$)|^master\.ts$/,
    lazily: false,
    why: 'only a master has a log and children',
  },
  {
    from: /^index\.ts$/,
    target: /^(ioredis|winston|yargs|pidusage)(\/|$)|^(master|config|options)(\.ts|\/)/,
    lazily: false,
    why: 'apps import it in every child',
  },
  {
    from: /^(cli|master)\.ts$/,
    target: /^bullmq5?(\/|$)|^(child|fetch)\//,
    lazily: true,
    why: 'user code and BullMQ run in children alone, so that nothing of theirs takes the master down',
  },
];

const COMMON_JS = /^(bullmq|ioredis|pidusage|winston)(\/|$)/;

const problems = [];
const graph = readGraph();

for (const [file, imports] of graph) {
  const part = partOf(file);
  if (MAY_IMPORT[part] === undefined) {
    problems.push(`${file}: belongs to no part: add it to the tables of scripts/check-imports.mjs`);
    continue;
  }
  for (const { specifier, target, kind } of imports) {
    if (!isSource(target)) {
      if (PURE.includes(part))
        problems.push(`${file}: imports '${specifier}': ${part} is pure, pass the value in`);
    } else if (partOf(target) !== part) {
      checkImport({ file, part, specifier, target, kind });
    }
  }
}

for (const { from, target, lazily, why } of NEVER_LOADS) {
  for (const file of [...graph.keys()].filter((name) => from.test(name))) {
    const path = pathTo(file, target, lazily);
    if (path !== null) problems.push(`${path.join(' → ')}: must not be loaded from ${file}: ${why}`);
  }
}

checkCommonJs();
checkDashboard();

for (const problem of new Set(problems)) console.error(problem);
if (problems.length > 0) process.exitCode = 1;
else console.log(`${graph.size} files`);

function checkImport({ file, part, specifier, target, kind }) {
  const to = partOf(target);
  const allowed = MAY_IMPORT[part];
  if (allowed.includes(to) || allowed.includes(target)) return;
  if (!allowed.includes(`types:${to}`)) {
    problems.push(`${file}: imports '${specifier}': ${part} may not import from ${to}`);
  } else if (kind !== 'type') {
    problems.push(`${file}: imports '${specifier}' as a value: ${part} takes only types from ${to}`);
  }
}

/** @returns the shortest chain of imports from `start` to what `forbidden` matches, or null */
function pathTo(start, forbidden, lazily) {
  const paths = [[start]];
  const seen = new Set([start]);
  for (const path of paths) {
    for (const { target, kind } of graph.get(path.at(-1)) ?? []) {
      if (kind === 'type' || (kind === 'lazy' && !lazily) || seen.has(target)) continue;
      if (forbidden.test(target)) return [...path, target];
      seen.add(target);
      paths.push([...path, target]);
    }
  }
  return null;
}

/** An `import` of such a package reads it twice, see redis/ioredis.ts. */
function checkCommonJs() {
  for (const [file, imports] of graph) {
    for (const { target, kind, isImport } of imports) {
      if (kind !== 'type' && isImport && COMMON_JS.test(target))
        problems.push(`${file}: imports '${target}', which is CommonJS: take it by createRequire()`);
    }
  }
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

/** File → its imports; a target that is no file of src is the specifier itself. */
function readGraph() {
  return new Map(
    sourcesUnder(sourceRoot).map((file) => {
      const imports = importsOf(readFileSync(join(sourceRoot, file), 'utf8'));
      return [file, imports.map((found) => ({ ...found, target: resolveFrom(file, found.specifier) }))];
    }),
  );
}

function resolveFrom(file, specifier) {
  if (!specifier.startsWith('.')) return specifier;
  return posix.join(posix.dirname(file), specifier).replace(/\.js$/, '.ts');
}

function importsOf(text) {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
  const declared = code.matchAll(
    /^\s*(?:import|export)\s+(type\s+)?(?:[\w*{][^'";]*?\sfrom\s+)?['"]([^'"]+)['"]/gm,
  );
  const called = code.matchAll(/(\btypeof\s+)?\b(import|require)\(\s*['"]([^'"]+)['"]\s*\)/g);
  return [
    ...[...declared].map(([, type, specifier]) => {
      return { specifier, kind: type ? 'type' : 'static', isImport: true };
    }),
    ...[...called].map(([, type, how, specifier]) => {
      // a `require` is one of the module's own first lines
      const kind = type ? 'type' : how === 'require' ? 'static' : 'lazy';
      return { specifier, kind, isImport: how === 'import' };
    }),
  ];
}

function sourcesUnder(directory) {
  return readdirSync(directory, { recursive: true })
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))
    .sort();
}

function partOf(file) {
  const top = PART_OF_FILE.find(([pattern]) => pattern.test(file));
  return top?.[1] ?? file.split('/')[0];
}

function isSource(target) {
  return graph.has(target);
}
