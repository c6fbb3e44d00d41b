import { useQuery } from '@tanstack/vue-query';
import { type MaybeRefOrGetter, toValue } from 'vue';

import { api, unwrap, type Schema } from '../../api/client';

export type Comparison = Schema<'FinishedComparison'>;
export type Diff = NonNullable<Comparison['result']>;
export const CHANGES = ['modified', 'added', 'removed'] as const;
export type Change = (typeof CHANGES)[number];

/** The key columns of `a, b`; none for an empty text. */
export function keyOf(text: string): string[] {
  return text.split(',').map((name) => name.trim()).filter((name) => name !== '');
}

/** What became of a column. */
export function schemaChange(column: Diff['columns'][number]): 'added' | 'removed' | 'retyped' | 'kept' {
  if (!column.olderType) return 'added';
  if (!column.newerType) return 'removed';
  return column.olderType === column.newerType ? 'kept' : 'retyped';
}

/** Asks for the comparison, which costs nothing when it was made before, and follows it until it is done. */
export function useComparison(newer: MaybeRefOrGetter<string>, older: MaybeRefOrGetter<string>, key: MaybeRefOrGetter<string[]>) {
  return useQuery({
    queryKey: ['datasets', 'comparison', newer, older, () => toValue(key)],
    enabled: () => toValue(older) !== '',
    retry: false,
    queryFn: async ({ signal }) => {
      const dataset_id = toValue(newer);
      const body = { withId: toValue(older), key: toValue(key) };
      const asked = unwrap(await api.POST('/llm-ops/v1/catalog/datasets/{dataset_id}/comparisons', { params: { path: { dataset_id } }, body, signal }));
      const path = { dataset_id, comparison_id: asked.id };
      return unwrap(await api.GET('/llm-ops/v1/catalog/datasets/{dataset_id}/comparisons/{comparison_id}', { params: { path }, signal }));
    },
    refetchInterval: ({ state }) => (state.data && ['queued', 'running'].includes(state.data.state.status) ? 1_500 : false),
  });
}
