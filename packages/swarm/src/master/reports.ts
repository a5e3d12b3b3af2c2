/** What a master says of itself in the registry, made anew for each beat. */
import type {
  ChildRecord,
  JobDurationRecord,
  JobMemoryRecord,
  MasterInfo,
  Owed,
} from '../registry/schema.js';
import type { MasterReport } from '../registry/writer.js';
import { wantedCount } from '../supervisor/scale.js';
import type { SupervisorState } from '../supervisor/state.js';
import { masterState, onRedisClock } from './records.js';

export interface ReportSources {
  info: MasterInfo;
  state: () => SupervisorState;
  children: () => readonly ChildRecord[];
  owed: () => readonly Owed[];
  jobMemory: () => readonly JobMemoryRecord[];
  jobDurations: () => readonly JobDurationRecord[];
}

export class Reports {
  /** Of the last roll, if it was given up. */
  rollError: string | null = null;
  readonly #sources: ReportSources;
  #wanted = 0;

  constructor(sources: ReportSources) {
    this.#sources = sources;
  }

  make(clockOffsetMs: number): MasterReport {
    const { info, state, children, owed, jobMemory, jobDurations } = this.#sources;
    const { phase, generation, slots, roll } = state();
    return {
      info: { ...info, startedAtMs: info.startedAtMs + clockOffsetMs },
      state: masterState(phase, slots),
      generation,
      count: this.#count(),
      children: children().map((record) => onRedisClock(record, clockOffsetMs)),
      owed: owed(),
      jobMemory: jobMemory(),
      jobDurations: jobDurations(),
      clockOffsetMs,
      rollError: roll === 'none' ? this.rollError : null,
    };
  }

  /** Children wanted; it may have been changed at run time. */
  #count(): number {
    const state = this.#sources.state();
    if (state.phase === 'running' || state.phase === 'quiet') this.#wanted = wantedCount(state);
    return this.#wanted;
  }
}
