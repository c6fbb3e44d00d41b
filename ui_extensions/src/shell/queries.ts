import { useQuery, type QueryClientConfig } from '@tanstack/vue-query';

import { api, ApiError, unwrap, type Schema } from '../api/client';

export type Session = Schema<'Me'>;

/** Client mistakes are not retried: the same request would fail the same way. */
export const queryClientConfig: QueryClientConfig = {
  defaultOptions: {
    queries: {
      staleTime: 2_000,
      retry: (failures, error) => failures < 2 && !(error instanceof ApiError && error.status < 500),
      retryDelay: (attempt) => Math.min(500 * 2 ** attempt, 4_000),
      refetchOnWindowFocus: true,
    },
  },
};

/** Who is signed in, as the API sees it. */
export function useSession() {
  return useQuery({
    queryKey: ['session'],
    queryFn: async ({ signal }) => unwrap(await api.GET('/llm-ops/v1/governance/me', { signal })),
    staleTime: 60_000,
  });
}

/** Whether the caller may do something. Unknown while loading is a no; the API decides in the end. */
export function useMay() {
  const session = useSession();
  return (permission: string): boolean => session.data.value?.permissions.includes(permission) ?? false;
}
