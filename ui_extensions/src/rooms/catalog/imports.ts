import { useMutation, useQuery, useQueryClient } from '@tanstack/vue-query';
import { type MaybeRefOrGetter, toValue } from 'vue';

import { api, unwrap, type Schema } from '../../api/client';
import { isActive } from '../../kit/status';

export type ModelImport = Schema<'ModelImport'>;
export type Evidence = Schema<'Evidence'>;

/** Where a new model's files come from; without a source they are uploaded later. */
export interface OriginInput {
  source: '' | 'huggingface' | 'directory';
  location: string;
  revision: string;
}

export async function importModel(body: Schema<'ImportBody'>, key: string): Promise<ModelImport> {
  return unwrap(await api.POST('/llm-ops/v1/catalog/models/import', { params: { header: { 'Idempotency-Key': key } }, body }));
}

/** The import of a version, or the conversion of its upload; null when its files came another way. */
export function useImport(id: MaybeRefOrGetter<string>) {
  const cache = useQueryClient();
  return useQuery({
    queryKey: ['model-import', id],
    queryFn: async ({ signal }) => {
      const path = { model_id: toValue(id) };
      const before = cache.getQueryData<ModelImport | null>(['model-import', toValue(id)]);
      const found = unwrap(await api.GET('/llm-ops/v1/catalog/models/{model_id}/import', { params: { path }, signal }));
      if (before && isActive(before.state.status) && !(found && isActive(found.state.status))) {
        await cache.invalidateQueries({ queryKey: ['models'] });
      }
      return found ?? null;
    },
    refetchInterval: ({ state }) => (state.data && isActive(state.data.state.status) ? 1_000 : false),
  });
}

/** What the airlock said about the files that the version has. */
export function useInspection(id: MaybeRefOrGetter<string>) {
  return useQuery({
    queryKey: ['models', 'inspection', id],
    queryFn: async ({ signal }) => {
      const path = { model_id: toValue(id) };
      const all = unwrap(await api.GET('/llm-ops/v1/catalog/models/{model_id}/evidence', { params: { path }, signal }));
      return all.find((entry) => entry.kind === 'airlock') ?? null;
    },
  });
}

export function useImportMoves(id: string) {
  const cache = useQueryClient();
  const path = { model_id: id };
  const onSettled = () => cache.invalidateQueries({ queryKey: ['model-import', id] });
  return {
    again: useMutation({
      mutationFn: async () => unwrap(await api.POST('/llm-ops/v1/catalog/models/{model_id}/import', { params: { path } })),
      onSettled,
    }),
    cancel: useMutation({
      mutationFn: async () => unwrap(await api.DELETE('/llm-ops/v1/catalog/models/{model_id}/import', { params: { path } })),
      onSettled,
    }),
  };
}
