/** `swarm top`: what `swarm ps` shows, live. */
import { setTimeout as delay } from 'node:timers/promises';
import { parseRedisUrl, redactUrl } from '../redis/url.js';
import { Registry } from '../registry/index.js';
import { dumpReport } from './dump-report.js';
import { paletteOf } from './palette.js';
import { redisUrlOf } from './registry-access.js';
import type { RegistryCommandOptions } from './registry-options.js';
import { History } from './top/history.js';
import { checkTerminal, LiveTerminal } from './top/live-terminal.js';
import { type Key, type Model, onKey, START } from './top/model.js';
import type { Row } from './top/rows.js';
import { frame, pageSize, type Scene } from './top/view.js';

const READ_MS = 1_000;

/** Returns the exit code. Throws a `SwarmError` when there is no terminal, or no Redis at the start. */
export async function top(options: Omit<RegistryCommandOptions, 'json'>): Promise<number> {
  checkTerminal(process);
  const url = await redisUrlOf(options);
  parseRedisUrl(url, '--redis');
  const { namespace, redisTlsNoVerify: tlsNoVerify } = options;
  const registry = new Registry({ redis: url, namespace, tlsNoVerify });
  try {
    const first = await registry.snapshot({ watched: true });
    return await new Top(registry, redactUrl(url)).run({ ...START, snapshot: first });
  } finally {
    await registry.close();
  }
}

class Top {
  readonly #registry: Registry;
  readonly #url: string;
  readonly #history = new History();
  readonly #terminal: LiveTerminal;
  readonly #ended = new AbortController();
  #model = START;

  constructor(registry: Registry, url: string) {
    this.#registry = registry;
    this.#url = url;
    this.#terminal = new LiveTerminal(process, paletteOf(process.env, true), {
      onKey: (key) => this.#onKey(key),
      onResize: () => this.#draw(),
      onEnd: () => this.#ended.abort(),
    });
  }

  async run(model: Model): Promise<number> {
    this.#take(model.snapshot as NonNullable<Model['snapshot']>);
    this.#terminal.open();
    const { signal } = this.#ended;
    try {
      this.#draw();
      while (!signal.aborted) {
        await delay(READ_MS, undefined, { signal }).catch(() => {});
        if (!signal.aborted) await this.#read();
        this.#draw();
      }
    } finally {
      this.#terminal.close();
    }
    return 0;
  }

  async #read(): Promise<void> {
    try {
      this.#take(await this.#registry.snapshot({ watched: true }));
    } catch (error) {
      // what was there last stays on the screen
      this.#model = { ...this.#model, trouble: (error as Error).message };
    }
  }

  #take(snapshot: NonNullable<Model['snapshot']>): void {
    this.#history.add(snapshot.masters, snapshot.redisTimeMs);
    this.#model = { ...this.#model, snapshot, trouble: '' };
  }

  #onKey(key: Key): void {
    const { model, action } = onKey(this.#model, key, pageSize(this.#scene()));
    this.#model = model;
    if (action?.type === 'quit') this.#ended.abort();
    else if (action?.type === 'suspend') this.#terminal.suspend();
    else if (action?.type === 'dump') void this.#dump(action.row);
    this.#draw();
  }

  async #dump({ child }: Row): Promise<void> {
    const say = (notice: string): void => {
      this.#model = { ...this.#model, notice };
      this.#draw();
    };
    say(`dump of pid ${child.pid} …`);
    try {
      const results = await this.#registry.send({ type: 'dump', target: child.identity });
      const ids = results.flatMap(({ dumps = [] }) => dumps);
      const [record] = ids.length > 0 ? await this.#registry.dumps({ ids }) : [];
      if (!record) return say(`no dump of pid ${child.pid}: ${results[0]?.message ?? 'it was not stored'}`);
      const lines = dumpReport(record, this.#terminal.width);
      this.#model = { ...this.#model, pane: { title: `dump of pid ${child.pid}`, lines, from: 0 } };
      say('');
    } catch (error) {
      say(`no dump: ${(error as Error).message}`);
    }
  }

  #draw(): void {
    if (!this.#ended.signal.aborted) this.#terminal.draw(frame(this.#scene()));
  }

  #scene(): Scene {
    const { width, height } = this.#terminal;
    const clock = new Date().toTimeString().slice(0, 8);
    const { namespace } = this.#registry;
    return { model: this.#model, history: this.#history, url: this.#url, namespace, width, height, clock };
  }
}
