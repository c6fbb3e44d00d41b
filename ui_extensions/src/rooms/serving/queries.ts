import { useMutation, useQuery, useQueryClient } from '@tanstack/vue-query';
import { type MaybeRefOrGetter, toValue } from 'vue';

import { api, unwrap, unwrapPage, type Schema } from '../../api/client';
import { useList } from '../../api/lists';

export type Endpoint = Schema<'Endpoint'>;
export type Deployment = Schema<'Deployment'>;
export type DeployRequest = Schema<'Deploy'>;

export interface EndpointFilters {
  environment: string;
  status: string;
}

export const ENVIRONMENTS = ['dev', 'stg', 'prod'] as const satisfies Endpoint['environment'][];
export const ENDPOINT_STATUSES = ['deploying', 'healthy', 'degraded', 'failed', 'stopped'] as const satisfies Endpoint['status'][];

/** The address an application sends its messages to. */
export function chatPath(route: string): string {
  return `/llm-ops/v1/serve/${encodeURIComponent(route)}/chat`;
}

export function useEndpoints(filters: MaybeRefOrGetter<EndpointFilters>) {
  return useList<Endpoint>({
    key: () => ['endpoints', { ...toValue(filters) }],
    fetch: async (cursor, signal) => {
      const { environment, status } = toValue(filters);
      const query = {
        environment: (environment || undefined) as Endpoint['environment'] | undefined,
        status: (status || undefined) as Endpoint['status'] | undefined,
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
  return useQuery({
    queryKey: ['endpoints', 'deployments', id],
    queryFn: async ({ signal }) =>
      unwrap(
        await api.GET('/llm-ops/v1/serving/endpoints/{endpoint_id}/deployments', { params: { path: { endpoint_id: toValue(id) } }, signal }),
      ),
    refetchInterval: ({ state }) => (state.data?.some((it) => ['queued', 'running'].includes(it.state.status)) ? 2_000 : false),
  });
}

export async function deploy(body: DeployRequest, key: string): Promise<Endpoint> {
  return unwrap(await api.POST('/llm-ops/v1/serving/endpoints', { body, headers: { 'Idempotency-Key': key } }));
}

export type EndpointAction = 'redeploy' | 'rollback' | 'delete';

/** Roll an endpoint out again, take it back, or take it away. */
export function useEndpointAction(id: MaybeRefOrGetter<string>) {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: async (action: EndpointAction): Promise<Endpoint> => {
      const params = { path: { endpoint_id: toValue(id) } };
      if (action === 'redeploy') return unwrap(await api.POST('/llm-ops/v1/serving/endpoints/{endpoint_id}/redeploy', { params }));
      if (action === 'rollback') return unwrap(await api.POST('/llm-ops/v1/serving/endpoints/{endpoint_id}/rollback', { params }));
      return unwrap(await api.DELETE('/llm-ops/v1/serving/endpoints/{endpoint_id}', { params }));
    },
    // What was deleted cannot be read again: the lists are only marked, and read anew when they are next shown.
    onSettled: (_data, _error, action) =>
      cache.invalidateQueries({ queryKey: ['endpoints'], refetchType: action === 'delete' ? 'none' : 'active' }),
  });
}
