/** `swarm top` in a real terminal: what it shows, its keys, another size, and what it leaves behind. */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { runningCommands } from '../support/processes.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { type Swarm, swarmCommand } from '../support/swarm.js';
import { type TerminalOptions, TestTerminal, whyNoTmux } from '../support/tmux.js';
import { Trial } from '../support/trial.js';
import { A_COMMAND_EACH, waitFor } from '../support/wait.js';

const BIN = fileURLToPath(new URL('../../../packages/swarm/bin/swarm.js', import.meta.url));

let redis: TestRedis;
before(async () => {
  redis = await startRedis();
});
after(() => redis.close());

interface Shown {
  trial: Trial;
  swarm: Swarm;
  terminal: TestTerminal;
  words: string[];
}

/** `swarm top` on two children, drawn. */
async function top(t: TestContext, options: TerminalOptions = {}): Promise<Shown> {
  const trial = new Trial(t, redis);
  const swarm = trial.start(2, { app: 'doctor-worker.mjs' });
  await swarm.ready(2);
  const terminal = await TestTerminal.open(t, options);
  const words = [process.execPath, BIN, 'top', '--redis', redis.url, '--namespace', trial.namespace];
  terminal.run(words);
  await terminal.shows('both children', (screen) => /2\/2 up/.test(screen));
  return { trial, swarm, terminal, words };
}

/** Pids in the order of the table; the selected one is marked. */
function pidsIn(screen: string): { pids: number[]; selected: number | undefined } {
  const rows = [...screen.matchAll(/^([> ]) +\d+ \w+ +(\d+) /gm)];
  const selected = rows.find(([, mark]) => mark === '>')?.[2];
  return {
    pids: rows.map(([, , pid]) => Number(pid)),
    selected: selected === undefined ? undefined : Number(selected),
  };
}

describe('swarm top', { concurrency: 3, skip: whyNoTmux() ?? false }, () => {
  it('shows children and their jobs, obeys its keys, and gives the terminal back', async (t) => {
    const { trial, swarm, terminal } = await top(t);
    assert.deepEqual(terminal.modes, { alternate: true, cursor: false });
    const [first = 0, second = 0] = [0, 1].map((slot) => swarm.children.get(slot));
    const lines = terminal.screen.split('\n');
    assert.equal(lines.length, 24);
    assert.ok(lines.every((line) => line.length <= 80));
    assert.match(
      lines[0] ?? '',
      new RegExp(`^swarm top  namespace ${trial.namespace} .* \\d\\d:\\d\\d:\\d\\d$`),
    );

    terminal.press('s');
    await terminal.shows(
      'sorted by slot',
      (screen) => String(pidsIn(screen).pids) === String([first, second]),
    );
    terminal.press('r');
    await terminal.shows(
      'the other way round',
      (screen) => String(pidsIn(screen).pids) === String([second, first]),
    );
    terminal.press('r', 'Home');
    await terminal.shows('the first is selected', (screen) => pidsIn(screen).selected === first);
    terminal.press('Down');
    await terminal.shows('the second is selected', (screen) => pidsIn(screen).selected === second);
    terminal.press('Right');
    await terminal.shows('sorted by state', (screen) => screen.includes('STATE▾'));
    assert.equal(pidsIn(terminal.screen).selected, second);

    const id = await trial.add({ ms: 60_000 });
    const pid = await waitFor(
      'its job is seen',
      async () => {
        const { stdout } = await swarmCommand([
          'jobs',
          '--json',
          '--redis',
          redis.url,
          '--namespace',
          trial.namespace,
        ]);
        return (JSON.parse(stdout) as { id: string; pid: number }[]).find((job) => job.id === id)?.pid;
      },
      A_COMMAND_EACH,
    );
    terminal.press(pid === second ? 'Down' : 'Up');
    await terminal.shows('the job in the footer', (screen) =>
      new RegExp(`runs ${trial.queue.name}/${id} job \\d`).test(screen),
    );
    assert.match(terminal.screen, /1\/1/);
    // a curve has a value a beat, and masters beat each second while somebody looks on
    await terminal.shows('curves that grow', (screen) => /MB [▁▂▃▄▅▆▇█]{4,} /.test(screen));

    terminal.press('d');
    await terminal.shows(
      'a dump',
      (screen) => screen.includes(`dump of pid ${pid}`) && screen.includes('what it comes to'),
    );
    terminal.press('x', '?');
    await terminal.shows('help', (screen) => screen.includes('sort by another column'));
    terminal.press('x');
    await terminal.shows('the table again', (screen) => pidsIn(screen).pids.length === 2);

    terminal.press('q');
    await waitFor('it has left', () => terminal.program === 'sh');
    assert.deepEqual(terminal.modes, { alternate: false, cursor: true });
    assert.match(terminal.screen, /'top'[\s\S]*ready\$$/, 'what was on the screen before is there again');
    terminal.run(['stty', '-a']);
    const modes = await terminal.shows('modes of the terminal', (screen) =>
      /\becho\b/.test(screen.split('stty').at(-1) ?? ''),
    );
    assert.match(modes, / icanon/);
    assert.doesNotMatch(modes, /-icanon|-echo /);
  });

  it('follows the size of the terminal', async (t) => {
    const { terminal } = await top(t);
    assert.doesNotMatch(terminal.screen, /UPTIME/);
    terminal.resize(130, 40);
    await terminal.shows('more columns', (screen) => /DONE +RST +UPTIME/.test(screen));
    await terminal.shows('more lines', (screen) => screen.split('\n').length === 40);
    terminal.resize(40, 10);
    const small = await terminal.shows(
      'fewer of both',
      (screen) => !/DONE/.test(screen) && /MEM/.test(screen),
    );
    assert.ok(small.split('\n').every((line) => line.length <= 40));
    assert.equal(pidsIn(small).pids.length, 2);
    terminal.resize(80, 24);
    await terminal.shows(
      'what was there',
      (screen) => /DONE/.test(screen) && screen.split('\n').length === 24,
    );
    terminal.press('q');
    await waitFor('it has left', () => terminal.program === 'sh');
    assert.doesNotMatch(terminal.screen, /SLOT/);
  });

  it('works without colour and without Unicode', async (t) => {
    const { terminal } = await top(t, { env: { NO_COLOR: '1', LC_ALL: 'C' } });
    await terminal.shows('curves', (screen) => /MB [.:=+*%#-]{2,} /.test(screen));
    assert.doesNotMatch(terminal.painted, /\u001b\[[0-9;]*m/);
    assert.match(terminal.screen, /^[\n -~]*$/);
    assert.match(terminal.screen, /MEMv/);
    terminal.press('C-c');
    await waitFor('it has left', () => terminal.program === 'sh');
  });

  it('gives the terminal back when it is ended, suspended, or crashes', async (t) => {
    const { terminal, swarm, trial, words } = await top(t);
    const isLeft = () => !terminal.modes.alternate && terminal.modes.cursor;
    terminal.press('C-z');
    await waitFor('it is suspended', isLeft);
    terminal.run(['fg']);
    await terminal.shows('it is back', (screen) => /2\/2 up/.test(screen));
    assert.deepEqual(terminal.modes, { alternate: true, cursor: false });
    killTop(trial.namespace, 'SIGTERM');
    await waitFor('it is ended', isLeft);
    // an error from nowhere, in the middle
    const [node = '', ...rest] = words;
    const crash = 'data:text/javascript,setTimeout(()=>{throw new Error("out of the blue")},4000)';
    terminal.run([node, '--import', crash, ...rest]);
    await terminal.shows('it draws', () => terminal.modes.alternate);
    await terminal.shows('its error, and the prompt', (screen) =>
      /Error: out of the blue[\s\S]*ready\$$/.test(screen),
    );
    assert.ok(isLeft());
    assert.deepEqual(swarm.all('exited'), []);
  });

  it('goes on while Redis is away, and says so', async (t) => {
    const own = await startRedis();
    t.after(() => own.close());
    const trial = new Trial(t, own);
    const swarm = trial.start(1, { app: 'doctor-worker.mjs' });
    await swarm.ready(1);
    const terminal = await TestTerminal.open(t);
    terminal.run([process.execPath, BIN, 'top', '--redis', own.url, '--namespace', trial.namespace]);
    await terminal.shows('the child', (screen) => /1\/1 up/.test(screen));
    await own.stop();
    await terminal.shows('what is wrong', (screen) => /no Redis at/.test(screen) && /1\/1 up/.test(screen));
    await own.start();
    await terminal.shows('that it is over', (screen) => /q quit/.test(screen) && /1\/1 up/.test(screen));
    terminal.press('q');
    await waitFor('it has left', () => terminal.program === 'sh');
  });

  it('says where it cannot draw', async (t) => {
    const trial = new Trial(t, redis);
    const piped = await trial.command('top');
    assert.deepEqual([piped.code, piped.stdout], [64, '']);
    assert.match(piped.stderr, /SWARM_NO_TERMINAL: swarm top needs a terminal .*watch -n 2 swarm ps/);
    const terminal = await TestTerminal.open(t, { env: { TERM: 'dumb' } });
    terminal.run([process.execPath, BIN, 'top', '--redis', redis.url]);
    await terminal.shows('its refusal', (screen) =>
      /cannot draw on this terminal \(TERM is\s+dumb\)/.test(screen),
    );
  });
});

/** By the namespace in its arguments, which is this test's alone. */
function killTop(namespace: string, signal: NodeJS.Signals): void {
  for (const { pid, command } of runningCommands()) {
    if (command.includes(' top ') && command.includes(namespace)) process.kill(pid, signal);
  }
}
