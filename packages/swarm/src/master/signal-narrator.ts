/**
 * What the log says of a signal to the master. Whoever sits at the terminal is told what the key that was pressed does, and
 * which one does more: a stop that takes its time, and a quiet that looks like a hang, are else answered with `kill -9`.
 */
import type { Logger } from '../log.js';
import type { SupervisorEvent } from '../supervisor/events.js';
import type { SupervisorState } from '../supervisor/state.js';
import { exactDuration } from '../units.js';

export interface SignalFacts {
  /** Jobs that run, as far as is known. */
  jobs(): number;
  drainTimeoutMs: number;
  /** Of the master. */
  pid: number;
  /** One of its standard streams is a terminal. */
  hasTerminal: boolean;
}

type Seen = Pick<SupervisorState, 'phase' | 'roll' | 'forced'>;

export class SignalNarrator {
  #hasSaidHow = false;

  constructor(
    private readonly log: Logger,
    private readonly facts: SignalFacts,
  ) {}

  /** What it made of the state. */
  acted({ type }: SupervisorEvent, signal: NodeJS.Signals, before: Seen, after: Seen): void {
    const { log } = this;
    if (before.roll === 'none' && after.roll !== 'none') return log.info('rolling', { signal });
    if (type === 'stopForced') {
      if (!before.forced)
        log.warn('stopping now: jobs that run are handed back, not waited for', {
          signal,
          jobs: this.facts.jobs(),
        });
      return;
    }
    if (after.phase !== before.phase && before.phase !== 'stopping') this.#phase(after.phase, signal);
    if (type === 'stopRequested' && signal === 'SIGINT' && after.phase === 'stopping') this.#howToHasten();
  }

  #phase(phase: Seen['phase'], signal: NodeJS.Signals): void {
    const { log, facts } = this;
    if (phase === 'running' || phase === 'quiet') log.info(phase, { signal });
    else log.info('stopping', { signal, jobs: facts.jobs(), up_to: exactDuration(facts.drainTimeoutMs) });
    if (phase === 'quiet' && signal === 'SIGTSTP' && facts.hasTerminal)
      log.info(
        'Ctrl-Z does not suspend swarm: jobs that run go on, and no new ones are taken until it resumes',
        {
          resume: `kill -CONT ${facts.pid}`,
        },
      );
  }

  #howToHasten(): void {
    const jobs = this.facts.jobs();
    if (this.#hasSaidHow || jobs === 0) return;
    this.#hasSaidHow = true;
    this.log.info(
      'jobs that run have time to end; Ctrl-C (INT) once more, a second from now or later, hands them back and leaves at once',
      { jobs, up_to: exactDuration(this.facts.drainTimeoutMs) },
    );
  }
}
