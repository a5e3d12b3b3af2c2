/** The releases of BullMQ that tests run with: the newest of both majors, and the first that swarm can work with in full. */
import { createRequire } from 'node:module';
import type * as bullmq from 'bullmq';

const require = createRequire(import.meta.url);

export interface BullmqRelease {
  version: string;
  module: typeof bullmq;
}

/** The majors agree on all that is used of them here. */
export const BULLMQ_RELEASES: readonly BullmqRelease[] = ['bullmq', 'bullmq5', 'bullmq-floor'].flatMap(
  (name) => {
    try {
      const { version } = require(`${name}/package.json`) as { version: string };
      return [{ version, module: require(name) as typeof bullmq }];
    } catch (error) {
      // the floor is not installed everywhere
      if (name === 'bullmq-floor') return [];
      throw error;
    }
  },
);
