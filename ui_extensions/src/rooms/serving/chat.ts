import { api, ApiError, problemOf, unwrap } from '../../api/client';
import { chatPath } from './queries';

export interface Message {
  role: 'system' | 'user' | 'assistant';
  content: string;
}

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
}

export type Thumbs = 'up' | 'down';

/** An answer that was made with a prompt, by which it can be rated; `experimentId` is empty outside of experiments. */
export interface Exchange {
  id: string;
  route: string;
  experimentId: string;
}

/** A piece of an answer as it arrives. The first one alone carries the exchange, of an answer made with a prompt. */
export interface Piece {
  text: string;
  exchange?: Exchange;
  finishReason?: string;
  usage?: Usage;
}

export interface Sampling {
  temperature: number;
  maxTokens: number;
}

interface Chunk {
  choices?: { delta?: { content?: string | null }; finish_reason?: string | null }[];
  usage?: Usage | null;
  /** Only in the last event of an answer that failed half-way: the envelope of the failure. */
  status?: string;
}

/** Ask a route and yield the answer piece by piece. Throws ApiError when it is refused or breaks off. */
export async function* streamChat(route: string, messages: Message[], sampling: Sampling, signal: AbortSignal): AsyncGenerator<Piece> {
  const response = await fetch(chatPath(route), {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Accept: 'text/event-stream' },
    body: JSON.stringify({
      messages,
      temperature: sampling.temperature,
      max_tokens: sampling.maxTokens,
      stream: true,
    }),
    signal,
  });
  if (!response.ok || !response.body) throw problemOf(response, await response.json().catch(() => undefined));
  const exchange = exchangeOf(route, response.headers);
  if (exchange) yield { text: '', exchange };
  let done = false;
  for await (const data of eventData(response.body)) {
    if (data === '[DONE]') {
      done = true;
      break;
    }
    yield pieceOf(JSON.parse(data) as Chunk);
  }
  if (!done) throw new ApiError(0, 'The answer broke off before its end.', 'Send the message again.', [], '', 'answer_broke_off');
}

/** What an answer's headers say of it; nothing when it was made without a prompt. */
export function exchangeOf(route: string, headers: Headers): Exchange | undefined {
  const id = headers.get('x-llmops-exchange');
  if (!id || !headers.has('x-llmops-prompt')) return undefined;
  return { id, route, experimentId: headers.get('x-llmops-experiment') ?? '' };
}

/** Say what one thinks of an answer. A call is known about a second after it ended, so a 404 is asked again for a while. */
export async function rateAnswer(exchange: Exchange, thumbs: Thumbs, pause = 700): Promise<void> {
  for (let left = 6; ; left -= 1) {
    const result = await api.POST('/llm-ops/v1/serve/{route}/feedback', {
      params: { path: { route: exchange.route } },
      body: { exchangeId: exchange.id, thumbs },
    });
    if (result.response.status !== 404 || !left) return void unwrap(result);
    await new Promise((resume) => setTimeout(resume, pause));
  }
}

/** The `data` of every server-sent event of a stream; several data lines of one event are one text. */
export async function* eventData(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      rest += decoder.decode(value, { stream: !done });
      // A lone CR at the end may be the first half of a CRLF that is still on its way.
      const complete = done ? `${rest}\n\n` : rest.endsWith('\r') ? rest.slice(0, -1) : rest;
      const events = complete.replaceAll('\r\n', '\n').split('\n\n');
      rest = (events.pop() ?? '') + (!done && rest.endsWith('\r') ? '\r' : '');
      for (const event of events) {
        const lines = event.split('\n').filter((line) => line.startsWith('data:'));
        if (lines.length) yield lines.map((line) => line.slice(5).replace(/^ /, '')).join('\n');
      }
      if (done) return;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

function pieceOf(chunk: Chunk): Piece {
  if (chunk.status === 'fail') throw problemOf({ status: 0, statusText: '', headers: new Headers() }, chunk);
  const choice = chunk.choices?.[0];
  return {
    text: choice?.delta?.content ?? '',
    ...(choice?.finish_reason ? { finishReason: choice.finish_reason } : {}),
    ...(chunk.usage ? { usage: chunk.usage } : {}),
  };
}
