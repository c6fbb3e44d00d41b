import { useMutation, useQuery, useQueryClient } from '@tanstack/vue-query';
import { type MaybeRefOrGetter, toValue } from 'vue';

import { api, unwrap, unwrapPage, type Schema } from '../../api/client';
import { useList } from '../../api/lists';
import { isActive } from '../../kit/status';

export type Job = Schema<'Job'>;
export type JobType = Job['jobType'];
export type Metric = Schema<'Metric'>;
export type JobRequest = Schema<'JobSubmit'>;

export interface JobFilters {
  status: string;
  modelId: string;
}

export function useJobs(filters: MaybeRefOrGetter<JobFilters>) {
  return useList<Job>({
    key: () => ['jobs', { ...toValue(filters) }],
    fetch: async (cursor, signal) => {
      const { status, modelId } = toValue(filters);
      const query = { status: (status || undefined) as Job['state']['status'] | undefined, modelId: modelId || undefined, cursor };
      return unwrapPage(await api.GET('/llm-ops/v1/training/jobs', { params: { query }, signal }));
    },
    refreshAfter: (items) => (items.some((job) => isActive(job.state.status)) ? 10_000 : false),
  });
}

export function useJob(id: MaybeRefOrGetter<string>) {
  return useQuery({
    queryKey: ['jobs', 'one', id],
    queryFn: async ({ signal }) =>
      unwrap(await api.GET('/llm-ops/v1/training/jobs/{job_id}', { params: { path: { job_id: toValue(id) } }, signal })),
    refetchInterval: ({ state }) => (isActive(state.data?.state.status) ? 1_500 : false),
  });
}

/** What a job measured so far, followed while `active`. */
export function useExperiment(id: MaybeRefOrGetter<string>, active: MaybeRefOrGetter<boolean>) {
  return useQuery({
    queryKey: ['experiments', id],
    queryFn: async ({ signal }) =>
      unwrap(await api.GET('/llm-ops/v1/training/experiments/{job_id}', { params: { path: { job_id: toValue(id) } }, signal })),
    refetchInterval: () => (toValue(active) ? 1_500 : false),
  });
}

export function useCancelJob() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: async (id: string) => unwrap(await api.DELETE('/llm-ops/v1/training/jobs/{job_id}', { params: { path: { job_id: id } } })),
    onSettled: () => cache.invalidateQueries({ queryKey: ['jobs'] }),
  });
}

export async function submitJob(body: JobRequest, key: string): Promise<Job> {
  return unwrap(await api.POST('/llm-ops/v1/training/jobs', { body, headers: { 'Idempotency-Key': key } }));
}
