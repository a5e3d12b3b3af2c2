/** One live line on a terminal; elsewhere a plain line every few seconds. */
import { stdout } from 'node:process';

const PLAIN_EVERY_MS = 2_000;
const BAR_CELLS = 20;

export class Progress {
  #lastPlainAtMs = Number.NEGATIVE_INFINITY;
  #live = false;

  show({ done, total, jobsPerSecond, children }) {
    const counts = `${count(done)} of ${count(total)} pages`;
    const rate = `${count(jobsPerSecond)} jobs/s`;
    if (stdout.isTTY) {
      const filled = Math.round((BAR_CELLS * done) / total);
      const bar = '█'.repeat(filled) + '░'.repeat(BAR_CELLS - filled);
      const line = `  ${bar}  ${counts}  ${rate}  ${children}`;
      // A line that wraps could not be overwritten.
      stdout.write(`\r\x1b[K${line.slice(0, (stdout.columns || 80) - 1)}`);
      this.#live = true;
      return;
    }
    const nowMs = performance.now();
    if (nowMs - this.#lastPlainAtMs < PLAIN_EVERY_MS) return;
    this.#lastPlainAtMs = nowMs;
    console.log(`  ${counts}, ${rate}, ${children}`);
  }

  /** Prints a line that stays, above the live one. */
  say(text) {
    this.end();
    console.log(text);
  }

  end() {
    if (this.#live) stdout.write('\r\x1b[K');
    this.#live = false;
  }
}

export const count = (number) => Math.round(number).toLocaleString('en-US');

export const seconds = (ms) => `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
