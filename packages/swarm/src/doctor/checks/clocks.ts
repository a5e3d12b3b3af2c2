/** Do the hosts agree with Redis on what time it is? */
import { formatDuration } from '../../units.js';
import { defineCheck, type Problem, plural, type Verdict, verdictOf } from '../check.js';

export interface ClocksFacts {
  /** Redis's clock minus the host's, ms. */
  hosts: readonly { host: string; offsetMs: number }[];
}

/** Half of a round trip and a busy machine are less. */
const NOTABLE_MS = 1_000;
const WRONG_MS = 30_000;
const LOOKS = 5;

export const clocks = defineCheck<ClocksFacts>({
  name: 'clocks',
  section: 'Fleet',
  async gather(exam) {
    const { client } = await exam.redis();
    const offsets: { offsetMs: number; roundTripMs: number }[] = [];
    for (let look = 0; look < LOOKS; look++) {
      const startedAtMs = performance.now();
      const [seconds, micros] = await client.time();
      const roundTripMs = performance.now() - startedAtMs;
      const redisMs = Number(seconds) * 1_000 + Number(micros) / 1_000;
      offsets.push({ offsetMs: redisMs + roundTripMs / 2 - exam.now(), roundTripMs });
    }
    // the quickest answer is the one that tells best
    const [best] = offsets.sort((a, b) => a.roundTripMs - b.roundTripMs);
    const { masters } = await exam.snapshot();
    const others = masters.flatMap(({ identity, stale, clockOffsetMs }) => {
      return stale || clockOffsetMs === null
        ? []
        : [{ host: `the host of ${identity}`, offsetMs: clockOffsetMs }];
    });
    return { hosts: [{ host: 'this host', offsetMs: best?.offsetMs ?? 0 }, ...others] };
  },
  judge: judgeClocks,
});

export function judgeClocks({ hosts }: ClocksFacts): Verdict {
  const problems = hosts.flatMap(({ host, offsetMs }): Problem[] => {
    if (Math.abs(offsetMs) < NOTABLE_MS) return [];
    const way = offsetMs > 0 ? 'behind' : 'ahead of';
    return [
      {
        status: Math.abs(offsetMs) >= WRONG_MS ? 'fail' : 'warn',
        found: `the clock of ${host} is ${formatDuration(Math.abs(offsetMs))} ${way} that of Redis`,
        cure: 'let one service of time set the clocks of all hosts, that of Redis too: timedatectl, chronyc tracking',
      },
    ];
  });
  const most = Math.max(...hosts.map(({ offsetMs }) => Math.abs(offsetMs)));
  const fine = `${hosts.length === 1 ? 'this host' : `${plural(hosts.length - 1, 'master')} and this host`} within ${Math.max(1, Math.round(most))} ms of Redis`;
  const why =
    'BullMQ takes the time of whoever adds or runs a job: delayed jobs and schedules come too early or too late, rate limits let too many through';
  return verdictOf(problems, fine, why);
}
