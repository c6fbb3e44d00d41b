import { useMutation, useQuery, useQueryClient } from '@tanstack/vue-query';
import { type MaybeRefOrGetter, toValue } from 'vue';

import { api, unwrap, type Schema } from '../../api/client';
import { isActive } from '../../kit/status';

export type Validation = Schema<'Validation'>;
export type Report = Schema<'ValidationReport'>;

/** The newest validation of a data set, followed while it runs. */
export function useValidation(id: MaybeRefOrGetter<string>) {
  return useQuery({
    queryKey: ['datasets', 'validation', id],
    queryFn: async ({ signal }) =>
      unwrap(
        await api.GET('/llm-ops/v1/catalog/datasets/{dataset_id}/validation', { params: { path: { dataset_id: toValue(id) } }, signal }),
      ),
    refetchInterval: ({ state }) => (isActive(state.data?.state.status) ? 1_500 : false),
  });
}

/** Ask for the data set to be checked again. */
export function useValidateAgain(id: MaybeRefOrGetter<string>) {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: async () =>
      unwrap(await api.POST('/llm-ops/v1/catalog/datasets/{dataset_id}/validation', { params: { path: { dataset_id: toValue(id) } } })),
    onSettled: () => cache.invalidateQueries({ queryKey: ['datasets'] }),
  });
}
