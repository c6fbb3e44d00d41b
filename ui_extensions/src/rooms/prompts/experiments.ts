import { useMutation, useQuery, useQueryClient } from '@tanstack/vue-query';
import { computed, type MaybeRefOrGetter, toValue } from 'vue';

import { api, unwrap, unwrapPage, type Schema } from '../../api/client';
import { useList } from '../../api/lists';

export type Experiment = Schema<'Experiment'>;
export type Look = Schema<'Look'>;
export type Binding = Schema<'Binding'>;
export type GuardCheck = Schema<'GuardCheck'>;
export type NewExperiment = Schema<'ExperimentCreate'>;

export const STATES = ['draft', 'running', 'stopped', 'concluded'] as const satisfies Experiment['state'][];

export interface ExperimentFilters {
  name: string;
  route: string;
  state: string;
}

export function useExperiments(filters: MaybeRefOrGetter<ExperimentFilters>) {
  return useList<Experiment>({
    key: () => ['prompt-experiments', { ...toValue(filters) }],
    fetch: async (cursor, signal) => {
      const { name, route, state } = toValue(filters);
      const query = { name: name || undefined, route: route || undefined, state: (state || undefined) as Experiment['state'] | undefined, cursor };
      return unwrapPage(await api.GET('/llm-ops/v1/prompts/experiments', { params: { query }, signal }));
    },
    refreshAfter: (items) => (items.some((each) => each.state === 'running') ? 10_000 : false),
  });
}

const path = (id: MaybeRefOrGetter<string>) => ({ path: { experiment_id: toValue(id) } });

export function useExperiment(id: MaybeRefOrGetter<string>) {
  return useQuery({
    queryKey: ['prompt-experiments', 'one', id],
    enabled: () => toValue(id) !== '',
    queryFn: async ({ signal }) => unwrap(await api.GET('/llm-ops/v1/prompts/experiments/{experiment_id}', { params: path(id), signal })),
    refetchInterval: ({ state }) => (state.data?.state === 'running' ? 5_000 : false),
  });
}

/** What is known now; asked again while users come. */
export function useLook(id: MaybeRefOrGetter<string>, running: MaybeRefOrGetter<boolean>) {
  return useQuery({
    queryKey: ['prompt-experiments', 'look', id],
    queryFn: async ({ signal }) => unwrap(await api.GET('/llm-ops/v1/prompts/experiments/{experiment_id}/look', { params: path(id), signal })),
    // not a function: that is asked again at the next answer, and before the experiment runs there is none to come
    refetchInterval: computed(() => (toValue(running) ? 5_000 : false)),
  });
}

/** What was known when. */
export function useLooks(id: MaybeRefOrGetter<string>) {
  return useQuery({
    queryKey: ['prompt-experiments', 'looks', id],
    queryFn: async ({ signal }) => unwrap(await api.GET('/llm-ops/v1/prompts/experiments/{experiment_id}/looks', { params: path(id), signal })),
  });
}

export function useAllocations(id: MaybeRefOrGetter<string>, wanted: MaybeRefOrGetter<boolean>) {
  return useQuery({
    queryKey: ['prompt-experiments', 'allocations', id],
    enabled: () => toValue(wanted),
    queryFn: async ({ signal }) => unwrap(await api.GET('/llm-ops/v1/prompts/experiments/{experiment_id}/allocations', { params: path(id), signal })),
  });
}

export async function createExperiment(body: NewExperiment, key: string): Promise<Experiment> {
  return unwrap(await api.POST('/llm-ops/v1/prompts/experiments', { body, headers: { 'Idempotency-Key': key } }));
}

/** Start, stop and conclude; everything that is shown of experiments and bindings is read again. */
export function useMoves(id: MaybeRefOrGetter<string>) {
  const cache = useQueryClient();
  const onSettled = () => Promise.all([cache.invalidateQueries({ queryKey: ['prompt-experiments'] }), cache.invalidateQueries({ queryKey: ['prompt-bindings'] })]);
  const start = useMutation({
    mutationFn: async () => unwrap(await api.POST('/llm-ops/v1/prompts/experiments/{experiment_id}/start', { params: path(id) })),
    onSettled,
  });
  const stop = useMutation({
    mutationFn: async (reason: string) =>
      unwrap(await api.POST('/llm-ops/v1/prompts/experiments/{experiment_id}/stop', { params: path(id), body: { reason } })),
    onSettled,
  });
  const conclude = useMutation({
    mutationFn: async (body: { winner: string | null; notes: string }) =>
      unwrap(await api.POST('/llm-ops/v1/prompts/experiments/{experiment_id}/conclude', { params: path(id), body })),
    onSettled,
  });
  return { start, stop, conclude };
}

/** The routes that are bound to a version of this prompt. */
export function useBindings(name: MaybeRefOrGetter<string>) {
  return useQuery({
    queryKey: ['prompt-bindings', name],
    queryFn: async ({ signal }) => unwrap(await api.GET('/llm-ops/v1/prompts/bindings', { params: { query: { name: toValue(name) } }, signal })),
  });
}

export function useBinding() {
  const cache = useQueryClient();
  const onSettled = () => cache.invalidateQueries({ queryKey: ['prompt-bindings'] });
  const bind = useMutation({
    mutationFn: async ({ route, promptId, reason }: { route: string; promptId: string; reason: string }) =>
      unwrap(await api.PUT('/llm-ops/v1/serving/routes/{route}/prompt', { params: { path: { route } }, body: { promptId, reason } })),
    onSettled,
  });
  const unbind = useMutation({
    mutationFn: async (route: string) => unwrap(await api.DELETE('/llm-ops/v1/serving/routes/{route}/prompt', { params: { path: { route } } })),
    onSettled,
  });
  const rollBack = useMutation({
    mutationFn: async (route: string) =>
      unwrap(await api.POST('/llm-ops/v1/serving/routes/{route}/prompt/rollback', { params: { path: { route } }, body: { reason: '' } })),
    onSettled,
  });
  return { bind, unbind, rollBack };
}

/** One challenger's effect through the looks: users, the estimate, and the bounds of its interval. */
export interface Course {
  variant: string;
  points: { users: number; estimate: number | null; low: number; high: number }[];
}

/** How the effects of all challengers went, in the order of users; looks that found the same number of users count once, the last. */
export function coursesOf(looks: Look[]): Course[] {
  const byUsers = [...new Map(looks.map((look) => [look.users, look])).values()].sort((one, other) => one.users - other.users);
  const variants = [...new Set(byUsers.flatMap((look) => look.effects.map((effect) => effect.variant)))];
  return variants.map((variant) => ({
    variant,
    points: byUsers.flatMap((look) =>
      look.effects
        .filter((effect) => effect.variant === variant)
        .map(({ estimate, low, high }) => ({ users: look.users, estimate: estimate ?? null, low, high })),
    ),
  }));
}
