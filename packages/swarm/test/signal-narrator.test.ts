/** What the log says of signals. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { LogFields } from '../dist/log.js';
import { type SignalFacts, SignalNarrator } from '../dist/master/signal-narrator.js';
import type { SupervisorEvent } from '../dist/supervisor/events.js';
import type { Phase, SupervisorState } from '../dist/supervisor/state.js';

type Seen = Pick<SupervisorState, 'phase' | 'roll' | 'forced'>;

function seen(phase: Phase, more: Partial<Seen> = {}): Seen {
  return { phase, roll: 'none', forced: false, ...more };
}

/** A narrator and what it has said. */
function narrator(facts: Partial<SignalFacts> = {}) {
  const said: [level: string, message: string, fields: LogFields][] = [];
  const at =
    (level: string) =>
    (message: string, fields: LogFields = {}) =>
      said.push([level, message, fields]);
  const log = {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    childOutput() {},
  };
  const all = { jobs: () => 3, drainTimeoutMs: 25_000, pid: 4711, hasTerminal: true, ...facts };
  return { said, it: new SignalNarrator(log, all) };
}

const STOP: SupervisorEvent = { type: 'stopRequested' };
const FORCE: SupervisorEvent = { type: 'stopForced' };
const RUNNING = seen('running');
const STOPPING = seen('stopping');
const HOW =
  /^jobs that run have time to end; Ctrl-C \(INT\) once more, a second from now or later, hands them back/;

describe('the log about a signal', () => {
  it('says at the first INT what runs, for how long, and what one more does', () => {
    const { it: signals, said } = narrator();
    signals.acted(STOP, 'SIGINT', RUNNING, STOPPING);
    assert.deepEqual(said[0], ['info', 'stopping', { signal: 'SIGINT', jobs: 3, up_to: '25s' }]);
    assert.match(said[1]?.[1] ?? '', HOW);
    assert.deepEqual(said[1]?.[2], { jobs: 3, up_to: '25s' });
    // echoes
    signals.acted(STOP, 'SIGINT', STOPPING, STOPPING);
    assert.equal(said.length, 2);
    signals.acted(FORCE, 'SIGINT', STOPPING, seen('stopping', { forced: true }));
    signals.acted(FORCE, 'SIGINT', seen('stopping', { forced: true }), seen('stopping', { forced: true }));
    assert.deepEqual(said.slice(2), [
      ['warn', 'stopping now: jobs that run are handed back, not waited for', { signal: 'SIGINT', jobs: 3 }],
    ]);
  });

  it('says it to who presses Ctrl-C while a stop goes on, and not where nothing runs, or of a TERM', () => {
    const { it: signals, said } = narrator();
    signals.acted(STOP, 'SIGTERM', RUNNING, STOPPING);
    assert.deepEqual(
      said.map(([, message]) => message),
      ['stopping'],
    );
    signals.acted(STOP, 'SIGINT', STOPPING, STOPPING);
    assert.match(said[1]?.[1] ?? '', HOW);

    const idle = narrator({ jobs: () => 0 });
    idle.it.acted(STOP, 'SIGINT', RUNNING, STOPPING);
    idle.it.acted(STOP, 'SIGINT', STOPPING, seen('stopped'));
    assert.deepEqual(idle.said, [['info', 'stopping', { signal: 'SIGINT', jobs: 0, up_to: '25s' }]]);
  });

  it('says in a terminal that Ctrl-Z does not suspend, and what resumes', () => {
    const quiet: SupervisorEvent = { type: 'quietRequested', slot: null };
    const { it: signals, said } = narrator();
    signals.acted(quiet, 'SIGTSTP', RUNNING, seen('quiet'));
    signals.acted({ type: 'resumeRequested', slot: null }, 'SIGCONT', seen('quiet'), RUNNING);
    assert.deepEqual(said[0], ['info', 'quiet', { signal: 'SIGTSTP' }]);
    assert.match(said[1]?.[1] ?? '', /^Ctrl-Z does not suspend swarm/);
    assert.deepEqual(said[1]?.[2], { resume: 'kill -CONT 4711' });
    assert.deepEqual(said[2], ['info', 'running', { signal: 'SIGCONT' }]);

    const elsewhere = narrator({ hasTerminal: false });
    elsewhere.it.acted(quiet, 'SIGTSTP', RUNNING, seen('quiet'));
    assert.equal(elsewhere.said.length, 1);
  });

  it('says that a roll began', () => {
    const { it: signals, said } = narrator();
    signals.acted(
      { type: 'rollRequested' },
      'SIGHUP',
      RUNNING,
      seen('running', { roll: 'wanted' as Seen['roll'] }),
    );
    assert.deepEqual(said, [['info', 'rolling', { signal: 'SIGHUP' }]]);
  });
});
