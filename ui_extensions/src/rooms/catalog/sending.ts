import { ref } from 'vue';

import { Paused, send } from '../../api/upload';
import type { FILES } from './file-types';

/** Sending chosen files to an entry: how far it is, whether it rests, and what went wrong. */
export function useSending(kind: keyof typeof FILES) {
  const files = ref<File[]>([]);
  const progress = ref<number>();
  const paused = ref(false);
  const running = ref(false);
  let stop = new AbortController();

  /** Whether everything arrived; false when it was paused. Throws ApiError. Called again, it goes on. */
  async function start(id: string): Promise<boolean> {
    stop = new AbortController();
    running.value = true;
    paused.value = false;
    progress.value ??= 0;
    try {
      await send(`/llm-ops/v1/catalog/${kind}s/${id}`, files.value, (fraction) => (progress.value = fraction), stop.signal);
      progress.value = undefined;
      return true;
    } catch (error) {
      if (error instanceof Paused) {
        paused.value = true;
        return false;
      }
      progress.value = undefined;
      throw error;
    } finally {
      running.value = false;
    }
  }

  return { files, progress, paused, running, start, pause: () => stop.abort() };
}
