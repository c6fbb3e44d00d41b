import { keepPreviousData, useMutation, useQuery, useQueryClient } from '@tanstack/vue-query';
import { type MaybeRefOrGetter, toValue } from 'vue';

import { api, unwrap, unwrapPage, type Schema } from '../../api/client';
import { useList } from '../../api/lists';

export type Endpoint = Schema<'Endpoint'>;
export type Deployment = Schema<'Deployment'>;
export type DeployRequest = Schema<'Deploy'>;
export type ChangeRequest = Schema<'EndpointChange'>;
export type Parity = Schema<'Parity'>;
export type Backend = Awaited<ReturnType<typeof readBackends>>[number];

export interface EndpointFilters {
  environment: string;
  status: string;
  modelId: string;
  route: string;
}

export const ENVIRONMENTS = ['dev', 'stg', 'prod'] as const satisfies Endpoint['environment'][];
/** Where an endpoint must say how it is taken back. */
export const NEED_A_PLAN: ReadonlySet<string> = new Set(['stg', 'prod']);
export const ENDPOINT_STATUSES = ['deploying', 'healthy', 'degraded', 'failed', 'stopped'] as const satisfies Endpoint['status'][];

/** The address an application sends its messages to. */
export function chatPath(route: string): string {
  return `/llm-ops/v1/serve/${encodeURIComponent(route)}/chat`;
}

export function useEndpoints(filters: MaybeRefOrGetter<Partial<EndpointFilters>> = {}) {
  return useList<Endpoint>({
    key: () => ['endpoints', { ...toValue(filters) }],
    fetch: async (cursor, signal) => {
      const { environment, status, modelId, route } = toValue(filters);
      const query = {
        environment: (environment || undefined) as Endpoint['environment'] | undefined,
        status: (status || undefined) as Endpoint['status'] | undefined,
        modelId: modelId || undefined,
        routeContains: route || undefined,
        cursor,
      };
      return unwrapPage(await api.GET('/llm-ops/v1/serving/endpoints', { params: { query }, signal }));
    },
    refreshAfter: (items) => (items.some((endpoint) => endpoint.status === 'deploying') ? 2_000 : 10_000),
  });
}

export function useEndpoint(id: MaybeRefOrGetter<string>) {
  return useQuery({
    queryKey: ['endpoints', 'one', id],
    queryFn: async ({ signal }) =>
      unwrap(await api.GET('/llm-ops/v1/serving/endpoints/{endpoint_id}', { params: { path: { endpoint_id: toValue(id) } }, signal })),
    refetchInterval: ({ state }) => (state.data?.status === 'deploying' ? 1_500 : 10_000),
  });
}

export function useDeployments(id: MaybeRefOrGetter<string>) {
  return useList<Deployment>({
    key: () => ['endpoints', 'deployments', toValue(id)],
    fetch: async (cursor, signal) => {
      const params = { path: { endpoint_id: toValue(id) }, query: { cursor, limit: 20 } };
      return unwrapPage(await api.GET('/llm-ops/v1/serving/endpoints/{endpoint_id}/deployments', { params, signal }));
    },
    refreshAfter: (items) => (items.some((it) => ['queued', 'running'].includes(it.state.status)) ? 2_000 : 10_000),
  });
}

/** What an endpoint would ask for otherwise at `revision` than at `against`. */
export function useRevisionDiff(id: MaybeRefOrGetter<string>, revision: MaybeRefOrGetter<number>, against: MaybeRefOrGetter<number>) {
  return useQuery({
    queryKey: ['endpoints', 'diff', id, revision, against],
    queryFn: async ({ signal }) => {
      const params = { path: { endpoint_id: toValue(id), revision: toValue(revision) }, query: { against: toValue(against) } };
      return unwrap(await api.GET('/llm-ops/v1/serving/endpoints/{endpoint_id}/deployments/{revision}/diff', { params, signal }));
    },
  });
}

/** What was seen of an endpoint in the last hours. */
export function useHealthHistory(id: MaybeRefOrGetter<string>, hours: MaybeRefOrGetter<number>) {
  return useQuery({
    queryKey: ['endpoints', 'health', id, hours],
    queryFn: async ({ signal }) => {
      const since = new Date(Date.now() - toValue(hours) * 3_600_000).toISOString();
      const params = { path: { endpoint_id: toValue(id) }, query: { since } };
      return unwrap(await api.GET('/llm-ops/v1/serving/endpoints/{endpoint_id}/health-history', { params, signal }));
    },
    placeholderData: keepPreviousData,
    refetchInterval: 10_000,
  });
}

/** The end of the runtime's log; it is brought while somebody asks for it. */
export function useLogTail(id: MaybeRefOrGetter<string>, watching: MaybeRefOrGetter<boolean>) {
  return useQuery({
    queryKey: ['endpoints', 'log', id],
    enabled: () => toValue(watching),
    queryFn: async ({ signal }) =>
      unwrap(await api.GET('/llm-ops/v1/serving/endpoints/{endpoint_id}/logs', { params: { path: { endpoint_id: toValue(id) } }, signal })),
    refetchInterval: ({ state }) => (state.data?.available === false ? false : 2_000),
  });
}

/** Each environment that serves the endpoint's route, compared with the one below it. */
export function useParity(id: MaybeRefOrGetter<string>) {
  return useQuery({
    queryKey: ['endpoints', 'parity', id],
    queryFn: async ({ signal }) =>
      unwrap(await api.GET('/llm-ops/v1/serving/endpoints/{endpoint_id}/parity', { params: { path: { endpoint_id: toValue(id) } }, signal })),
  });
}

export function useDocumentParity(id: MaybeRefOrGetter<string>) {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: async (reasons: Record<string, string>) =>
      unwrap(await api.POST('/llm-ops/v1/serving/endpoints/{endpoint_id}/parity', { params: { path: { endpoint_id: toValue(id) } }, body: { reasons } })),
    onSuccess: () => cache.invalidateQueries({ queryKey: ['endpoints', 'parity'] }),
  });
}

/** What would keep a deployment from being made, while it is being written. */
export async function checkParity(body: DeployRequest): Promise<Parity> {
  return unwrap(await api.POST('/llm-ops/v1/serving/endpoints/parity', { body }));
}

async function readBackends(signal: AbortSignal) {
  return unwrap(await api.GET('/llm-ops/v1/serving/backends', { signal }));
}

export function useBackends() {
  return useQuery({
    queryKey: ['serving', 'backends'],
    queryFn: ({ signal }) => readBackends(signal),
    staleTime: 600_000,
  });
}

export function useRuntimeImages() {
  return useQuery({
    queryKey: ['serving', 'runtimes'],
    queryFn: async ({ signal }) => unwrap(await api.GET('/llm-ops/v1/serving/runtimes', { signal })),
    staleTime: 600_000,
  });
}

export async function changeEndpoint(id: string, body: Partial<ChangeRequest>): Promise<Endpoint> {
  const params = { path: { endpoint_id: id } };
  return unwrap(await api.PATCH('/llm-ops/v1/serving/endpoints/{endpoint_id}', { params, body: body as ChangeRequest }));
}

export async function deploy(body: DeployRequest, key: string): Promise<Endpoint> {
  return unwrap(await api.POST('/llm-ops/v1/serving/endpoints', { body, headers: { 'Idempotency-Key': key } }));
}

/** What can be done to an endpoint. `revision` is the one that was looked at: if it is another one by now, nothing is done. */
export type EndpointAction =
  | { kind: 'redeploy' | 'stop' | 'start'; revision: number; note: string }
  | { kind: 'rollback'; revision: number; to?: number; note: string }
  | { kind: 'delete' };

/** Roll an endpoint out again, take it back, stop it, or take it away. */
export function useEndpointAction(id: MaybeRefOrGetter<string>) {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: async (action: EndpointAction): Promise<Endpoint> => {
      const params = { path: { endpoint_id: toValue(id) } };
      if (action.kind === 'delete') return unwrap(await api.DELETE('/llm-ops/v1/serving/endpoints/{endpoint_id}', { params }));
      const { revision, note } = action;
      if (action.kind === 'rollback') {
        const body = { to: action.to ?? null, revision, note };
        return unwrap(await api.POST('/llm-ops/v1/serving/endpoints/{endpoint_id}/rollback', { params, body }));
      }
      if (action.kind === 'redeploy')
        return unwrap(await api.POST('/llm-ops/v1/serving/endpoints/{endpoint_id}/redeploy', { params, body: { revision, note, parityReasons: {} } }));
      return changeEndpoint(toValue(id), { status: action.kind === 'stop' ? 'stopped' : 'deploying', revision, note });
    },
    // What was deleted cannot be read again: the lists are only marked, and read anew when they are next shown.
    onSettled: (_data, _error, action) =>
      cache.invalidateQueries({ queryKey: ['endpoints'], refetchType: action.kind === 'delete' ? 'none' : 'active' }),
  });
}
