/** The app's queues, for those who look at them from outside. */
import { Queue } from 'bullmq';

export function openQueues(connection) {
  const queues = { pages: new Queue('pages', { connection }), index: new Queue('index', { connection }) };
  // They reconnect by themselves; whoever waits for an answer has a deadline of his own.
  for (const queue of Object.values(queues)) queue.on('error', () => {});
  return { queues, close: () => Promise.all(Object.values(queues).map((queue) => queue.close())) };
}
