export {
  type AppOptions,
  defineApp,
  type JobContext,
  type Processor,
  type QueueOptions,
  type SwarmApp,
  track,
} from './app.js';
export { SwarmError } from './errors.js';
export type { ReleasedJob } from './protocol.js';
export type { ChildRecord } from './registry/schema.js';
export {
  Swarm,
  type SwarmChild,
  type SwarmEvents,
  type SwarmExit,
  type SwarmLogEntry,
  type SwarmState,
} from './swarm.js';
export type { SwarmGroup, SwarmOptions } from './swarm-options.js';
