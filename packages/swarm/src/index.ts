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
