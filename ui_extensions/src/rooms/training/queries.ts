import { type QueryKey, useMutation, useQuery, useQueryClient } from '@tanstack/vue-query';
import { type MaybeRefOrGetter, toValue } from 'vue';

import { api, unwrap, unwrapPage, type Schema } from '../../api/client';
import { useList } from '../../api/lists';
import { paced } from '../../kit/live';
import { isActive } from '../../kit/status';

export type Job = Schema<'Job'>;
export type JobType = Job['jobType'];
export type BaseJobType = Job['baseJobType'];
export type PriorityClass = Job['priorityClass'];
export type QueueEntry = Schema<'QueueEntry'>;
export type Metric = Schema<'Metric'>;
export type JobRequest = Schema<'JobSubmit'>;

export interface JobFilters {
  status: string;
  modelId: string;
}

/** Jobs that match, followed while one is not over; `live` while a stream tells of changes. */
export function useJobs(filters: MaybeRefOrGetter<JobFilters>, live: MaybeRefOrGetter<boolean> = false) {
  return useList<Job>({
    key: () => ['jobs', { ...toValue(filters) }],
    fetch: async (cursor, signal) => {
      const { status, modelId } = toValue(filters);
      const query = { status: (status || undefined) as Job['state']['status'] | undefined, modelId: modelId || undefined, cursor };
      return unwrapPage(await api.GET('/llm-ops/v1/training/jobs', { params: { query }, signal }));
    },
    refreshAfter: (items) => items.some((job) => isActive(job.state.status)) && paced(10_000, live),
  });
}

/** One job, followed while it is not over; `live` while a stream tells of changes. */
export function useJob(id: MaybeRefOrGetter<string>, live: MaybeRefOrGetter<boolean> = false) {
  return useQuery({
    queryKey: ['jobs', 'one', id],
    queryFn: async ({ signal }) =>
      unwrap(await api.GET('/llm-ops/v1/training/jobs/{job_id}', { params: { path: { job_id: toValue(id) } }, signal })),
    refetchInterval: ({ state }) => isActive(state.data?.state.status) && paced(1_500, live),
  });
}

export function useCancelJob() {
  return useMove(async (id: string) => unwrap(await api.DELETE('/llm-ops/v1/training/jobs/{job_id}', { params: { path: { job_id: id } } })));
}

export function useRetryJob() {
  return useMove(async (id: string) => unwrap(await api.POST('/llm-ops/v1/training/jobs/{job_id}/retry', { params: { path: { job_id: id } } })));
}

export function useChangePriority() {
  return useMove(async ({ id, priority }: { id: string; priority: PriorityClass }) =>
    unwrap(await api.POST('/llm-ops/v1/training/jobs/{job_id}/priority', { params: { path: { job_id: id } }, body: { priority } })),
  );
}

/** The queue, or one job's place in it while `active`; `live` while a stream tells of changes. */
export function useQueue(
  jobId?: MaybeRefOrGetter<string>,
  active: MaybeRefOrGetter<boolean> = true,
  live: MaybeRefOrGetter<boolean> = false,
) {
  return useQuery({
    queryKey: ['queue', jobId ?? 'all'],
    queryFn: async ({ signal }) => {
      const query = jobId === undefined ? { limit: 200 } : { jobId: toValue(jobId) };
      return unwrap(await api.GET('/llm-ops/v1/training/queue', { params: { query }, signal }));
    },
    enabled: () => toValue(active),
    refetchInterval: () => toValue(active) && paced(10_000, live),
  });
}

/** A change of one job, after which everything that shows jobs looks again. */
function useMove<Input>(mutationFn: (input: Input) => Promise<unknown>) {
  const cache = useQueryClient();
  return useMutation({
    mutationFn,
    onSettled: () => Promise.all([cache.invalidateQueries({ queryKey: ['jobs'] }), cache.invalidateQueries({ queryKey: ['queue'] })]),
  });
}

export async function submitJob(body: JobRequest, key: string): Promise<Job> {
  return unwrap(await api.POST('/llm-ops/v1/training/jobs', { body, headers: { 'Idempotency-Key': key } }));
}

/** Where changes of one job are told, or of the list of all. */
export function eventsUrl(id?: string): string {
  return `/llm-ops/v1/training/jobs/${id === undefined ? '' : `${id}/`}events`;
}

/** Every query about one job: what looks again when the job, its metrics or its log changed. */
export function keysOf(id: string): QueryKey[] {
  return [['jobs', 'one', id], ['queue', id], ['experiments', 'record', id], ['experiments', 'compared', [id]], ['logs', id]];
}
