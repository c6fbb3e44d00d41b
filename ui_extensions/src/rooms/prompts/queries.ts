import { keepPreviousData, useMutation, useQuery } from '@tanstack/vue-query';
import { type MaybeRefOrGetter, toValue } from 'vue';

import { api, unwrap, unwrapPage, type Schema } from '../../api/client';
import { useList } from '../../api/lists';
import type { Version } from '../catalog/queries';

export type Prompt = Schema<'Prompt'>;
export type Content = Prompt['content'];
export type Message = Content['messages'][number];
export type Variable = Content['variables'][number];
export type Problem = Schema<'PromptProblem'>;
export type Preview = Schema<'PromptPreview'>;
export type RenderedMessage = Preview['messages'][number];
export type Difference = Schema<'PromptDifference'>;
export type Values = Record<string, unknown>;

export interface PromptFilters {
  name: string;
  ownerTeam: string;
  status: string;
}

export function usePrompts(filters: MaybeRefOrGetter<PromptFilters>) {
  return useList<Version>({
    key: () => ['prompts', { ...toValue(filters) }],
    fetch: async (cursor, signal) => {
      const { name, ownerTeam, status } = toValue(filters);
      const query = {
        name: name || undefined,
        ownerTeam: ownerTeam || undefined,
        status: (status || undefined) as Version['status'] | undefined,
        cursor,
      };
      return unwrapPage(await api.GET('/llm-ops/v1/prompts/templates', { params: { query }, signal }));
    },
  });
}

export async function readPrompt(id: string, signal?: AbortSignal): Promise<Prompt> {
  return unwrap(await api.GET('/llm-ops/v1/prompts/templates/{prompt_id}', { params: { path: { prompt_id: id } }, signal }));
}

export function usePrompt(id: MaybeRefOrGetter<string>) {
  const enabled = () => toValue(id) !== '';
  return useQuery({ queryKey: ['prompts', 'one', id], enabled, queryFn: ({ signal }) => readPrompt(toValue(id), signal) });
}

/** What the content being written would send, or where it is wrong. Asked again whenever it changes. */
export function usePreview(given: MaybeRefOrGetter<{ content: Content; values: Values }>) {
  return useQuery({
    queryKey: ['prompts', 'preview', given],
    enabled: () => toValue(given).content.messages.length > 0,
    placeholderData: keepPreviousData,
    retry: false,
    gcTime: 0,
    queryFn: async ({ signal }) => unwrap(await api.POST('/llm-ops/v1/prompts/templates/preview', { body: { ...toValue(given) }, signal })),
  });
}

export function useRender(id: MaybeRefOrGetter<string>) {
  return useMutation({
    mutationFn: async (values: Values) =>
      unwrap(
        await api.POST('/llm-ops/v1/prompts/templates/{prompt_id}/render', { params: { path: { prompt_id: toValue(id) } }, body: { values } }),
      ),
  });
}

export function useDifference(id: MaybeRefOrGetter<string>, other: MaybeRefOrGetter<string>) {
  return useQuery({
    queryKey: ['prompts', 'difference', id, other],
    enabled: () => toValue(other) !== '',
    queryFn: async ({ signal }) =>
      unwrap(
        await api.GET('/llm-ops/v1/prompts/templates/{prompt_id}/diff', {
          params: { path: { prompt_id: toValue(id) }, query: { with: toValue(other) } },
          signal,
        }),
      ),
  });
}

export interface NewPrompt {
  name: string;
  ownerTeam: string;
  changeLog: string;
  metadata: Record<string, unknown>;
  content: Content;
}

export async function createPrompt(body: NewPrompt, key: string): Promise<Prompt> {
  return unwrap(await api.POST('/llm-ops/v1/prompts/templates', { body, headers: { 'Idempotency-Key': key } }));
}

/** Write a draft again; refused when somebody else did so since `prompt` was read. */
export async function changePrompt(prompt: Prompt, change: Omit<NewPrompt, 'name' | 'ownerTeam'>): Promise<Prompt> {
  return unwrap(
    await api.PATCH('/llm-ops/v1/prompts/templates/{prompt_id}', {
      params: { path: { prompt_id: prompt.id } },
      body: { ...change, digest: prompt.digest },
    }),
  );
}
