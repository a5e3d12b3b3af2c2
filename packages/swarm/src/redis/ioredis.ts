/**
 * ioredis, by `require`: it is CommonJS, and the first `import` of a CommonJS package has node compile a
 * WebAssembly parser of such modules, in threads of its own. That costs more CPU than to load ioredis itself,
 * at the start of every master, command and child.
 */
import { createRequire } from 'node:module';
import type * as Ioredis from 'ioredis';

const require = createRequire(import.meta.url);
const ioredis: typeof Ioredis = require('ioredis');

export const { Cluster, Command, Redis } = ioredis;
export type Cluster = Ioredis.Cluster;
export type Redis = Ioredis.Redis;
