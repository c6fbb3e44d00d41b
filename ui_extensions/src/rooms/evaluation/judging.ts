import { useQuery } from '@tanstack/vue-query';
import { type MaybeRefOrGetter, toValue } from 'vue';

import { api, unwrap, unwrapPage, type Schema } from '../../api/client';
import { isActive } from '../../kit/status';
import type { Evaluation } from './queries';

export type GateVerdict = Schema<'GateVerdict'>;
export type JudgeLicence = Schema<'JudgeLicence'>;
export type Judged = Schema<'Judged'>;
export type JudgingRequest = Schema<'JudgingCreate'>;
export type Contamination = Schema<'Contamination'>;
export type Criterion = Schema<'Criterion'>;
export type KeptRubric = Schema<'KeptRubric'>;
export type ReviewRequest = Schema<'ReviewCreate'>;

const RUN = '/llm-ops/v1/evaluation/runs/{run_id}';

/** What the gates said about a finished run. */
export function useVerdicts(id: MaybeRefOrGetter<string>, enabled: MaybeRefOrGetter<boolean>) {
  return useQuery({
    queryKey: ['evaluations', 'verdicts', id],
    queryFn: async ({ signal }) => unwrap(await api.GET(`${RUN}/verdicts`, { params: { path: { run_id: toValue(id) } }, signal })),
    enabled,
  });
}

/** The runs of people and models that judge a run's answers, newest first. */
export function useJudgings(id: MaybeRefOrGetter<string>, enabled: MaybeRefOrGetter<boolean>) {
  return useQuery({
    queryKey: ['evaluations', 'judgings', id],
    queryFn: async ({ signal }) => {
      const query = { judgedId: toValue(id), limit: 100 };
      return unwrapPage(await api.GET('/llm-ops/v1/evaluation/runs', { params: { query }, signal })).items;
    },
    enabled,
    refetchInterval: ({ state }) => (state.data?.some((run) => run.runType === 'llm_judge' && isActive(run.state.status)) ? 3_000 : false),
  });
}

/** What the judges of a run may decide by what people have said so far. */
export function useLicences(id: MaybeRefOrGetter<string>) {
  return useQuery({
    queryKey: ['evaluations', 'licences', id],
    queryFn: async ({ signal }) => unwrap(await api.GET(`${RUN}/licences`, { params: { path: { run_id: toValue(id) } }, signal })),
  });
}

export async function haveJudged(id: string, body: JudgingRequest, key: string): Promise<Evaluation> {
  return unwrap(await api.POST(`${RUN}/llm-judge`, { params: { path: { run_id: id } }, body, headers: { 'Idempotency-Key': key } }));
}

export function useRubrics(enabled: MaybeRefOrGetter<boolean> = true) {
  return useQuery({
    queryKey: ['reviews', 'rubrics'],
    queryFn: async ({ signal }) => unwrap(await api.GET('/llm-ops/v1/evaluation/rubrics', { signal })),
    enabled,
  });
}

export async function keepRubric(name: string, instructions: string, criteria: Criterion[]): Promise<KeptRubric> {
  const body = { name, instructions, criteria, reasonRequired: false };
  return unwrap(await api.POST('/llm-ops/v1/evaluation/rubrics', { body }));
}

export async function openReview(body: ReviewRequest, key: string): Promise<{ id: string }> {
  return unwrap(await api.POST('/llm-ops/v1/evaluation/reviews', { body, headers: { 'Idempotency-Key': key } }));
}

/** A criterion as the editor begins it. */
export function newCriterion(): Criterion {
  return { name: '', question: '', kind: 'scale', low: 1, high: 5, lowMeans: '', highMeans: '', scale: 'ordinal', tolerance: 1 };
}
