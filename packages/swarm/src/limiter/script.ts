/** A Lua script, sent by its hash; its text goes over the wire once for each time that Redis has forgotten it. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { LimiterRedis } from './client.js';

export class Script {
  readonly #lua: string;
  readonly #sha: string;

  constructor(lua: string) {
    this.#lua = lua;
    this.#sha = createHash('sha1').update(lua).digest('hex');
  }

  async run(
    client: Pick<LimiterRedis, 'eval' | 'evalsha'>,
    keys: readonly string[],
    args: readonly string[],
  ): Promise<unknown> {
    try {
      return await client.evalsha(this.#sha, keys.length, ...keys, ...args);
    } catch (error) {
      if (!String((error as Error).message).startsWith('NOSCRIPT')) throw error;
      return client.eval(this.#lua, keys.length, ...keys, ...args);
    }
  }
}

/** What all limiters have in common, around what one kind has of its own. */
export function limiterScript(type: string): Script {
  return new Script(['head', type, 'operations'].map(luaText).join('\n'));
}

/** A script of its own, read when it is first used. */
export function lazyScript(name: string): { get(): Script } {
  let script: Script | undefined;
  return {
    get() {
      script ??= new Script(luaText(name));
      return script;
    },
  };
}

function luaText(name: string): string {
  return readFileSync(new URL(`./${name}.lua`, import.meta.url), 'utf8');
}
