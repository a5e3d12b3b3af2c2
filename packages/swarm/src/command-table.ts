/** Every command of swarm, one row a command: the command line, `--help` and completion come from here. */
import { OPTION_NAMES, type OptionName } from './options.js';

export interface CommandRow {
  /** What follows the command's name. */
  readonly usage: string;
  readonly describe: string;
  readonly options: readonly OptionName[];
  /** Switches of this command alone, which have no variable and no key in a file; name → description. */
  readonly switches: Readonly<Record<string, string>>;
  /** Flags with a value of this command alone; name → placeholder and description. */
  readonly values: Readonly<Record<string, readonly [placeholder: string, describe: string]>>;
  /** Takes the app, and arguments for it after `--`. */
  readonly takesApp: boolean;
  /** The words that the command takes, at most one of them; empty: none. */
  readonly words: readonly string[];
  /** Names of the free words that it takes, each of them required unless it ends with `?`. */
  readonly takes: readonly string[];
  /** What comes after `--` is for the app. */
  readonly takesAppArguments?: true;
  /** Command line → what it does. */
  readonly examples: readonly (readonly [string, string])[];
}

const REGISTRY_OPTIONS = ['redis', 'redisTlsNoVerify', 'namespace', 'config', 'logLevel'] as const;
const JSON_SWITCH = { json: 'one JSON document on stdout, and nothing else' };
const TABLE_SWITCHES = { ...JSON_SWITCH, wide: 'nothing is cut to the width of the terminal' };

const base = { usage: '', options: [], switches: {}, values: {}, takesApp: false, words: [], takes: [] };

const control = {
  ...base,
  usage: '<target> [options]',
  options: REGISTRY_OPTIONS,
  switches: JSON_SWITCH,
  takes: ['target'],
} as const;

export const COMMANDS = {
  run: {
    ...base,
    usage: '[app] [options] [-- app arguments]',
    describe: 'run an app in several processes (the default)',
    options: OPTION_NAMES,
    takesApp: true,
    examples: [
      ['swarm --count 4', '4 children of ./worker.js'],
      ['swarm jobs/mail.js -c 20', '20 jobs at once in each child'],
      ['swarm app.js -q critical -q low', 'only these queues of the app'],
      ['swarm app.js --redis redis://db:6379', 'registry and queues there'],
      ['swarm app.js -- --region eu', 'arguments for the app'],
    ],
  },
  ps: {
    ...base,
    usage: '[options]',
    describe: 'every process of the namespace, on all hosts',
    options: REGISTRY_OPTIONS,
    switches: { ...TABLE_SWITCHES, 'by-job': 'which jobs leave memory behind, by name' },
    examples: [
      ['swarm ps', 'a table of masters and their children'],
      ['swarm ps --json | jq ".[].children[].pid"', 'for scripts'],
      ['swarm ps --by-job', 'which job bloats my processes?'],
    ],
  },
  top: {
    ...base,
    usage: '[options]',
    describe: 'swarm ps, live: sorted, with curves of memory and loop lag',
    options: REGISTRY_OPTIONS,
    examples: [
      ['swarm top', 'arrows select and sort, d dumps, q leaves, ? helps'],
      ['NO_COLOR=1 swarm top', 'without colours'],
    ],
  },
  jobs: {
    ...base,
    usage: '[options]',
    describe: 'the jobs that run now, and in which child',
    options: REGISTRY_OPTIONS,
    switches: { ...TABLE_SWITCHES, slow: 'as multiples of what each usually takes, the largest first' },
    examples: [
      ['swarm jobs', 'a table, the oldest first'],
      ['swarm jobs --slow', 'which of them take unusually long?'],
      ['swarm jobs --json', 'for scripts'],
    ],
  },
  queues: {
    ...base,
    usage: '[options]',
    describe: 'what waits in each queue, for how long, and its share',
    options: REGISTRY_OPTIONS,
    switches: TABLE_SWITCHES,
    examples: [
      ['swarm queues', 'a table of all queues that children work for'],
      ['swarm queues --json', 'for scripts'],
    ],
  },
  limits: {
    ...base,
    usage: '[options]',
    describe: 'limiters used of late: who holds, who waits, how long',
    options: REGISTRY_OPTIONS,
    switches: TABLE_SWITCHES,
    values: { limit: ['N', 'at most so many, the last used first (default: 1000)'] },
    examples: [
      ['swarm limits', 'a table, the last used first'],
      ['swarm limits --json', 'for scripts'],
    ],
  },
  deaths: {
    ...base,
    usage: '[identity|pid] [options]',
    describe: 'how processes ended, and why; with one named, all of it',
    options: REGISTRY_OPTIONS,
    switches: { ...TABLE_SWITCHES, all: 'those too that left as told, at a stop, a roll or a recycle' },
    values: { limit: ['N', 'at most so many (default: 50)'] },
    takes: ['death?'],
    examples: [
      ['swarm deaths', 'a table, the newest first'],
      ['swarm deaths 4711', 'stack, stderr, memory, jobs of this one'],
      ['swarm deaths --json --limit 1', 'the last one, for scripts'],
    ],
  },
  dump: {
    ...control,
    describe: 'take the stacks of a child, blocked or not, and print them',
    examples: [
      ['swarm dump 4711', 'what does the child with this pid do?'],
      ['swarm dump 2', 'slot 2, where only one master runs'],
      ['swarm dump all --json', 'every child, for scripts'],
    ],
  },
  dumps: {
    ...base,
    usage: '[identity|pid] [options]',
    describe: 'stacks that were taken, of blocked children above all; with one named, all of it',
    options: REGISTRY_OPTIONS,
    switches: TABLE_SWITCHES,
    values: { limit: ['N', 'at most so many (default: 50)'] },
    takes: ['child?'],
    examples: [
      ['swarm dumps', 'a table, the newest first'],
      ['swarm dumps 4711', 'all of this child: stacks, jobs, I/O'],
      ['swarm dumps --json --limit 1', 'the last one, for scripts'],
    ],
  },
  quiet: {
    ...control,
    describe: 'take no new jobs; those that run go on',
    examples: [
      ['swarm quiet all', 'every master of the namespace'],
      ['swarm quiet web1', 'the master on host web1'],
      ['swarm quiet 4711', 'the master or child with this pid'],
      ['swarm quiet web1:4711', 'by the beginning of its identity'],
      ['swarm quiet 2', 'slot 2, where only one master runs'],
    ],
  },
  resume: {
    ...control,
    describe: 'take jobs again after quiet',
    examples: [
      ['swarm resume all', 'every master of the namespace'],
      ['swarm resume 4711', 'as in swarm quiet 4711'],
    ],
  },
  stop: {
    ...control,
    describe: 'drain and leave: a master, or one child for good',
    examples: [
      ['swarm stop web1', 'the master on host web1'],
      ['swarm stop 4711', 'this child; its slot goes with it'],
    ],
  },
  roll: {
    ...control,
    usage: '[master] [options]',
    describe: 'replace every child by a new generation, one by one',
    takes: ['master?'],
    examples: [
      ['swarm roll', 'all masters, one after the other'],
      ['swarm roll web1', 'the master on host web1'],
    ],
  },
  recycle: {
    ...control,
    usage: '<child> [options]',
    describe: 'replace one child; the new one is ready before',
    takes: ['child'],
    examples: [
      ['swarm recycle 4711', 'the child with this pid'],
      ['swarm recycle 2', 'slot 2, where only one master runs'],
    ],
  },
  scale: {
    ...control,
    usage: '<master> <n> [options]',
    describe: 'change the number of children at run time',
    takes: ['master', 'n'],
    examples: [
      ['swarm scale web1 8', 'until the master ends'],
      ['swarm scale web1 mail=4', 'of one group'],
    ],
  },
  doctor: {
    ...base,
    usage: '[app] [options]',
    describe: 'what commonly goes wrong: checks, each with what to do',
    options: OPTION_NAMES,
    switches: { ...JSON_SWITCH, watch: 'again every 10 s, until it is interrupted' },
    values: {
      'db-max': ['N', "connections that the app's database allows"],
      'db-pool': ['N', 'connections in the pool of one child (default: one a job)'],
    },
    takesApp: true,
    examples: [
      ['swarm doctor', 'Redis, queues, fleet, machine, app'],
      ['swarm doctor --db-max 100 --db-pool 5', 'and the pools of the children'],
      ['swarm doctor --json | jq ".[] | select(.status != "ok")"', 'for scripts; exit 1 on a fail'],
      ['swarm doctor --watch', 'while you mend it'],
    ],
  },
  profile: {
    ...control,
    usage: '<child> [options]',
    describe: 'a CPU profile of a running child, to a file on its host',
    values: { for: ['D', 'for so long, 100ms to 5m (default: 10s)'] },
    takes: ['child'],
    examples: [
      ['swarm profile 4711 --for 10s', 'what does this child compute?'],
      ['file=$(swarm profile 2)', 'slot 2; stdout is the path alone'],
    ],
  },
  heap: {
    ...control,
    usage: '<child> [options]',
    describe: "a snapshot of a running child's heap, to a file on its host",
    switches: { ...JSON_SWITCH, force: 'also of a heap above 64MB: it may stop the child for a minute' },
    takes: ['child'],
    examples: [
      ['swarm heap 4711', 'what does this child hold? Stops it for seconds'],
      ['swarm heap 4711 --force', 'however large it is'],
    ],
  },
  redis: {
    ...base,
    usage: '[cli|stop] [options]',
    describe: 'the embedded Redis: its URL; a client; stop it',
    options: REGISTRY_OPTIONS,
    switches: { ...JSON_SWITCH, force: 'stop it although masters use it; they leave it stopped' },
    words: ['cli', 'stop'],
    examples: [
      ['REDIS_URL=$(swarm redis) node add-jobs.js', 'a producer on the same Redis'],
      ['swarm redis cli', 'redis-cli, connected'],
      ['swarm redis stop', 'stop the server; its data stays'],
    ],
  },
  config: {
    ...base,
    usage: '[app] [options]',
    describe: 'what a master started here would have, or what a running one has',
    options: OPTION_NAMES,
    switches: JSON_SWITCH,
    values: { of: ['MASTER', 'what this running master has: an identity, a pid or a host'] },
    takesApp: true,
    examples: [
      ['swarm config', 'as a table'],
      ['swarm config --count 8 --json', 'with these flags'],
      ['swarm config --of 4711', 'what the master with this pid runs with'],
    ],
  },
  init: {
    ...base,
    usage: '<platform> [app] [options] [-- app arguments]',
    describe: 'a file for systemd, upstart, heroku, docker or kubernetes',
    options: OPTION_NAMES,
    switches: {
      write: 'to the file where the platform looks for it, not to stdout',
      force: 'overwrite the file if it is there',
    },
    values: {
      output: ['F', 'to this file'],
      name: ['NAME', "of the service (default: name of the app's package)"],
      user: ['U', "that the service runs as (default: who owns the app's directory)"],
    },
    words: ['systemd', 'upstart', 'heroku', 'docker', 'kubernetes'],
    takes: ['platform', 'app?'],
    takesAppArguments: true,
    examples: [
      ['swarm init systemd --count 4 ./worker.js', 'prints a unit'],
      ['swarm init systemd --max-memory 400MB --write', 'writes it, with a MemoryMax that fits'],
      ['swarm init heroku --write', 'writes a Procfile'],
      ['swarm init kubernetes --output k8s.yaml', 'writes there'],
    ],
  },
  completion: {
    ...base,
    describe: 'a script that completes swarm commands in your shell',
    examples: [['swarm completion >> ~/.bashrc', 'or ~/.zshrc']],
  },
} as const satisfies Record<string, CommandRow>;

export type CommandName = keyof typeof COMMANDS;

export const COMMAND_NAMES = Object.keys(COMMANDS) as CommandName[];

export function commandRow(name: CommandName): CommandRow {
  return COMMANDS[name];
}

export function isCommand(word: string | undefined): word is CommandName {
  return word !== undefined && Object.hasOwn(COMMANDS, word);
}
