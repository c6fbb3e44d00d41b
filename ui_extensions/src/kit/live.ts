import { useQueryClient, type QueryKey } from '@tanstack/vue-query';
import { useDocumentVisibility } from '@vueuse/core';
import { type MaybeRefOrGetter, onMounted, onScopeDispose, readonly, ref, type Ref, toValue, watch } from 'vue';

/** Milliseconds between two looks, however many events arrive: at most two a second. */
export const PACE = 500;
/** Milliseconds to the next look at what a stream tells of: should it ever fall silent, the page is late and not wrong. */
export const SELDOM = 30_000;
const FIRST_RETRY = 1_000;
const LAST_RETRY = 60_000;
/** A stream that lived so long, in milliseconds, did not fail: the server ends each after a while. */
const SOUND = 10_000;

/** Milliseconds between two looks: seldom while a stream tells of changes. */
export function paced(milliseconds: number, live: MaybeRefOrGetter<boolean>): number {
  return toValue(live) ? SELDOM : milliseconds;
}

/** Milliseconds to wait after so many failures in a row; spread by `chance` in [0, 1), so that pages do not come back all at once. */
export function retryAfter(failures: number, chance: number): number {
  return Math.min(LAST_RETRY, FIRST_RETRY * 2 ** Math.max(0, failures - 1)) * (0.5 + chance / 2);
}

/**
 * One stream of server-sent `changed` events for a page, after each of which the queries under `keys` look again.
 *
 * It is open while there is a `url`, the page is mounted and somebody can see it. The browser sends what it sends with
 * every request of this origin, so the stream needs no login of its own. The answer says whether the stream is open:
 * whoever polls does so seldom then, and as before while it is not.
 */
export function useLive(url: MaybeRefOrGetter<string | undefined>, keys: MaybeRefOrGetter<QueryKey[]>): Readonly<Ref<boolean>> {
  const live = ref(false);
  const visibility = useDocumentVisibility();
  const lookAgain = useLooks(keys);
  let source: EventSource | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let failures = 0;

  function close(): void {
    clearTimeout(timer);
    source?.close();
    source = undefined;
    live.value = false;
  }

  function open(address: string): void {
    const opened = new EventSource(address);
    const since = Date.now();
    source = opened;
    opened.addEventListener('open', () => (live.value = source === opened));
    opened.addEventListener('changed', () => source === opened && lookAgain());
    opened.addEventListener('error', () => {
      if (source !== opened) return;
      failures = Date.now() - since > SOUND ? 1 : failures + 1;
      close(); // the browser would come back at one pace for ever
      lookAgain(); // which also begins the polling, since each look decides when the next one comes
      timer = setTimeout(() => open(address), retryAfter(failures, Math.random()));
    });
  }

  onMounted(() =>
    watch(
      () => (visibility.value === 'visible' ? toValue(url) : undefined),
      (address) => {
        close();
        failures = 0;
        if (address !== undefined) open(address);
      },
      { immediate: true },
    ),
  );
  onScopeDispose(close);
  return readonly(live);
}

/** Looks at the queries again, never two at once: what comes during a look, or less than PACE after it began, waits for the next. */
function useLooks(keys: MaybeRefOrGetter<QueryKey[]>): () => void {
  const cache = useQueryClient();
  let looking = false;
  let again = false;
  let left = false;
  onScopeDispose(() => (left = true));

  async function look(): Promise<void> {
    looking = true;
    while (again && !left) {
      again = false;
      const rest = new Promise((resolve) => setTimeout(resolve, PACE));
      await Promise.all([rest, ...toValue(keys).map(invalidate)]);
    }
    looking = false;
  }

  async function invalidate(queryKey: QueryKey): Promise<void> {
    // An answer that was on its way already may be older than the event.
    if (cache.isFetching({ queryKey, type: 'active' })) again = true;
    await cache.invalidateQueries({ queryKey }, { cancelRefetch: false });
  }

  return () => {
    again = true;
    if (!looking) void look();
  };
}
