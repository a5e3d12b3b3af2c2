/** The Lua scripts beside these modules. */
import { readFileSync } from 'node:fs';

export function luaScript(name: string): { name: string; lua: string } {
  const lua = readFileSync(new URL(`./${name}.lua`, import.meta.url), 'utf8');
  return { name: `swarm${name.replaceAll('-', '')}`, lua };
}
