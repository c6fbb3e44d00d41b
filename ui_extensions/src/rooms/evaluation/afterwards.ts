import type { Schema } from '../../api/client';
import { type Criterion, keepRubric, newCriterion } from './judging';

export const RUN_KINDS = ['automated', 'human', 'llm_judge', 'combined'] as const;
type Request = Schema<'EvaluationCreate'>;

/** What the form holds of who judges an evaluation's answers when they are there. */
export interface Afterwards {
  kind: (typeof RUN_KINDS)[number];
  digest: string;
  name: string;
  criteria: Criterion[];
  people: string;
  roles: string[];
  overlap: number;
  judges: string[];
}

export function nobody(): Afterwards {
  return { kind: 'automated', digest: '', name: '', criteria: [newCriterion()], people: '', roles: [], overlap: 2, judges: [] };
}

/** The part of a request that says so; a new rubric is kept first. */
export async function planned(form: Afterwards): Promise<Pick<Request, 'runType' | 'review' | 'judging'>> {
  const { kind } = form;
  if (kind === 'automated') return { runType: kind };
  const rubric = form.digest || (await keepRubric(form.name, '', form.criteria)).digest;
  const review = {
    rubric, reviewers: form.people.split(/[\s,]+/).filter(Boolean), roles: form.roles, overlap: form.overlap, seed: 0, showExpected: true,
  };
  const judging = {
    rubric, judges: form.judges.map((modelId) => ({ modelId, maxTokens: 512 })), guidance: '', showReference: true, seed: 0, repairs: 1,
  };
  return { runType: kind, ...(kind === 'llm_judge' ? {} : { review }), ...(kind === 'human' ? {} : { judging }) };
}
