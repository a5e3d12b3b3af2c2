/** `swarm doctor` without its paper: runs all checks, one after the other, so that none disturbs another's measurements. */
import type { Examiner, Finding } from './check.js';
import { CHECKS } from './checks/index.js';
import { Examination, type ExaminationInput } from './examination.js';

export type { Finding, Status } from './check.js';
export { SECTIONS } from './check.js';
export type { ExaminationInput } from './examination.js';

export interface Progress {
  /** Name of the check that runs now. */
  check: string;
  done: number;
  of: number;
}

/** Never rejects: what cannot be looked at is in the findings. */
export async function examine(
  input: ExaminationInput,
  onProgress: (progress: Progress) => void = () => {},
  checks: readonly Examiner[] = CHECKS,
): Promise<Finding[]> {
  const exam = new Examination(input);
  const findings: Finding[] = [];
  try {
    for (const [done, check] of checks.entries()) {
      onProgress({ check: check.name, done, of: checks.length });
      findings.push(await check.examine(exam));
    }
  } finally {
    exam.close();
  }
  return findings;
}
