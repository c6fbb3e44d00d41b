import { useQuery } from '@tanstack/vue-query';
import { type MaybeRefOrGetter, toValue } from 'vue';

import { api, unwrap, type Schema } from '../../api/client';

export type DeclaredGate = Schema<'DeclaredGate'>;
export type GateRequest = Schema<'GateCreate'>;
export type Condition = GateRequest['conditions'][number];
export type Metric = Schema<'MetricName'>;

/** The metrics a gate can ask for: means of scores between 0 and 1, one a sample. */
export const GATED_METRICS = ['exact_match', 'f1', 'accuracy', 'rouge1', 'rouge2', 'rougeL', 'refusal_rate'] as const;
export const SCORER_KINDS = ['threshold', 'non_inferiority'] as const;
export const SIDES = ['atLeast', 'atMost'] as const;
export const LEAST_SAMPLES = 30;
export const MOST_CONDITIONS = 20;
/** What a judge must show before its word counts; the API's own terms. */
const TERMS: Schema<'Terms'> = { margin: 0.1, coverage: 0.95, units: 30, agreement: 0.4, newest: 500 };

/** A condition as the form holds it; numbers are what was typed. */
export interface ConditionDraft {
  kind: Condition['kind'];
  metric: (typeof GATED_METRICS)[number];
  side: (typeof SIDES)[number];
  bound: string;
  margin: string;
  baseline: string;
  higherIsBetter: boolean;
  criterion: string;
  judgeId: string;
}

export function newCondition(kind: Condition['kind'] = 'threshold'): ConditionDraft {
  return { kind, metric: 'f1', side: 'atLeast', bound: '', margin: '0.02', baseline: '', higherIsBetter: true, criterion: '', judgeId: '' };
}

/** The condition as it is declared; `rubric` is the digest of what judges judge by. */
export function conditionOf(draft: ConditionDraft, rubric: string): Condition {
  const bound = { [draft.side]: Number(draft.bound) };
  if (draft.kind === 'threshold') return { kind: 'threshold', metric: draft.metric, ...bound };
  if (draft.kind === 'judge') {
    return { kind: 'judge', rubric, criterion: draft.criterion, judgeId: draft.judgeId || null, ...bound, terms: TERMS };
  }
  const baseline = draft.baseline.trim() || 'current';
  return { kind: 'non_inferiority', metric: draft.metric, margin: Number(draft.margin), baseline, higherIsBetter: draft.higherIsBetter };
}

/** Every version of the gates of these names, newest first; an empty name means any. */
export function useGates(names: MaybeRefOrGetter<{ model: string; benchmark: string }>) {
  return useQuery({
    queryKey: ['gates', names],
    queryFn: async ({ signal }) => {
      const { model, benchmark } = toValue(names);
      const query = { model: model || undefined, benchmark: benchmark || undefined };
      return unwrap(await api.GET('/llm-ops/v1/evaluation/gates', { params: { query }, signal }));
    },
  });
}

/** Declare a gate or its next version; one without conditions withdraws it. */
export async function declareGate(body: GateRequest, key: string): Promise<DeclaredGate> {
  return unwrap(await api.POST('/llm-ops/v1/evaluation/gates', { body, headers: { 'Idempotency-Key': key } }));
}
