/** A master in the foreground of a terminal: Ctrl-C twice, Ctrl-Z, the end of its shell, and a stop with fg. */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import type { MasterRecord } from '../../packages/swarm/dist/registry/schema.js';
import { completed } from '../support/jobs.js';
import { killMarked, MARK, markedProcesses } from '../support/processes.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { appPath, BIN } from '../support/swarm.js';
import { TestTerminal, whyNoTmux } from '../support/tmux.js';
import { Trial } from '../support/trial.js';
import { waitFor } from '../support/wait.js';

interface Foreground {
  trial: Trial;
  terminal: TestTerminal;
  pid: number;
}

describe('in a terminal', { concurrency: 2, skip: whyNoTmux() ?? false }, () => {
  let redis: TestRedis;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.close());

  /** `swarm` with one child, up. */
  async function foreground(t: TestContext): Promise<Foreground> {
    const trial = new Trial(t, redis);
    const mark = trial.namespace;
    t.after(() =>
      waitFor('nobody is left', () => {
        killMarked(mark);
        return markedProcesses(mark).length === 0;
      }),
    );
    const terminal = await TestTerminal.open(t, {
      width: 220,
      height: 50,
      env: { QUEUE_REDIS_PORT: String(redis.port), QUEUE_NAME: trial.queue.name, [MARK]: mark },
    });
    const where = ['--redis', redis.url, '--namespace', trial.namespace];
    terminal.run([
      process.execPath,
      BIN,
      appPath('fault-worker.mjs'),
      '--count',
      '1',
      '--timeout',
      '50s',
      ...where,
    ]);
    await terminal.shows('a child is ready', (screen) => /pid=\d+ ready /.test(screen), {
      timeoutMs: 60_000,
    });
    const [master] = JSON.parse((await trial.command('ps', '--json')).stdout) as MasterRecord[];
    assert.ok(master);
    return { trial, terminal, pid: master.pid };
  }

  async function runs({ trial, terminal }: Foreground, data: object): Promise<string> {
    const id = await trial.add(data);
    await terminal.shows(`job ${id} runs`, (screen) => screen.includes(`runs ${id}`));
    return id;
  }

  it('Ctrl-C asks for the stop and says what one more does; one more hands back, and leaves', async (t) => {
    const shown = await foreground(t);
    const { trial, terminal } = shown;
    const id = await runs(shown, { first: { ms: 600_000 } });
    // a beat tells of the job
    await waitFor('the master knows of the job', async () => {
      const { stdout } = await trial.command('jobs', '--json');
      return stdout.includes(`"${id}"`);
    });
    terminal.press('C-c');
    await terminal.shows('how to hasten it', (screen) =>
      /stopping signal=SIGINT jobs=1 up_to=50s[\s\S]*Ctrl-C \(INT\) once more[\s\S]*hands them back/.test(
        screen,
      ),
    );
    // echoes are none: it goes on until there was a second between
    await terminal.shows('it hurries', (screen) => {
      if (screen.includes('stopping now: jobs that run are handed back')) return true;
      terminal.press('C-c');
      return false;
    });
    await terminal.shows('the shell has the terminal', () => terminal.program === 'sh');
    assert.equal(await trial.queue.getJobState(id), 'waiting');
    assert.match(terminal.screen, /handed_back=1/);
    assert.match(terminal.screen, /stopped exit=130/);
  });

  it('Ctrl-Z quiets, says that it does not suspend, and CONT resumes', async (t) => {
    const shown = await foreground(t);
    const { terminal, pid, trial } = shown;
    await runs(shown, { ms: 2_000 });
    terminal.press('C-z');
    await terminal.shows('what it does', (screen) =>
      new RegExp(`quiet signal=SIGTSTP.*Ctrl-Z does not suspend swarm.*kill -CONT ${pid}`, 's').test(screen),
    );
    await completed(trial.queue, 1);
    assert.notEqual(terminal.program, 'sh');
    const next = await trial.add({});
    process.kill(pid, 'SIGCONT');
    await terminal.shows('it takes jobs again', (screen) => screen.includes(`runs ${next}`));
    assert.match(terminal.screen, /running signal=SIGCONT/);
  });

  it('the end of its shell is a stop and no roll', async (t) => {
    const { trial, terminal } = await foreground(t);
    terminal.endShell();
    await waitFor('it has left, its child and its entry too', async () => {
      const [entry] = await redis.client.keys(`swarm:{${trial.namespace}}:master:*`);
      return entry === undefined && markedProcesses(trial.namespace).length === 0;
    });
  });

  it('after a stop by the shell, fg goes on with the same child and no alarm, and says for how long', async (t) => {
    const shown = await foreground(t);
    const { terminal, pid, trial } = shown;
    await runs(shown, { ms: 3_000 });
    process.kill(pid, 'SIGSTOP');
    await terminal.shows('the shell has the terminal', () => terminal.program === 'sh');
    const stoppedAtMs = Date.now();
    await waitFor('it was stopped for a while', () => Date.now() - stoppedAtMs > 8_000);
    terminal.run(['fg']);
    await terminal.shows('how long it was', (screen) =>
      /the clock jumped, or this process was stopped: all deadlines moved gap=\d+ms/.test(screen),
    );
    await completed(trial.queue, 1);
    const next = await trial.add({});
    await terminal.shows('it takes jobs', (screen) => screen.includes(`runs ${next}`));
    assert.doesNotMatch(terminal.screen, /exited|kill |stuck|replaced|dump/);
    assert.equal(terminal.screen.match(/ spawned/g)?.length, 1);
  });
});
