import { useMutation, useQuery, useQueryClient } from '@tanstack/vue-query';
import { type MaybeRefOrGetter, toValue } from 'vue';

import { api, unwrap, unwrapPage, type Schema } from '../../api/client';
import { useList } from '../../api/lists';

export type Spending = Schema<'Spending'>;
export type Standing = Schema<'BudgetStanding'>;
export type TeamLimits = Schema<'TeamLimits'>;
export type Price = Schema<'Price'>;
export type ApiKey = Schema<'ApiKey'>;
export type IssuedKey = Schema<'IssuedKey'>;

export const DIMENSIONS = ['team', 'route', 'model'] as const;
export type Dimension = (typeof DIMENSIONS)[number];

export interface SpendingFilters {
  team: string;
  route: string;
  model: string;
  /** Days, as `2026-01-31`: from the first on, and before the second. */
  since: string;
  until: string;
}

/** Sums of calls, tokens and money by day and by team, route and model. */
export function useSpending(filters: MaybeRefOrGetter<SpendingFilters>) {
  return useQuery({
    queryKey: ['spending', filters],
    queryFn: async ({ signal }) => {
      const { team, route, model, since, until } = toValue(filters);
      const query = {
        team: team || undefined,
        route: route || undefined,
        model: model || undefined,
        since: since ? `${since}T00:00:00Z` : undefined,
        until: until ? `${until}T00:00:00Z` : undefined,
      };
      return unwrap(await api.GET('/llm-ops/v1/cost/usage', { params: { query }, signal }));
    },
    placeholderData: (previous) => previous,
    refetchInterval: 15_000,
  });
}

export function useBudgets() {
  return useQuery({
    queryKey: ['budgets'],
    queryFn: async ({ signal }) => unwrap(await api.GET('/llm-ops/v1/governance/budgets', { signal })),
    refetchInterval: 15_000,
  });
}

export function useTeamLimits() {
  return useQuery({
    queryKey: ['team-limits'],
    queryFn: async ({ signal }) => unwrap(await api.GET('/llm-ops/v1/governance/team-limits', { signal })),
  });
}

export function usePrices() {
  return useQuery({
    queryKey: ['prices'],
    queryFn: async ({ signal }) => unwrap(await api.GET('/llm-ops/v1/cost/prices', { signal })),
  });
}

export function useKeys() {
  return useList<ApiKey>({
    key: ['api-keys'],
    fetch: async (cursor, signal) => unwrapPage(await api.GET('/llm-ops/v1/governance/api-keys', { params: { query: { cursor } }, signal })),
  });
}

export function useDeclareBudget() {
  return useMove('budgets', async (body: Schema<'BudgetCreate'>) => unwrap(await api.POST('/llm-ops/v1/governance/budgets', { body })));
}

export function useWithdrawBudget() {
  return useMove('budgets', async (id: string) =>
    unwrap(await api.DELETE('/llm-ops/v1/governance/budgets/{budget_id}', { params: { path: { budget_id: id } } })),
  );
}

/** Set what a team may take in a minute; an empty body lifts its limits. */
export function useLimitTeam() {
  return useMove('team-limits', async ({ team, body }: { team: string; body: Schema<'LimitsInput'> }) =>
    unwrap(await api.PUT('/llm-ops/v1/governance/team-limits/{team}', { params: { path: { team } }, body })),
  );
}

export function useDeclarePrice() {
  return useMove('prices', async (body: Schema<'PriceCreate'>) => unwrap(await api.POST('/llm-ops/v1/cost/prices', { body })));
}

export function useIssueKey() {
  return useMove('api-keys', async ({ body, key }: { body: Schema<'KeyCreate'>; key: string }) =>
    unwrap(await api.POST('/llm-ops/v1/governance/api-keys', { body, headers: { 'Idempotency-Key': key } })),
  );
}

export function useRevokeKey() {
  return useMove('api-keys', async (id: string) =>
    unwrap(await api.DELETE('/llm-ops/v1/governance/api-keys/{key_id}', { params: { path: { key_id: id } } })),
  );
}

function useMove<Input, Output>(changed: string, mutationFn: (input: Input) => Promise<Output>) {
  const cache = useQueryClient();
  return useMutation({ mutationFn, onSettled: () => cache.invalidateQueries({ queryKey: [changed] }) });
}
