/**
 * What a check of `swarm doctor` is: a thin gatherer of facts, and a pure judgement over them. A check that
 * cannot have its facts (CONFIG is forbidden, no systemd here) says so and is nobody's fault: it never warns.
 */
import { maskSecrets } from '../secrets.js';
import type { Examination } from './examination.js';

/** `ok`: nothing is to be done. `warn`: works, and will hurt. `fail`: does not work, or loses jobs. */
export type Status = 'ok' | 'warn' | 'fail';

export const SECTIONS = ['Redis', 'Queues', 'Fleet', 'Machine', 'App'] as const;
export type Section = (typeof SECTIONS)[number];

export interface Verdict {
  status: Status;
  /** What was found, in a sentence without a full stop. */
  found: string;
  /** More of it, a line each. */
  details?: readonly string[];
  /** Why it matters; needless where nothing is wrong. */
  why?: string;
  /** What to do, a step each. */
  cure?: readonly string[];
}

/** A verdict as `swarm doctor --json` prints it. */
export interface Finding {
  /** Stable, for scripts: `redis-eviction`. */
  check: string;
  section: Section;
  status: Status;
  found: string;
  details: readonly string[];
  why: string | null;
  cure: readonly string[];
  /** true: there was nothing to look at, or it may not be looked at; `found` says why. The status is `ok` then. */
  skipped: boolean;
}

export interface Check<Facts> {
  name: string;
  section: Section;
  /** Throws `NotLookedAt` where there are no facts to be had. */
  gather(exam: Examination): Promise<Facts> | Facts;
  judge(facts: Facts): Verdict;
}

/** A check whose facts are its own affair. */
export interface Examiner {
  readonly name: string;
  readonly section: Section;
  /** Never rejects. */
  examine(exam: Examination): Promise<Finding>;
}

export class NotLookedAt extends Error {
  override readonly name = 'NotLookedAt';
}

export function defineCheck<Facts>({ name, section, gather, judge }: Check<Facts>): Examiner {
  const finding = ({ status, found, details = [], why, cure = [] }: Verdict, skipped: boolean): Finding => {
    // what others have written is quoted: names of keys and queues, what Redis says, evidence of deaths
    const [shown, quoted, todo] = [maskSecrets(found), details.map(maskSecrets), cure.map(maskSecrets)];
    return {
      check: name,
      section,
      status,
      found: shown,
      details: quoted,
      why: why ?? null,
      cure: todo,
      skipped,
    };
  };
  return {
    name,
    section,
    async examine(exam) {
      try {
        return finding(judge(await gather(exam)), false);
      } catch (error) {
        return finding({ status: 'ok', found: whyNot(error) }, true);
      }
    },
  };
}

function whyNot(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return error instanceof NotLookedAt ? message : `not looked at: ${message}`;
}

/** One of several things that a check finds. */
export interface Problem {
  status: 'warn' | 'fail';
  found: string;
  cure: string;
}

/** The worst of them first; each cure once. */
export function verdictOf(problems: readonly Problem[], fine: string, why: string): Verdict {
  const sorted = [...problems].sort((a, b) => Number(b.status === 'fail') - Number(a.status === 'fail'));
  const [worst, ...others] = sorted;
  if (!worst) return { status: 'ok', found: fine };
  const cure = [...new Set(sorted.map((problem) => problem.cure))];
  return { status: worst.status, found: worst.found, details: others.map(({ found }) => found), why, cure };
}

/** `1 child`, `3 children` */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** At most `max` of them, and how many more there are. */
export function listed(names: readonly string[], max = 5): string {
  const more = names.length - max;
  return more > 0 ? `${names.slice(0, max).join(', ')} and ${more} more` : names.join(', ');
}
