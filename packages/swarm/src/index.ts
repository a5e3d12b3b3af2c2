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
