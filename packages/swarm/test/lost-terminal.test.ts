/** A program whose terminal has closed: its exit code is its own. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';

const MODULE = new URL('../dist/lost-terminal.js', import.meta.url).href;
const PROGRAM = `
  const { mindLostTerminals } = await import('${MODULE}');
  mindLostTerminals();
  process.on('SIGHUP', () => process.exit(7));
  setTimeout(() => process.exit(8), 20_000);
  console.log('up ' + process.stdout.isTTY);
`;
const canOpen = spawnSync('script', ['--version']).status === 0;

describe('a program whose terminal has closed', {
  skip: canOpen ? false : 'script is not to be had here',
}, () => {
  it('ends with its own exit code', { timeout: 30_000 }, async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'swarm-terminal-'));
    t.after(() => rmSync(directory, { recursive: true, force: true }));
    const file = join(directory, 'code');
    // a shell that outlives the terminal, passes on what it is told, and says how the program ended
    const line = `"$NODE" --input-type=module -e "$PROGRAM" & trap "kill -HUP $!" HUP; wait $!; wait $!; echo $? >"$CODE"`;
    const env = { ...process.env, NODE: process.execPath, PROGRAM, CODE: file, SHELL: '/bin/sh' };
    const terminal = spawn('script', ['-qfc', line, '/dev/null'], {
      env,
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    t.after(() => terminal.kill('SIGKILL'));
    const [said] = (await once(terminal.stdout, 'data')) as [Buffer];
    assert.match(String(said), /up true/);
    terminal.kill('SIGKILL');
    const deadlineMs = performance.now() + 25_000;
    while (!existsSync(file) || readFileSync(file, 'utf8') === '') {
      assert.ok(performance.now() < deadlineMs, 'it does not end');
      await delay(20);
    }
    assert.equal(readFileSync(file, 'utf8').trim(), '7');
  });
});
