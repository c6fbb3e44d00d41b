import { useInfiniteQuery } from '@tanstack/vue-query';
import { computed, type MaybeRefOrGetter, toValue } from 'vue';

import type { Page } from './client';

interface ListOptions<Item> {
  key: MaybeRefOrGetter<readonly unknown[]>;
  fetch: (cursor: string | undefined, signal: AbortSignal) => Promise<Page<Item>>;
  /** Milliseconds to the next look, decided by the items that are shown. */
  refreshAfter?: (items: Item[]) => number | false;
}

/** A list that grows page by page. Filters belong into `key`; the items on screen stay until the new ones are there. */
export function useList<Item>(options: ListOptions<Item>) {
  const query = useInfiniteQuery({
    queryKey: computed(() => [...toValue(options.key)]),
    queryFn: ({ pageParam, signal }) => options.fetch(pageParam, signal),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last: Page<Item>) => last.nextCursor,
    placeholderData: (previous) => previous,
    refetchInterval: ({ state }) => options.refreshAfter?.(state.data?.pages.flatMap((page) => page.items) ?? []) ?? false,
  });
  const items = computed(() => query.data.value?.pages.flatMap((page) => page.items));
  const total = computed(() => query.data.value?.pages[0]?.total);
  return { query, items, total };
}
