// What a job of the benchmark of fetching does: nothing, or wait for a moment, or say when it began.
import { setTimeout as delay } from 'node:timers/promises';

export async function work({ data }) {
  const beganAtMs = data.tells ? performance.timeOrigin + performance.now() : undefined;
  if (data.ms > 0) await delay(data.ms);
  return beganAtMs;
}
