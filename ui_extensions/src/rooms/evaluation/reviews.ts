import { useQuery } from '@tanstack/vue-query';
import { type MaybeRefOrGetter, toValue } from 'vue';

import { api, unwrap, unwrapPage, type Schema } from '../../api/client';
import { useList } from '../../api/lists';
import type { Values } from './review-keys';

export type Task = Schema<'Task'>;
export type Review = Schema<'Review'>;
export type Summary = Schema<'Summary'>;
export type Disagreement = Schema<'Disagreement'>;
const ROOT = '/llm-ops/v1/evaluation/reviews';

export interface Judgement {
  values: Values;
  reason: string;
  shown: string;
  revision: number;
}

/** The reviews in which the caller judges or may join. */
export function useMyReviews() {
  return useQuery({
    queryKey: ['reviews', 'mine'],
    queryFn: async ({ signal }) => unwrap(await api.GET(`${ROOT}/mine`, { signal })),
  });
}

export function useReviews(enabled: MaybeRefOrGetter<boolean>) {
  return useList<Review>({
    key: () => ['reviews', 'all', toValue(enabled)],
    fetch: async (cursor, signal) =>
      toValue(enabled)
        ? unwrapPage(await api.GET(ROOT, { params: { query: { cursor } }, signal }))
        : { items: [], nextCursor: undefined, total: 0 },
  });
}

export function useReview(id: MaybeRefOrGetter<string>) {
  return useQuery({
    queryKey: ['reviews', 'one', id],
    queryFn: async ({ signal }) => {
      const params = { path: { review_id: toValue(id) } };
      const [review, summary, disagreements] = await Promise.all([
        api.GET(`${ROOT}/{review_id}`, { params, signal }),
        api.GET(`${ROOT}/{review_id}/summary`, { params, signal }),
        api.GET(`${ROOT}/{review_id}/disagreements`, { params, signal }),
      ]);
      return { review: unwrap(review), summary: unwrap(summary), disagreements: unwrap(disagreements) };
    },
    refetchInterval: ({ state }) => (state.data?.review.status === 'open' ? 30_000 : false),
  });
}

export async function joinReview(id: string): Promise<void> {
  unwrap(await api.POST(`${ROOT}/{review_id}/join`, { params: { path: { review_id: id } } }));
}

export async function loadTask(id: string, place?: number): Promise<Task> {
  return unwrap(await api.GET(`${ROOT}/{review_id}/task`, { params: { path: { review_id: id }, query: { place } } }));
}

export async function judge(task: Task, body: Judgement): Promise<Task> {
  const path = { review_id: task.reviewId, number: task.number };
  return unwrap(await api.POST(`${ROOT}/{review_id}/units/{number}/scores`, { params: { path }, body }));
}

export async function adjudicate(id: string, number: number, body: Judgement): Promise<Disagreement> {
  const path = { review_id: id, number };
  return unwrap(await api.POST(`${ROOT}/{review_id}/units/{number}/adjudication`, { params: { path }, body }));
}

export async function closeReview(id: string, reason: string): Promise<Review> {
  return unwrap(await api.POST(`${ROOT}/{review_id}/close`, { params: { path: { review_id: id } }, body: { reason } }));
}

/** Give a person the judgements that wait for somebody. */
export async function assignReviewer(id: string, person: string): Promise<Review> {
  return unwrap(await api.POST(`${ROOT}/{review_id}/assign`, { params: { path: { review_id: id } }, body: { person } }));
}

/** Take back what a person has not judged yet. */
export async function releaseReviewer(id: string, person: string, reason: string): Promise<Review> {
  return unwrap(await api.POST(`${ROOT}/{review_id}/release`, { params: { path: { review_id: id } }, body: { person, reason } }));
}

/** Leave out everything that a person said. */
export async function excludeReviewer(id: string, person: string, reason: string): Promise<Review> {
  return unwrap(await api.POST(`${ROOT}/{review_id}/exclude`, { params: { path: { review_id: id } }, body: { person, reason } }));
}

export async function nameAdjudicator(id: string, person: string): Promise<Review> {
  return unwrap(await api.POST(`${ROOT}/{review_id}/adjudicator`, { params: { path: { review_id: id } }, body: { person } }));
}
