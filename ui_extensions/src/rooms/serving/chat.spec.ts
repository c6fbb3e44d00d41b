import { describe, expect, it } from 'vitest';

import { eventData, exchangeOf } from './chat';

function streamOf(...pieces: (string | Uint8Array)[]): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  return new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(typeof piece === 'string' ? encoder.encode(piece) : piece);
      controller.close();
    },
  });
}

async function read(...pieces: (string | Uint8Array)[]): Promise<string[]> {
  const found: string[] = [];
  for await (const data of eventData(streamOf(...pieces))) found.push(data);
  return found;
}

describe('a stream of events', () => {
  it('gives the data of every event', async () => {
    expect(await read('data: {"a":1}\n\ndata: [DONE]\n\n')).toEqual(['{"a":1}', '[DONE]']);
  });

  it('may be cut anywhere', async () => {
    const whole = 'data: one\r\n\r\n: a comment\r\n\r\nevent: x\r\ndata: two\r\ndata: lines\r\n\r\n';
    for (let at = 1; at < whole.length; at += 1) expect(await read(whole.slice(0, at), whole.slice(at)), `cut at ${at}`).toEqual(['one', 'two\nlines']);
  });

  it('may be cut within a character', async () => {
    const bytes = new TextEncoder().encode('data: 안녕\n\n');
    for (let at = 1; at < bytes.length; at += 1) expect(await read(bytes.slice(0, at), bytes.slice(at))).toEqual(['안녕']);
  });

  it('gives a last event that was not closed', async () => {
    expect(await read('data: end')).toEqual(['end']);
  });
});

describe('an answer', () => {
  it('can be rated when it was made with a prompt', () => {
    const made = { 'x-llmops-exchange': 'e', 'x-llmops-prompt': 'p' };
    expect(exchangeOf('support', new Headers(made))).toEqual({ id: 'e', route: 'support', experimentId: '' });
    expect(exchangeOf('support', new Headers({ ...made, 'x-llmops-experiment': 'x' }))?.experimentId).toBe('x');
    expect(exchangeOf('support', new Headers({ 'x-llmops-exchange': 'e' }))).toBeUndefined();
  });
});
