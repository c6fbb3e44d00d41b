/** The official Node client of OpenAI, pointed at the platform; one line a check. */

import OpenAI from 'openai';

declare const process: { argv: string[] };

const [, , baseURL = '', model = ''] = process.argv;
const client = new OpenAI({ baseURL, apiKey: 'sk-anything', maxRetries: 0 });
const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: 'user', content: 'What follows 3?' }];
const asked = { model, messages, max_tokens: 8, temperature: 0 };

function check(what: string, holds: boolean): void {
  if (!holds) throw new Error(`not so: ${what}`);
  console.log(what);
}

async function thrown(act: () => PromiseLike<unknown>): Promise<unknown> {
  try {
    await act();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

const models: OpenAI.Model[] = [];
for await (const each of client.models.list()) models.push(each);
check('the models are the routes', models.some((each) => each.id === model && each.object === 'model'));
check('a model is retrieved by its route', (await client.models.retrieve(model)).id === model);

const { data: whole, response, request_id: requestId } = await client.chat.completions.create(asked).withResponse();
const text = whole.choices[0]?.message.content ?? '';
check('a completion is one of the route', whole.object === 'chat.completion' && whole.model === model && whole.id !== '');
check('it has its time', Number.isInteger(whole.created));
check('it answers as the assistant', whole.choices[0]?.message.role === 'assistant' && text !== '');
check('it counts its tokens', whole.usage?.total_tokens === (whole.usage?.prompt_tokens ?? 0) + (whole.usage?.completion_tokens ?? 0));
check('it has a request id', requestId !== null && requestId === response.headers.get('x-request-id'));

const chunks: OpenAI.ChatCompletionChunk[] = [];
const stream = await client.chat.completions.create({ ...asked, stream: true, stream_options: { include_usage: true } });
for await (const chunk of stream) chunks.push(chunk);
check('every event is a chunk', chunks.every((each) => each.object === 'chat.completion.chunk'));
check('all chunks have one id', new Set(chunks.map((each) => each.id)).size === 1);
check('the stream says what the whole answer says', chunks.map((each) => each.choices[0]?.delta.content ?? '').join('') === text);
check('one chunk has the reason why it ended', chunks.filter((each) => each.choices[0]?.finish_reason).length === 1);
check('the last chunk is the usage alone', chunks.at(-1)?.choices.length === 0 && chunks.at(-1)?.usage?.total_tokens === whole.usage?.total_tokens);

const gathered = client.chat.completions.stream(asked);
let heard = '';
gathered.on('content', (piece) => (heard += piece));
check('the helper for streams gathers the same answer', (await gathered.finalContent()) === text && heard === text);

const left = await client.chat.completions.create({ ...asked, max_tokens: 64, stream: true });
for await (const _chunk of left) break;
check('who leaves a stream early may', left.controller.signal.aborted);

const several = await client.chat.completions.create({ ...asked, n: 2 });
check('several answers have their indexes', several.choices.map((each) => each.index).join() === '0,1');

const nothing = await thrown(() => client.chat.completions.create({ ...asked, model: 'nothing' }));
check('a model that is not there is its NotFoundError', nothing instanceof OpenAI.NotFoundError && nothing.code === 'model_not_found');
const wrong = await thrown(() => client.chat.completions.create({ ...asked, n: 1000 }));
check('a wrong field is its BadRequestError', wrong instanceof OpenAI.BadRequestError && wrong.param === 'n' && wrong.code === 'validation_failed');
check('it has a message, a type and a request id', wrong instanceof OpenAI.APIError && wrong.message.includes('n') && wrong.type === 'invalid_request_error' && Boolean(wrong.requestID));
const unread = await thrown(() => client.chat.completions.create({ ...asked, stream: true, n: 1000 }));
check('a stream is refused as any other', unread instanceof OpenAI.BadRequestError && unread.param === 'n');

const stranger = client.withOptions({ defaultHeaders: { 'X-User-Id': 'eve', 'X-User-Roles': 'viewer' } });
const forbidden = await thrown(() => stranger.models.list());
check('who may not is told so', forbidden instanceof OpenAI.PermissionDeniedError && forbidden.type === 'permission_error');
const keyless = client.withOptions({ apiKey: `llmops-${'x'.repeat(43)}` });
for (const [what, act] of [
  ['the list', () => keyless.models.list()],
  ['a chat', () => keyless.chat.completions.create(asked)],
  ['a stream', () => keyless.chat.completions.create({ ...asked, stream: true })],
] as const) {
  const unknown = await thrown(act);
  check(`a wrong key is its AuthenticationError for ${what}`, unknown instanceof OpenAI.AuthenticationError && unknown.type === 'authentication_error');
}
