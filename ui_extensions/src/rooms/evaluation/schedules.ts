import { useMutation, useQuery, useQueryClient } from '@tanstack/vue-query';

import { api, unwrap, type Schema } from '../../api/client';

export type Schedule = Schema<'Schedule'>;
export type ScheduleRequest = Schema<'ScheduleCreate'>;

/** Evaluations at set times, the next one first. */
export function useSchedules() {
  return useQuery({
    queryKey: ['schedules'],
    queryFn: async ({ signal }) => unwrap(await api.GET('/llm-ops/v1/evaluation/schedules', { signal })),
    refetchInterval: 30_000,
  });
}

export async function createSchedule(body: ScheduleRequest, key: string): Promise<Schedule> {
  return unwrap(await api.POST('/llm-ops/v1/evaluation/schedules', { body, headers: { 'Idempotency-Key': key } }));
}

export function usePauseSchedule() {
  return useMove(async ({ id, paused }: { id: string; paused: boolean }) =>
    unwrap(await api.PATCH('/llm-ops/v1/evaluation/schedules/{schedule_id}', { params: { path: { schedule_id: id } }, body: { paused } })),
  );
}

export function useDeleteSchedule() {
  return useMove(async (id: string) =>
    unwrap(await api.DELETE('/llm-ops/v1/evaluation/schedules/{schedule_id}', { params: { path: { schedule_id: id } } })),
  );
}

function useMove<Input>(mutationFn: (input: Input) => Promise<unknown>) {
  const cache = useQueryClient();
  return useMutation({ mutationFn, onSettled: () => cache.invalidateQueries({ queryKey: ['schedules'] }) });
}
