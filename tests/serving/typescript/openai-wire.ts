/**
 * OpenAI's protocol as the official Node client speaks it, without that package: the headers it sends, the bodies and
 * streams it reads, the errors it makes of refusals, and after which of them it asks again. One line a check.
 */

export {};

declare const process: { argv: string[] };

const [, , base = '', route = ''] = process.argv;

interface Problem {
  error: { message: string; type: string; code: string | null; param: string | null };
}

interface Completion {
  id: string;
  object: string;
  created: number;
  model: string;
  choices: { index: number; message: { role: string; content: string }; finish_reason: string }[];
  usage: { prompt_tokens: number; completion_tokens: number; total_tokens: number };
}

interface Chunk {
  id: string;
  object: string;
  choices: { index: number; delta: { role?: string; content?: string | null }; finish_reason: string | null }[];
  usage?: Completion['usage'] | null;
  error?: unknown;
}

function check(what: string, holds: boolean): void {
  if (!holds) throw new Error(`not so: ${what}`);
  console.log(what);
}

function ask(path: string, body?: unknown, more: Record<string, string> = {}): Promise<Response> {
  return fetch(`${base}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      Accept: 'application/json',
      Authorization: 'Bearer sk-anything',
      'User-Agent': 'OpenAI/JS 6.9.1',
      'X-Stainless-Arch': 'x64',
      'X-Stainless-Lang': 'js',
      'X-Stainless-OS': 'Linux',
      'X-Stainless-Package-Version': '6.9.1',
      'X-Stainless-Retry-Count': '0',
      'X-Stainless-Runtime': 'node',
      'X-Stainless-Runtime-Version': 'v24.0.0',
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      ...more,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

/** Events as that client cuts them: by lines that LF, CRLF or CR end; an event is over at an empty line. */
async function events(response: Response): Promise<{ event: string | null; data: string }[]> {
  const found: { event: string | null; data: string }[] = [];
  let event: string | null = null;
  let data: string[] = [];
  for (const line of (await response.text()).split(/\r\n|\n|\r/)) {
    if (line === '') {
      if (event !== null || data.length) found.push({ event, data: data.join('\n') });
      event = null;
      data = [];
    } else if (!line.startsWith(':')) {
      const colon = line.indexOf(':');
      const value = line.slice(colon + 1).replace(/^ /, '');
      if (line.slice(0, colon) === 'event') event = value;
      if (line.slice(0, colon) === 'data') data.push(value);
    }
  }
  return found;
}

const messages = [{ role: 'user', content: 'What follows 3?' }];

const whole = await ask('/chat/completions', { model: route, messages, max_tokens: 8, temperature: 0 });
const completion = (await whole.json()) as Completion;
check('a completion is JSON', whole.ok && (whole.headers.get('content-type') ?? '').includes('application/json'));
check('it is a chat.completion of the route', completion.object === 'chat.completion' && completion.model === route);
check('it has an id and a time', completion.id !== '' && Number.isInteger(completion.created));
check('it answers as the assistant', completion.choices[0]?.message.role === 'assistant');
check('it counts its tokens', completion.usage.total_tokens === completion.usage.prompt_tokens + completion.usage.completion_tokens);
check('it has a request id', (whole.headers.get('x-request-id') ?? '') !== '');

const body = { model: route, messages, max_tokens: 8, temperature: 0, stream: true, stream_options: { include_usage: true } };
const streamed = await ask('/chat/completions', body);
const lines = await events(streamed);
check('a stream is text/event-stream', (streamed.headers.get('content-type') ?? '').startsWith('text/event-stream'));
check('no event has a name', lines.every((each) => each.event === null));
check('a stream ends with [DONE] and nothing after it', lines.findIndex((each) => each.data === '[DONE]') === lines.length - 1);
const chunks = lines.slice(0, -1).map((each) => JSON.parse(each.data) as Chunk);
check('every event is a chunk', chunks.every((each) => each.object === 'chat.completion.chunk' && each.error === undefined));
check('all chunks have one id', new Set(chunks.map((each) => each.id)).size === 1);
const spoken = chunks.map((each) => each.choices[0]?.delta.content ?? '').join('');
check('the stream says what the whole answer says', spoken === completion.choices[0]?.message.content);
check('one chunk has the reason why it ended', chunks.filter((each) => each.choices[0]?.finish_reason).length === 1);
check('the last chunk is the usage alone', chunks.at(-1)?.choices.length === 0 && chunks.at(-1)?.usage?.total_tokens === completion.usage.total_tokens);

const several = (await (await ask('/chat/completions', { model: route, messages, max_tokens: 4, n: 2 })).json()) as Completion;
check('several answers have their indexes', several.choices.map((each) => each.index).join() === '0,1');

const list = (await (await ask('/models')).json()) as { object: string; data: { id: string; object: string }[] };
check('the models are a list of the routes', list.object === 'list' && list.data.some((each) => each.id === route && each.object === 'model'));

for (const [what, path, sent, status, code, param] of [
  ['a model that is not there', '/chat/completions', { model: 'nothing', messages }, 404, 'model_not_found', null],
  ['a field that is wrong', '/chat/completions', { model: route, messages, n: 1000 }, 400, 'validation_failed', 'n'],
  ['a model that cannot be retrieved', '/models/nothing', undefined, 404, 'model_not_found', null],
] as const) {
  const refused = await ask(path, sent);
  const { error } = (await refused.json()) as Problem;
  check(`${what} is refused in OpenAI's words`, refused.status === status && error.code === code && error.param === param);
  check(`${what} is not asked for again`, ![408, 409, 429].includes(refused.status) && refused.status < 500);
  check(`${what} has a message and a type`, error.message !== '' && error.type === 'invalid_request_error');
}
const stranger = await ask('/models', undefined, { 'X-User-Id': 'eve', 'X-User-Roles': 'viewer' });
check('who may not is told so', stranger.status === 403 && ((await stranger.json()) as Problem).error.type === 'permission_error');
const garbled = await fetch(`${base}/chat/completions`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{' });
check('a body that is no JSON is an error body', garbled.status === 400 && ((await garbled.json()) as Problem).error.message !== '');
