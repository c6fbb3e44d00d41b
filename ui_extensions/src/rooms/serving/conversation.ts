import { computed, ref } from 'vue';

import { streamChat, type Exchange, type Message, type Sampling, type Usage } from './chat';

export interface Turn extends Message {
  role: 'user' | 'assistant';
  usage?: Usage;
  finishReason?: string;
  seconds?: number;
  exchange?: Exchange;
}

/** How a message is asked: what goes before it, and whether the conversation so far goes with it. */
export interface Asking extends Sampling {
  system: string;
  remember: boolean;
}

/** A conversation with one endpoint. A message that got no answer at all is not part of it. */
export function useConversation() {
  const turns = ref<Turn[]>([]);
  const error = ref<unknown>();
  const stopper = ref<AbortController>();

  /** Ask a route; whether any of an answer came. */
  async function ask(route: string, text: string, how: Asking): Promise<boolean> {
    error.value = undefined;
    turns.value.push({ role: 'user', content: text });
    const messages: Message[] = [
      ...(how.system ? [{ role: 'system' as const, content: how.system }] : []),
      ...(how.remember ? turns.value : turns.value.slice(-1)).map(({ role, content }) => ({ role, content })),
    ];
    turns.value.push({ role: 'assistant', content: '' });
    const answer = turns.value.at(-1) as Turn;
    const stop = new AbortController();
    stopper.value = stop;
    const started = performance.now();
    try {
      for await (const piece of streamChat(route, messages, how, stop.signal)) {
        answer.content += piece.text;
        if (piece.finishReason) answer.finishReason = piece.finishReason;
        if (piece.usage) answer.usage = piece.usage;
        if (piece.exchange) answer.exchange = piece.exchange;
      }
      answer.seconds = (performance.now() - started) / 1000;
      return true;
    } catch (reason) {
      if (!stop.signal.aborted) error.value = reason;
      if (!answer.content) turns.value = turns.value.filter((turn) => turn !== answer).slice(0, -1);
      return answer.content !== '';
    } finally {
      if (stopper.value === stop) stopper.value = undefined;
    }
  }

  function clear() {
    stopper.value?.abort();
    turns.value = [];
    error.value = undefined;
  }

  return { turns, error, busy: computed(() => stopper.value !== undefined), ask, clear, stop: () => stopper.value?.abort() };
}
