/**
 * The `swarm` command: argv → command → exit code. Commands are imported when they are asked for, so that
 * a master carries only what it runs.
 */
import { readFileSync } from 'node:fs';
import { logicalCwd } from './app-path.js';
import { type CommandLine, isCompletionRequest, parseCommandLine } from './command-line.js';
import type { RegistryCommandOptions } from './commands/registry-options.js';
import { type Screen, terminalScreen } from './commands/screen.js';
import { type LoadConfigInput, loadConfig, loadConfigWithoutApp, loadSharedOptions } from './config.js';
import { escapeControls } from './controls.js';
import { EXIT, SwarmError } from './errors.js';
import { helpText } from './help.js';
import { mindLostTerminals } from './lost-terminal.js';
import { OPTION_NAMES, optionRow } from './options.js';
import { maskSecrets } from './secrets.js';

const LAST_OUTPUT_MS = 1_000;

async function main(args: readonly string[]): Promise<number> {
  if (isCompletionRequest(args)) {
    await (await import('./completion.js')).printCompletions(args);
    return EXIT.ok;
  }
  const line = parseCommandLine(args);
  if (line.version) return print(version());
  if (line.help) return print(helpText(line.named ? line.command : null));
  return dispatch(line);
}

async function dispatch(line: CommandLine): Promise<number> {
  const json = line.switches.has('json');
  const screen = terminalScreen(line.switches.has('wide'));
  switch (line.command) {
    case 'run': {
      const { config } = await loadConfig(input(line));
      isMaster = true;
      return (await import('./commands/run.js')).run(config);
    }
    case 'config': {
      const { of } = line.values;
      if (of !== undefined) return await runningConfig(line, of, screen);
      const loaded = await loadConfigWithoutApp(input(line));
      return (await import('./commands/config.js')).config(loaded, json);
    }
    case 'init':
      return (await import('./commands/init.js')).init(await loadConfigWithoutApp(portable(input(line))), {
        platform: line.word ?? '',
        app: line.app,
        flags: line.flags,
        appArguments: line.appArguments,
        cwd: logicalCwd(process.cwd(), process.env),
        version: version(),
        name: line.values['name'],
        user: line.values['user'],
        write: writeRequest(line),
      });
    case 'ps':
      if (line.switches.has('by-job')) {
        return (await import('./commands/ps-by-job.js')).psByJob(await registryOptions(line), screen);
      }
      return (await import('./commands/ps.js')).ps(await registryOptions(line), screen);
    case 'top':
      return (await import('./commands/top.js')).top(await registryOptions(line));
    case 'jobs':
      if (line.switches.has('slow')) {
        return (await import('./commands/slow-jobs.js')).slowJobs(await registryOptions(line), screen);
      }
      return (await import('./commands/jobs.js')).jobs(await registryOptions(line), screen);
    case 'queues':
      return (await import('./commands/queues.js')).queues(await registryOptions(line), screen);
    case 'limits': {
      const { limits } = await import('./commands/limits.js');
      const { parseLimit } = await import('./commands/deaths.js');
      return limits({ ...(await registryOptions(line)), limit: parseLimit(line.values['limit']) }, screen);
    }
    case 'deaths': {
      const { deaths, parseLimit } = await import('./commands/deaths.js');
      const query = {
        limit: parseLimit(line.values['limit']),
        all: line.switches.has('all'),
        of: line.words[0],
      };
      return deaths({ ...(await registryOptions(line)), ...query }, screen);
    }
    case 'doctor': {
      const { doctor, parseConnections } = await import('./commands/doctor.js');
      const [dbMax, dbPool] = (['db-max', 'db-pool'] as const).map((flag) =>
        parseConnections(flag, line.values[flag]),
      );
      const { config } = await loadConfigWithoutApp(input(line));
      const watch = line.switches.has('watch');
      return doctor({ config, env: process.env, json, watch, dbMax: dbMax ?? null, dbPool: dbPool ?? null });
    }
    case 'dump': {
      const { dump } = await import('./commands/dump.js');
      return dump(line.words, await registryOptions(line));
    }
    case 'dumps': {
      const { dumps } = await import('./commands/dump.js');
      const { parseLimit } = await import('./commands/deaths.js');
      const query = { limit: parseLimit(line.values['limit']), of: line.words[0] };
      return dumps({ ...(await registryOptions(line)), ...query }, screen);
    }
    case 'profile':
    case 'heap': {
      const { capture, parseProfileTime } = await import('./commands/capture.js');
      const [target = ''] = line.words;
      const command =
        line.command === 'profile'
          ? ({ type: 'profile', target, forMs: parseProfileTime(line.values['for']) } as const)
          : ({ type: 'heap', target, force: line.switches.has('force') } as const);
      return capture(command, await registryOptions(line));
    }
    case 'quiet':
    case 'resume':
    case 'stop':
    case 'roll':
    case 'recycle':
    case 'scale': {
      const { control } = await import('./commands/control.js');
      return control(line.command, line.words, await registryOptions(line));
    }
    case 'redis': {
      const action = (line.word ?? 'url') as 'url' | 'cli' | 'stop';
      const { redisCommand } = await import('./commands/redis.js');
      return redisCommand({ action, force: line.switches.has('force'), ...(await registryOptions(line)) });
    }
    case 'completion':
      (await import('./completion.js')).printCompletionScript();
      return EXIT.ok;
  }
}

function input({ flags, app, appHint, appArguments }: CommandLine): LoadConfigInput {
  const { env } = process;
  const cwd = logicalCwd(process.cwd(), env);
  return { argv: flags, app, appHint, appArguments, env, cwd, isTty: process.stdout.isTTY === true };
}

/** What this shell happens to have set is not set where the service will run. */
function portable(given: LoadConfigInput): LoadConfigInput {
  const own = new Set(['SWARM_APP', ...OPTION_NAMES.flatMap((name) => optionRow(name).env)]);
  const env = Object.fromEntries(Object.entries(given.env).filter(([name]) => !own.has(name)));
  return { ...given, env };
}

function writeRequest({
  values,
  switches,
}: CommandLine): { path: string | undefined; force: boolean } | null {
  const path = values['output'];
  if (path === undefined && !switches.has('write')) return null;
  return { path, force: switches.has('force') };
}

async function runningConfig(line: CommandLine, of: string, screen: Screen): Promise<number> {
  const { masterConfig, refuseWithMaster } = await import('./commands/master-config.js');
  refuseWithMaster(line);
  return masterConfig(of, await registryOptions(line), screen);
}

async function registryOptions(line: CommandLine): Promise<RegistryCommandOptions> {
  const shared = await loadSharedOptions(input(line), ['redis', 'redisTlsNoVerify', 'namespace']);
  return { ...shared, json: line.switches.has('json') };
}

function version(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

function print(text: string): number {
  process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
  return EXIT.ok;
}

/** One line; the stack only for who debugs, and for errors that are swarm's own fault. */
function report(error: unknown, args: readonly string[]): number {
  const known = error instanceof SwarmError;
  const code = known ? error.code : 'SWARM_INTERNAL';
  const message = error instanceof Error ? error.message : String(error);
  // names from a registry, a server's answer and an app's own words may be in it
  const plain = (line: string): string => escapeControls(line, 'strip');
  const say = (text: string): void =>
    void process.stderr.write(`${maskSecrets(text).split(/\r?\n/).map(plain).join('\n')}\n`);
  say(`swarm: ${code}: ${message}`);
  if (error instanceof Error && (!known || debugging(args))) {
    say(`${error.stack}`);
    if (error.cause instanceof Error) say(`caused by ${error.cause.stack}`);
  }
  return known ? error.exitCode : EXIT.appFailed;
}

/** Read off the arguments themselves: the error may be that they cannot be parsed. */
function debugging(args: readonly string[]): boolean {
  const flag = args.findLastIndex((arg) => arg === '--log-level' || arg.startsWith('--log-level='));
  if (flag < 0) return process.env.SWARM_LOG_LEVEL === 'debug';
  return args[flag] === '--log-level=debug' || args[flag + 1] === 'debug';
}

/** Ends the process once what was printed is out. A master does not wait for a reader that reads no more. */
function leave(code: number): void {
  process.exitCode = code;
  if (isMaster) setTimeout(() => process.exit(), LAST_OUTPUT_MS);
  // what could not be written is heard of a turn later
  process.stdout.write('', () => process.stderr.write('', () => setImmediate(() => process.exit())));
}

mindLostTerminals();

/** A command is there for what it prints. A master is not: its log has ways of its own. */
function unprinted(error: NodeJS.ErrnoException): void {
  if (isMaster) return;
  // a reader that is gone (`swarm ps | head -1`) has what it wanted, and is told as little as by other programs
  if (error.code === 'EPIPE') process.exit(EXIT.unread);
  process.stderr.write(
    `swarm: SWARM_UNWRITTEN: stdout cannot be written (${error.message}): make room there\n`,
  );
  process.exit(EXIT.unwritten);
}

process.stdout.on('error', unprinted);
process.stderr.on('error', () => {});

let isMaster = false;
const args = process.argv.slice(2);
leave(await main(args).catch((error: unknown) => report(error, args)));
