import type { Config } from '../config.js';
import { runMaster } from '../master.js';

/** `swarm run`: is the master until it is stopped. */
export function run(config: Config): Promise<number> {
  return runMaster(config);
}
