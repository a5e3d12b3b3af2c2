export {
  type AppOptions,
  defineApp,
  type JobContext,
  type JobOptions,
  type Processor,
  type QueueOptions,
  type QueueSettings,
  type SwarmApp,
  track,
  type WorkerSettings,
} from './app.js';
export { SwarmError } from './errors.js';
export type { FetchGate, FetchLimit, GateSurroundings, Lease } from './fetch/gate.js';
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
