/** A swarm app's processor whose jobs come back later when they are over a limit. */
import type { Processor } from '../app.js';
import { isOverLimit } from './over-limit.js';
import { forgetOverrated, mayBeOverrated, rescheduleOverLimit } from './reschedule.js';

export function reschedulingOverLimit(process: Processor): Processor {
  return async (job, context) => {
    let result: unknown;
    try {
      result = await process(job, context);
    } catch (error) {
      if (!isOverLimit(error)) throw error;
      return rescheduleOverLimit(job, job.token, error);
    }
    // the job is done, whether that can be noted or not
    if (mayBeOverrated(job)) await forgetOverrated(job).catch(() => {});
    return result;
  };
}
