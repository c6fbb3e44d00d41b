import { QueryClient, QueryObserver, VueQueryPlugin } from '@tanstack/vue-query';
import { enableAutoUnmount, flushPromises, mount } from '@vue/test-utils';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { nextTick, type Ref, ref } from 'vue';

import { PACE, paced, retryAfter, SELDOM, useLive } from './live';

/** The browser's stream, which happy-dom has none of: what a server would do to it is done by hand. */
class Stream extends EventTarget {
  static all: Stream[] = [];
  closed = false;
  constructor(readonly url: string) {
    super();
    Stream.all.push(this);
  }
  close() {
    this.closed = true;
  }
  says(type: 'open' | 'changed' | 'error') {
    this.dispatchEvent(new Event(type));
  }
}

enableAutoUnmount(afterEach);

const open = () => Stream.all.filter((stream) => !stream.closed);
function last(): Stream {
  const stream = Stream.all.at(-1);
  if (!stream) throw new Error('no stream was ever opened');
  return stream;
}

let visible: DocumentVisibilityState;

async function show(state: DocumentVisibilityState) {
  visible = state;
  document.dispatchEvent(new Event('visibilitychange'));
  await nextTick();
}

/** A page that listens, and how often its one query was asked; `answers` lets the asked wait. */
async function listening(
  url: Ref<string | undefined>,
  answers: (context: { signal: AbortSignal }) => Promise<number> = () => Promise.resolve(1),
) {
  const cache = new QueryClient();
  const asked = vi.fn(answers);
  const leave = new QueryObserver(cache, { queryKey: ['jobs', 'one', 'a'], queryFn: asked }).subscribe(() => undefined);
  let live!: Readonly<Ref<boolean>>;
  const page = mount({ setup: () => ((live = useLive(url, [['jobs', 'one', 'a']])), () => null) }, {
    global: { plugins: [[VueQueryPlugin, { queryClient: cache }]] },
  });
  await vi.advanceTimersByTimeAsync(0);
  return { page, asked, live, leave };
}

describe('a page that listens', () => {
  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubGlobal('EventSource', Stream);
    vi.spyOn(Math, 'random').mockReturnValue(1);
    vi.spyOn(document, 'visibilityState', 'get').mockImplementation(() => visible);
    Stream.all = [];
    visible = 'visible';
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
    vi.restoreAllMocks();
  });

  it('has one stream while somebody sees it, there is something to hear, and it is not left', async () => {
    const url = ref<string | undefined>('/a');
    const { page, live } = await listening(url);
    expect([open().map((stream) => stream.url), live.value]).toEqual([['/a'], false]);
    last().says('open');
    expect(live.value).toBe(true);
    await show('hidden');
    expect([open(), live.value]).toEqual([[], false]);
    await show('visible');
    expect(open().map((stream) => stream.url)).toEqual(['/a']);
    url.value = '/b';
    await nextTick();
    expect(open().map((stream) => stream.url)).toEqual(['/b']);
    url.value = undefined;
    await nextTick();
    expect(open()).toEqual([]);
    url.value = '/a';
    await nextTick();
    page.unmount();
    expect(open()).toEqual([]);
  });

  it('opens none where it is hidden from the beginning', async () => {
    visible = 'hidden';
    await listening(ref('/a'));
    expect(Stream.all).toEqual([]);
  });

  it('looks again after an event, and at most twice a second however many come', async () => {
    const { asked } = await listening(ref('/a'));
    expect(asked).toHaveBeenCalledTimes(1);
    last().says('changed');
    await flushPromises();
    expect(asked).toHaveBeenCalledTimes(2);
    for (let at = 0; at < 2 * PACE; at += 10) {
      last().says('changed');
      await vi.advanceTimersByTimeAsync(10);
    }
    expect(asked).toHaveBeenCalledTimes(4);
    await vi.advanceTimersByTimeAsync(10 * PACE);
    expect(asked.mock.calls.length).toBeLessThanOrEqual(5);
  });

  it('lets an answer that is on its way arrive, and asks once more since it may be older than the event', async () => {
    let arrive: (value: number) => void = () => undefined;
    const signals: AbortSignal[] = [];
    const { asked } = await listening(ref('/a'), ({ signal }) => {
      signals.push(signal);
      return new Promise((resolve) => (arrive = resolve));
    });
    last().says('changed');
    await vi.advanceTimersByTimeAsync(5 * PACE);
    expect(asked).toHaveBeenCalledTimes(1);
    expect(signals.map((signal) => signal.aborted)).toEqual([false]);
    arrive(1);
    await vi.advanceTimersByTimeAsync(PACE);
    expect(asked).toHaveBeenCalledTimes(2);
  });

  it('polls when the stream fails, and tries it again later and later, until it lives', async () => {
    const { asked, live } = await listening(ref('/a'));
    last().says('open');
    expect(paced(1_500, live)).toBe(SELDOM);
    last().says('error');
    await flushPromises();
    expect([paced(1_500, live), asked.mock.calls.length, open()]).toEqual([1_500, 2, []]);
    for (const wait of [1_000, 2_000, 4_000, 8_000]) {
      const before = Stream.all.length;
      await vi.advanceTimersByTimeAsync(wait - 1);
      expect(Stream.all.length).toBe(before);
      await vi.advanceTimersByTimeAsync(1);
      expect([Stream.all.length, open().length]).toEqual([before + 1, 1]);
      last().says('error');
    }
    await vi.advanceTimersByTimeAsync(16_000);
    last().says('open');
    await vi.advanceTimersByTimeAsync(60_000); // it lived: that the server ends it then is no failure
    last().says('error');
    const before = Stream.all.length;
    await vi.advanceTimersByTimeAsync(1_000);
    expect(Stream.all.length).toBe(before + 1);
  });

  it('does not come back to a stream that failed once it is hidden or left', async () => {
    const { page } = await listening(ref('/a'));
    last().says('error');
    await show('hidden');
    await vi.advanceTimersByTimeAsync(120_000);
    expect(Stream.all.length).toBe(1);
    await show('visible');
    last().says('error');
    page.unmount();
    await vi.advanceTimersByTimeAsync(120_000);
    expect(Stream.all.length).toBe(2);
  });

  it('waits a minute at most, and not all pages the same time', () => {
    expect([retryAfter(1, 0), retryAfter(1, 1), retryAfter(50, 1), retryAfter(50, 0)]).toEqual([500, 1_000, 60_000, 30_000]);
  });
});
