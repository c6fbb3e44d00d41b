import { keepPreviousData, useMutation, useQuery, useQueryClient } from '@tanstack/vue-query';
import { computed, type MaybeRefOrGetter, toValue } from 'vue';

import { api, idempotencyKey, unwrap, unwrapPage, type Schema } from '../../api/client';
import { useList } from '../../api/lists';

export type Version = Schema<'Version'>;
export type Kind = Version['kind'];
export type Decision = 'approve' | 'reject' | 'request_changes';
export type LineageGraph = Schema<'Graph'>;
export type Impact = Schema<'Impact'>;
export type Preview = Schema<'Preview'>;

const PATHS = { dataset: 'datasets', model: 'models', prompt: 'prompts' } as const;

/** An empty filter is no filter. */
function given(value: string): string | undefined {
  return value === '' ? undefined : value;
}

export interface DatasetFilters {
  name: string;
  version: string;
  ownerTeam: string;
  piiStatus: string;
  status: string;
  minQuality: string;
  maxQuality: string;
}

export function useDatasets(filters: MaybeRefOrGetter<DatasetFilters>) {
  return useList<Version>({
    key: () => ['datasets', { ...toValue(filters) }],
    fetch: async (cursor, signal) => {
      const chosen = toValue(filters);
      const query = {
        name: given(chosen.name),
        version: given(chosen.version),
        ownerTeam: given(chosen.ownerTeam),
        piiStatus: given(chosen.piiStatus) as Version['piiStatus'] & string,
        status: given(chosen.status) as Version['status'],
        minQuality: chosen.minQuality === '' ? undefined : Number(chosen.minQuality),
        maxQuality: chosen.maxQuality === '' ? undefined : Number(chosen.maxQuality),
        cursor,
      };
      return unwrapPage(await api.GET('/llm-ops/v1/catalog/datasets', { params: { query }, signal }));
    },
    refreshAfter: (items) => (items.some((item) => item.piiStatus === 'pending' && item.digest) ? 5_000 : false),
  });
}

export interface ModelFilters {
  name: string;
  type: string;
  ownerTeam: string;
  status: string;
}

export function useModels(filters: MaybeRefOrGetter<ModelFilters>) {
  return useList<Version>({
    key: () => ['models', { ...toValue(filters) }],
    fetch: async (cursor, signal) => {
      const chosen = toValue(filters);
      const query = {
        name: given(chosen.name),
        type: given(chosen.type) as Version['type'] & string,
        ownerTeam: given(chosen.ownerTeam),
        status: given(chosen.status) as Version['status'],
        cursor,
      };
      return unwrapPage(await api.GET('/llm-ops/v1/catalog/models', { params: { query }, signal }));
    },
  });
}

/** Every version of a kind that a form may offer, newest first, at most 500. */
export function useChoices(kind: Kind, status?: Version['status']) {
  return useQuery({
    queryKey: [PATHS[kind], 'choices', status ?? 'any'],
    queryFn: async ({ signal }) => {
      const query = { status, limit: 500 };
      if (kind === 'prompt') return unwrap(await api.GET('/llm-ops/v1/prompts/templates', { params: { query }, signal }));
      return kind === 'dataset'
        ? unwrap(await api.GET('/llm-ops/v1/catalog/datasets', { params: { query }, signal }))
        : unwrap(await api.GET('/llm-ops/v1/catalog/models', { params: { query }, signal }));
    },
  });
}

/** One version, to begin its successor from. */
export async function readVersion(kind: 'dataset' | 'model', id: string): Promise<Version> {
  return kind === 'dataset'
    ? unwrap(await api.GET('/llm-ops/v1/catalog/datasets/{dataset_id}', { params: { path: { dataset_id: id } } }))
    : unwrap(await api.GET('/llm-ops/v1/catalog/models/{model_id}', { params: { path: { model_id: id } } }));
}

/** The number that follows the highest of a name's versions; empty when they are not numbers. */
export async function versionAfter(kind: 'dataset' | 'model', id: string): Promise<string> {
  const all =
    kind === 'dataset'
      ? unwrap(await api.GET('/llm-ops/v1/catalog/datasets/{dataset_id}/versions', { params: { path: { dataset_id: id } } }))
      : unwrap(await api.GET('/llm-ops/v1/catalog/models/{model_id}/versions', { params: { path: { model_id: id } } }));
  const numbers = all.map((other) => other.version).filter((version) => /^\d+$/.test(version));
  return numbers.length ? String(Math.max(...numbers.map(Number)) + 1) : '';
}

/** Names for ids: jobs and evaluations name the versions they used by id. */
export function useVersionNames() {
  const datasets = useChoices('dataset');
  const models = useChoices('model');
  const names = computed(() => {
    const all = [...(datasets.data.value ?? []), ...(models.data.value ?? [])];
    return new Map(all.map((version) => [version.id, `${version.name} ${version.version}`]));
  });
  return (id: string | null | undefined) => (id ? (names.value.get(id) ?? id.slice(0, 8)) : '—');
}

export function useVersion(kind: Kind, id: MaybeRefOrGetter<string>, enabled: MaybeRefOrGetter<boolean> = true) {
  return useQuery({
    enabled,
    queryKey: [PATHS[kind], 'one', id],
    queryFn: async ({ signal }) => {
      const value = toValue(id);
      if (kind === 'prompt') return unwrap(await api.GET('/llm-ops/v1/prompts/templates/{prompt_id}', { params: { path: { prompt_id: value } }, signal }));
      return kind === 'dataset'
        ? unwrap(await api.GET('/llm-ops/v1/catalog/datasets/{dataset_id}', { params: { path: { dataset_id: value } }, signal }))
        : unwrap(await api.GET('/llm-ops/v1/catalog/models/{model_id}', { params: { path: { model_id: value } }, signal }));
    },
    refetchInterval: ({ state }) => (state.data?.piiStatus === 'pending' && state.data.digest ? 2_000 : false),
  });
}

/** Every version of the same name, newest first. */
export function useHistory(kind: Kind, id: MaybeRefOrGetter<string>) {
  return useQuery({
    queryKey: [PATHS[kind], 'history', id],
    queryFn: async ({ signal }) => {
      const value = toValue(id);
      if (kind === 'prompt') {
        return unwrap(await api.GET('/llm-ops/v1/prompts/templates/{prompt_id}/versions', { params: { path: { prompt_id: value } }, signal }));
      }
      return kind === 'dataset'
        ? unwrap(await api.GET('/llm-ops/v1/catalog/datasets/{dataset_id}/versions', { params: { path: { dataset_id: value } }, signal }))
        : unwrap(await api.GET('/llm-ops/v1/catalog/models/{model_id}/versions', { params: { path: { model_id: value } }, signal }));
    },
  });
}

/** The decisions about a version, newest first. */
export function useApprovals(kind: Kind, id: MaybeRefOrGetter<string>) {
  return useQuery({
    queryKey: [PATHS[kind], 'approvals', id],
    queryFn: async ({ signal }) => {
      const value = toValue(id);
      if (kind === 'prompt') {
        return unwrap(await api.GET('/llm-ops/v1/prompts/templates/{prompt_id}/approvals', { params: { path: { prompt_id: value } }, signal }));
      }
      return kind === 'dataset'
        ? unwrap(await api.GET('/llm-ops/v1/catalog/datasets/{dataset_id}/approvals', { params: { path: { dataset_id: value } }, signal }))
        : unwrap(await api.GET('/llm-ops/v1/catalog/models/{model_id}/approvals', { params: { path: { model_id: value } }, signal }));
    },
  });
}

export function usePreview(
  id: MaybeRefOrGetter<string>,
  offset: MaybeRefOrGetter<number>,
  limit: number,
  enabled: MaybeRefOrGetter<boolean>,
) {
  return useQuery({
    queryKey: ['datasets', 'preview', id, offset, limit],
    enabled: () => toValue(enabled),
    placeholderData: keepPreviousData,
    queryFn: async ({ signal }) =>
      unwrap(
        await api.GET('/llm-ops/v1/catalog/datasets/{dataset_id}/preview', {
          params: { path: { dataset_id: toValue(id) }, query: { offset: toValue(offset), limit } },
          signal,
        }),
      ),
  });
}

export function useLineage(kind: Kind, id: MaybeRefOrGetter<string>) {
  return useQuery({
    queryKey: ['lineage', kind, id],
    queryFn: async ({ signal }) =>
      unwrap(
        await api.GET('/llm-ops/v1/catalog/lineage/{kind}/{version_id}', {
          params: { path: { kind, version_id: toValue(id) }, query: { direction: 'both' } },
          signal,
        }),
      ),
  });
}

export interface NewDataset {
  name: string;
  version: string;
  ownerTeam: string;
  changeLog: string;
  metadata: Record<string, unknown>;
  schema?: Schema<'ExpectedSchema'> | null;
  benchmark: boolean;
}

/** Creating a thing and uploading its files may be repeated after a failure: the key stays the same for one form. */
export async function createDataset(body: NewDataset, key: string): Promise<Version> {
  return unwrap(await api.POST('/llm-ops/v1/catalog/datasets', { body, headers: { 'Idempotency-Key': key } }));
}

export interface NewModel {
  name: string;
  version: string;
  type: NonNullable<Version['type']>;
  ownerTeam: string;
  metadata: Record<string, unknown>;
  lineage?: { datasetIds: string[] };
  provider?: Schema<'ProviderInput'>;
}

export async function createModel(body: NewModel, key: string): Promise<Version> {
  return unwrap(await api.POST('/llm-ops/v1/catalog/models', { body, headers: { 'Idempotency-Key': key } }));
}

/** The generated card of a model (Markdown), empty when it has none. */
export function useCard(id: MaybeRefOrGetter<string>) {
  return useQuery({
    queryKey: ['models', 'card', id],
    queryFn: async ({ signal }) =>
      unwrap(await api.GET('/llm-ops/v1/catalog/models/{model_id}/card', { params: { path: { model_id: toValue(id) } }, signal })),
  });
}

/** Replace the card of a draft: what is not given is gone. */
export function useChangeCard(id: MaybeRefOrGetter<string>) {
  return useChange(async (metadata: Record<string, unknown>) =>
    unwrap(await api.PATCH('/llm-ops/v1/catalog/models/{model_id}', { params: { path: { model_id: toValue(id) } }, body: { metadata } })),
  );
}

/** Hand a draft in for review. */
export function useSubmitForReview(kind: Kind, id: MaybeRefOrGetter<string>) {
  return useChange(async () => {
    const value = toValue(id);
    if (kind === 'prompt') return unwrap(await api.POST('/llm-ops/v1/prompts/templates/{prompt_id}/submit', { params: { path: { prompt_id: value } } }));
    return kind === 'dataset'
      ? unwrap(await api.POST('/llm-ops/v1/catalog/datasets/{dataset_id}/submit', { params: { path: { dataset_id: value } } }))
      : unwrap(await api.POST('/llm-ops/v1/catalog/models/{model_id}/submit', { params: { path: { model_id: value } } }));
  });
}

/** Decide about exactly the files that are on the screen: their digest goes along. */
export function useDecide(kind: Kind) {
  return useChange(async (given: { version: Version; decision: Decision; notes: string }) => {
    const { version, decision, notes } = given;
    const body = { decision, notes, digest: version.digest };
    if (kind === 'prompt') {
      const path = { prompt_id: version.id, version: version.version };
      return unwrap(await api.POST('/llm-ops/v1/prompts/templates/{prompt_id}/versions/{version}/approve', { params: { path }, body }));
    }
    return kind === 'dataset'
      ? unwrap(
          await api.POST('/llm-ops/v1/catalog/datasets/{dataset_id}/versions/{version}/approve', {
            params: { path: { dataset_id: version.id, version: version.version } },
            body,
          }),
        )
      : unwrap(
          await api.POST('/llm-ops/v1/catalog/models/{model_id}/versions/{version}/approve', {
            params: { path: { model_id: version.id, version: version.version } },
            body,
          }),
        );
  });
}

/** Say what changed in a draft of a data set, or replace its metadata; what is not given stays. */
export function useDescribe(id: MaybeRefOrGetter<string>) {
  return useChange(async (body: { changeLog?: string; metadata?: Record<string, unknown> }) =>
    unwrap(await api.PATCH('/llm-ops/v1/catalog/datasets/{dataset_id}', { params: { path: { dataset_id: toValue(id) } }, body })),
  );
}

/** Move a version to another state: back to a draft, or out of use with a reason. */
export function useChangeStatus(kind: Kind, id: MaybeRefOrGetter<string>) {
  return useChange(async (body: { status: 'draft' | 'deprecated'; notes: string }) => {
    const value = toValue(id);
    if (kind === 'prompt') {
      return unwrap(await api.PATCH('/llm-ops/v1/prompts/templates/{prompt_id}/status', { params: { path: { prompt_id: value } }, body }));
    }
    return kind === 'dataset'
      ? unwrap(await api.PATCH('/llm-ops/v1/catalog/datasets/{dataset_id}/status', { params: { path: { dataset_id: value } }, body }))
      : unwrap(await api.PATCH('/llm-ops/v1/catalog/models/{model_id}/status', { params: { path: { model_id: value } }, body }));
  });
}

/** Make another approved version of the same name the current one. */
export function useRollback(kind: Kind, id: MaybeRefOrGetter<string>) {
  return useChange(async (toVersion: string) => {
    const [value, body] = [toValue(id), { toVersion, notes: '' }];
    if (kind === 'prompt') {
      return unwrap(await api.POST('/llm-ops/v1/prompts/templates/{prompt_id}/rollback', { params: { path: { prompt_id: value } }, body }));
    }
    return kind === 'dataset'
      ? unwrap(await api.POST('/llm-ops/v1/catalog/datasets/{dataset_id}/rollback', { params: { path: { dataset_id: value } }, body }))
      : unwrap(await api.POST('/llm-ops/v1/catalog/models/{model_id}/rollback', { params: { path: { model_id: value } }, body }));
  });
}

/** The version of a name that is in use: of the approved ones that no recall holds, the last published. */
export function currentOf(versions: Version[]): Version | undefined {
  const usable = versions.filter((version) => version.status === 'approved' && !version.quarantinedAt);
  return usable.reduce<Version | undefined>((best, version) => (published(version) > published(best) ? version : best), undefined);
}

function published(version: Version | undefined): string {
  return version ? (version.publishedAt ?? version.createdAt) : '';
}

/** Everything that came from a version. */
export function useImpact(kind: Kind, id: MaybeRefOrGetter<string>) {
  return useQuery({
    queryKey: ['lineage', 'impact', kind, id],
    queryFn: async ({ signal }) => {
      const value = toValue(id);
      if (kind === 'prompt') {
        return unwrap(await api.GET('/llm-ops/v1/prompts/templates/{prompt_id}/impact', { params: { path: { prompt_id: value } }, signal }));
      }
      return kind === 'dataset'
        ? unwrap(await api.GET('/llm-ops/v1/catalog/datasets/{dataset_id}/impact', { params: { path: { dataset_id: value } }, signal }))
        : unwrap(await api.GET('/llm-ops/v1/catalog/models/{model_id}/impact', { params: { path: { model_id: value } }, signal }));
    },
  });
}

export function useRecall(kind: Kind, id: MaybeRefOrGetter<string>) {
  return useChange(async (reason: string) => {
    const [value, body] = [toValue(id), { reason, dryRun: false }];
    if (kind === 'prompt') return unwrap(await api.POST('/llm-ops/v1/prompts/templates/{prompt_id}/recall', { params: { path: { prompt_id: value } }, body }));
    return kind === 'dataset'
      ? unwrap(await api.POST('/llm-ops/v1/catalog/datasets/{dataset_id}/recall', { params: { path: { dataset_id: value } }, body }))
      : unwrap(await api.POST('/llm-ops/v1/catalog/models/{model_id}/recall', { params: { path: { model_id: value } }, body }));
  });
}

export function useLift(kind: Kind, id: MaybeRefOrGetter<string>) {
  return useChange(async (notes: string) => {
    const [value, body] = [toValue(id), { notes }];
    if (kind === 'prompt') {
      return unwrap(await api.POST('/llm-ops/v1/prompts/templates/{prompt_id}/recall/lift', { params: { path: { prompt_id: value } }, body }));
    }
    return kind === 'dataset'
      ? unwrap(await api.POST('/llm-ops/v1/catalog/datasets/{dataset_id}/recall/lift', { params: { path: { dataset_id: value } }, body }))
      : unwrap(await api.POST('/llm-ops/v1/catalog/models/{model_id}/recall/lift', { params: { path: { model_id: value } }, body }));
  });
}

/** What stands in the way of deleting a version; asked when the dialog opens. */
export function useBlockers(kind: Kind, id: MaybeRefOrGetter<string>, enabled: MaybeRefOrGetter<boolean>) {
  return useQuery({
    queryKey: [PATHS[kind], 'blockers', id],
    enabled: () => toValue(enabled),
    staleTime: 0,
    queryFn: async ({ signal }) => {
      const value = toValue(id);
      if (kind === 'prompt') {
        return unwrap(await api.GET('/llm-ops/v1/prompts/templates/{prompt_id}/blockers', { params: { path: { prompt_id: value } }, signal }));
      }
      return kind === 'dataset'
        ? unwrap(await api.GET('/llm-ops/v1/catalog/datasets/{dataset_id}/blockers', { params: { path: { dataset_id: value } }, signal }))
        : unwrap(await api.GET('/llm-ops/v1/catalog/models/{model_id}/blockers', { params: { path: { model_id: value } }, signal }));
    },
  });
}

export async function deleteVersion(kind: Kind, id: string): Promise<Version> {
  if (kind === 'prompt') return unwrap(await api.DELETE('/llm-ops/v1/prompts/templates/{prompt_id}', { params: { path: { prompt_id: id } } }));
  return kind === 'dataset'
    ? unwrap(await api.DELETE('/llm-ops/v1/catalog/datasets/{dataset_id}', { params: { path: { dataset_id: id } } }))
    : unwrap(await api.DELETE('/llm-ops/v1/catalog/models/{model_id}', { params: { path: { model_id: id } } }));
}

function useChange<Given, Made = Version>(change: (given: Given) => Promise<Made>) {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: change,
    onSettled: () =>
      Promise.all([['datasets'], ['models'], ['prompts'], ['lineage']].map((queryKey) => cache.invalidateQueries({ queryKey }))),
  });
}

export { idempotencyKey };
