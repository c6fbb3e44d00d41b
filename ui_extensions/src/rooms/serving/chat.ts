import { ApiError, problemOf } from '../../api/client';
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

/** A piece of an answer as it arrives. */
export interface Piece {
  text: string;
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
