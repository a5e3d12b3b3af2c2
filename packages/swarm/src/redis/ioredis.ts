/**
 * ioredis, by `require`: it is CommonJS, and at an `import` of that node reads it once more for the names that
 * it exports, with a parser in JavaScript, which V8 then optimises beside it. That is two thirds as much CPU
 * again as to load ioredis, at the start of every master, command and child.
 */
import { createRequire } from 'node:module';
import type * as Ioredis from 'ioredis';

const require = createRequire(import.meta.url);
const ioredis: typeof Ioredis = require('ioredis');

export const { Cluster, Command, Redis } = ioredis;
export type Cluster = Ioredis.Cluster;
export type Redis = Ioredis.Redis;
