/** `--port`: `/healthz`, `/readyz` and `/metrics` of a master. Loaded only by a master that has one. */
import type { Logger } from '../log.js';
import type { MasterView, Onlooker } from '../master/onlookers.js';
import { type Collector, collectAll } from './collectors.js';
import { EXPOSITION_TYPE, expose } from './exposition.js';
import { fleetMetrics } from './fleet-metrics.js';
import { ProcessMetrics } from './process-metrics.js';
import { readiness } from './readiness.js';
import { type OpenServer, type Page, serve } from './server.js';
import { Tallies } from './tallies.js';

export interface HttpOptions {
  port: number;
  host: string;
  /** Whoever has more metrics than the master itself. */
  collectors?: readonly Collector[];
}

export class HttpDoor implements Onlooker {
  readonly #tallies = new Tallies();
  readonly #process = new ProcessMetrics();
  readonly #collectors: readonly Collector[];
  #server: OpenServer | null = null;
  #view: MasterView | null = null;

  private constructor(collectors: readonly Collector[]) {
    const own: Collector = { name: 'master', collect: () => this.#own() };
    this.#collectors = [own, ...collectors];
  }

  /** @throws SwarmError where the port cannot be had */
  static async open({ port, host, collectors = [] }: HttpOptions, log: Logger): Promise<HttpDoor> {
    const door = new HttpDoor(collectors);
    door.#server = await serve(
      {
        '/healthz': () => text(200, 'ok\n'),
        '/readyz': () => door.#readiness(),
        '/metrics': () => door.#metrics(),
      },
      { port, host },
    );
    log.info('listening', { url: `http://${host.includes(':') ? `[${host}]` : host}:${door.#server.port}` });
    return door;
  }

  decided(_: unknown, view: MasterView): void {
    this.#view = view;
  }

  ticked(view: MasterView): void {
    this.#view = view;
    this.#tallies.ticked(view);
  }

  heard(...news: Parameters<Tallies['heard']>): void {
    this.#tallies.heard(...news);
  }

  died(...news: Parameters<Tallies['died']>): void {
    this.#tallies.died(...news);
  }

  async close(): Promise<void> {
    this.#process.close();
    await this.#server?.close();
  }

  #readiness(): Page {
    if (!this.#view) return text(503, 'the master is starting\n');
    const { state, children } = this.#view;
    const { isReady, lines } = readiness(state, children, Date.now());
    return text(isReady ? 200 : 503, `${lines.join('\n')}\n`);
  }

  async #metrics(): Promise<Page> {
    return { status: 200, type: EXPOSITION_TYPE, text: expose(await collectAll(this.#collectors)) };
  }

  #own() {
    const families = this.#process.collect();
    if (!this.#view) return families;
    this.#tallies.look(this.#view);
    return [...fleetMetrics(this.#view, this.#tallies.groups, Date.now()), ...families];
  }
}

function text(status: 200 | 503, body: string): Page {
  return { status, type: 'text/plain; charset=utf-8', text: body };
}
