import { useQuery } from '@tanstack/vue-query';
import { type MaybeRefOrGetter, toValue } from 'vue';

import { api, unwrap, type Schema } from '../../api/client';

export type ProviderInput = Schema<'ProviderInput'>;
export type ConnectionReport = Schema<'ConnectionReport'>;

export const PROVIDERS = ['openai', 'ollama', 'openai_compatible'] as const satisfies ProviderInput['provider'][];

export interface ProviderForm {
  provider: ProviderInput['provider'];
  modelName: string;
  endpoint: string;
  apiKey: string;
  organisation: string;
}

export function emptyProvider(): ProviderForm {
  return { provider: 'openai', modelName: '', endpoint: '', apiKey: '', organisation: '' };
}

/** The form of a version's provider, to change it for the next one; its key stays where it is and is asked for again. */
export function providerOf(metadata: Record<string, unknown>): ProviderForm {
  const given = (metadata['provider'] ?? {}) as Partial<Record<keyof ProviderForm, string | null>>;
  const known = Object.entries(given).filter(([name, value]) => name in emptyProvider() && value);
  return { ...emptyProvider(), ...Object.fromEntries(known) };
}

/** The form as the API takes it; what was left empty is not sent. */
export function providerInput(form: ProviderForm): ProviderInput {
  return {
    provider: form.provider,
    modelName: form.modelName.trim(),
    endpoint: form.endpoint.trim() || null,
    apiKey: form.apiKey.trim() || null,
    organisation: form.provider === 'openai' ? form.organisation.trim() || null : null,
  };
}

export function useProvider(id: MaybeRefOrGetter<string>) {
  return useQuery({
    queryKey: ['models', 'provider', id],
    queryFn: async ({ signal }) =>
      unwrap(await api.GET('/llm-ops/v1/catalog/models/{model_id}/provider', { params: { path: { model_id: toValue(id) } }, signal })),
  });
}

export async function replaceKey(id: string, apiKey: string) {
  return unwrap(await api.PUT('/llm-ops/v1/catalog/models/{model_id}/provider/key', { params: { path: { model_id: id } }, body: { apiKey } }));
}

export async function testConnection(id: string): Promise<ConnectionReport> {
  return unwrap(await api.POST('/llm-ops/v1/catalog/models/{model_id}/test-connection', { params: { path: { model_id: id } } }));
}
