import { useQuery } from '@tanstack/vue-query';
import { type MaybeRefOrGetter, toValue } from 'vue';

import { api, unwrap, unwrapPage, type Schema } from '../../api/client';
import { useList } from '../../api/lists';
import { isActive } from '../../kit/status';

export type Evaluation = Schema<'Evaluation'>;
export type Generation = Schema<'Generation'>;
export type Score = Schema<'Score'>;
export type Sample = Schema<'Sample'>;
export type Comparison = Schema<'EvaluationComparison'>;
export type Recommendation = Schema<'Recommendation'>;
export type Batch = Schema<'EvaluationBatch'>;
export type BatchRequest = Schema<'EvaluationBatchCreate'>;

/** The metrics an automated evaluation can compute. */
export const DEFAULT_METRICS = ['exact_match', 'f1', 'bleu', 'perplexity'] as const;
export const METRICS = [
  ...DEFAULT_METRICS,
  'byte_perplexity',
  'chrf',
  'rouge1',
  'rouge2',
  'rougeL',
  'accuracy',
  'macro_f1',
  'micro_f1',
  'ner_f1',
  'answer_length',
  'refusal_rate',
] as const;
export const TOKENIZATIONS = ['words', 'characters'] as const;

export interface EvaluationFilters {
  status: string;
  modelId: string;
  datasetId: string;
  /** The runs that were requested together. */
  batchId?: string;
  runType?: string;
  /** Days, as `2026-01-31`: requested from the first on, and before the second. */
  startDate?: string;
  endDate?: string;
}

export function useEvaluations(filters: MaybeRefOrGetter<EvaluationFilters>) {
  return useList<Evaluation>({
    key: () => ['evaluations', { ...toValue(filters) }],
    fetch: async (cursor, signal) => {
      const { status, modelId, datasetId, batchId, runType, startDate, endDate } = toValue(filters);
      const query = {
        status: (status || undefined) as Evaluation['state']['status'] | undefined,
        modelId: modelId || undefined,
        datasetId: datasetId || undefined,
        batchId: batchId || undefined,
        runType: (runType || undefined) as Evaluation['runType'] | undefined,
        startDate: startDate ? `${startDate}T00:00:00Z` : undefined,
        endDate: endDate ? `${endDate}T00:00:00Z` : undefined,
        cursor,
      };
      return unwrapPage(await api.GET('/llm-ops/v1/evaluation/runs', { params: { query }, signal }));
    },
    refreshAfter: (items) => (items.some((run) => isActive(run.state.status)) ? 5_000 : false),
  });
}

/** One evaluation with all its samples. */
export async function fetchEvaluation(id: string, signal?: AbortSignal): Promise<Evaluation> {
  return unwrap(await api.GET('/llm-ops/v1/evaluation/runs/{run_id}', { params: { path: { run_id: id } }, signal }));
}

/** Have a failed evaluation tried again; what it was answered before is not asked again. */
export async function resumeEvaluation(id: string): Promise<Evaluation> {
  return unwrap(await api.POST('/llm-ops/v1/evaluation/runs/{run_id}/resume', { params: { path: { run_id: id } } }));
}

export function useEvaluation(id: MaybeRefOrGetter<string>) {
  return useQuery({
    queryKey: ['evaluations', 'one', id],
    queryFn: ({ signal }) => fetchEvaluation(toValue(id), signal),
    refetchInterval: ({ state }) => (isActive(state.data?.state.status) ? 1_500 : false),
  });
}

/** At most so many models are evaluated in one request. */
export const BATCHED_AT_MOST = 20;

/**
 * Evaluations of one model or several on one benchmark: all are requested, or none. A single one belongs to no batch,
 * and its answers may come from an endpoint.
 */
export async function createEvaluations(
  { modelIds, ...suite }: Omit<BatchRequest, 'runType'>,
  endpointId: string | null,
  plan: Pick<Schema<'EvaluationCreate'>, 'runType' | 'review' | 'judging'>,
  key: string,
): Promise<Pick<Batch, 'runs'> & { id?: string }> {
  const headers = { 'Idempotency-Key': key };
  const [modelId, ...others] = modelIds;
  if (modelId === undefined || others.length) {
    return unwrap(await api.POST('/llm-ops/v1/evaluation/runs/batch', { body: { ...suite, runType: 'automated', modelIds }, headers }));
  }
  return { runs: [unwrap(await api.POST('/llm-ops/v1/evaluation/runs', { body: { ...suite, ...plan, modelId, endpointId }, headers }))] };
}

/** At most so many runs are compared at once, the baseline included. */
export const COMPARED_AT_MOST = 20;

/** Every run but the first beside the first. */
export function useComparisons(ids: MaybeRefOrGetter<string[]>) {
  return useQuery({
    queryKey: ['evaluations', 'compare', ids],
    queryFn: async ({ signal }) =>
      unwrap(await api.GET('/llm-ops/v1/evaluation/runs/compare', { params: { query: { run: toValue(ids) } }, signal })),
    enabled: () => toValue(ids).length > 1,
  });
}

/** The finished evaluations of a model's versions on a benchmark, each beside the one before. */
export function useTrend(names: MaybeRefOrGetter<{ model: string; benchmark: string } | undefined>) {
  return useQuery({
    queryKey: ['evaluations', 'trend', names],
    queryFn: async ({ signal }) =>
      unwrap(
        await api.GET('/llm-ops/v1/evaluation/runs/trend', {
          params: { query: toValue(names) ?? { model: '', benchmark: '' } },
          signal,
        }),
      ),
    enabled: () => toValue(names) !== undefined,
  });
}

/** Where a run with all its samples is downloaded from. */
export function exportUrl(id: string, format: 'csv' | 'json'): string {
  return `/llm-ops/v1/evaluation/runs/${id}/export?format=${format}`;
}

/** Where the comparison of runs is downloaded from; the first is the baseline. */
export function comparisonUrl(ids: string[], format: 'csv' | 'json'): string {
  return `/llm-ops/v1/evaluation/runs/compare/export?runIds=${ids.join(',')}&format=${format}`;
}
