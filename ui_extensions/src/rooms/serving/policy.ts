import { useMutation, useQuery, useQueryClient } from '@tanstack/vue-query';
import { type MaybeRefOrGetter, toValue } from 'vue';

import { api, unwrap, type Schema } from '../../api/client';

export type Policy = Schema<'RoutePolicy'>;
type Changes = Partial<Schema<'PolicyChange'>>;

/** What bounds a call by a number, with the least and the most of each. */
export const BOUNDS = {
  timeoutSeconds: { min: 0.1, max: 600 },
  maxPromptBytes: { min: 1, max: 4 * 1024 ** 2 },
  maxTokens: { min: 1, max: 1_000_000 },
  cacheSeconds: { min: 1, max: 86_400 },
} as const;
export type Bound = keyof typeof BOUNDS;

/** A policy as a form holds it: empty is without. */
export type PolicyForm = Record<Bound, string> & { fallbackRoute: string; maskInput: boolean; maskOutput: boolean };

export function formOf(policy: Policy): PolicyForm {
  const { fallbackRoute, timeoutSeconds, maxPromptBytes, maxTokens, cacheSeconds, maskInput, maskOutput } = policy;
  const text = (value: number | null | undefined) => String(value ?? '');
  return {
    fallbackRoute: fallbackRoute ?? '', timeoutSeconds: text(timeoutSeconds), maxPromptBytes: text(maxPromptBytes), maxTokens: text(maxTokens),
    cacheSeconds: text(cacheSeconds), maskInput, maskOutput,
  };
}

/** What the form asks for otherwise than the policy it began from; null takes a setting away. */
export function changesOf(was: Policy, form: PolicyForm): Changes {
  const number = (value: string | number) => (value === '' ? null : Number(value)); // what a field of numbers holds is a number once it is typed
  const wished = {
    fallbackRoute: form.fallbackRoute.trim() || null,
    timeoutSeconds: number(form.timeoutSeconds),
    maxPromptBytes: number(form.maxPromptBytes),
    maxTokens: number(form.maxTokens),
    cacheSeconds: number(form.cacheSeconds),
    maskInput: form.maskInput,
    maskOutput: form.maskOutput,
  };
  const before = was as Record<string, unknown>;
  return Object.fromEntries(Object.entries(wished).filter(([name, value]) => value !== (before[name] ?? null)));
}

/** How calls to a route are treated, whichever endpoint answers them. */
export function useRoutePolicy(route: MaybeRefOrGetter<string | undefined>) {
  return useQuery({
    queryKey: ['route-policy', route],
    enabled: () => toValue(route) !== undefined,
    queryFn: async ({ signal }) => {
      const params = { path: { route: toValue(route) ?? '' } };
      return unwrap(await api.GET('/llm-ops/v1/serving/routes/{route}/policy', { params, signal }));
    },
  });
}

export function useChangePolicy(route: MaybeRefOrGetter<string | undefined>) {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: async (changes: Changes) => {
      const params = { path: { route: toValue(route) ?? '' } };
      return unwrap(await api.PATCH('/llm-ops/v1/serving/routes/{route}/policy', { params, body: changes as Schema<'PolicyChange'> }));
    },
    onSettled: () => cache.invalidateQueries({ queryKey: ['route-policy'] }),
  });
}
