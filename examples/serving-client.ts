/**
 * A client for serving: deploy approved models, watch their endpoints, chat with them, take them back.
 *
 *     const client = new ServingClient('http://localhost:8000');
 *     const endpoint = await client.deploy('python_helper', { route: 'support' });
 *     await client.wait(endpoint.id);
 *     console.log((await client.chat('support', 'What is a KeyError?')).text);
 *
 * It needs `fetch`, and `serving-shapes.ts` beside it; both can be copied, and as their types are erasable, Node 22.18
 * and later run them as they are. All errors are ServingErrors: Refused when the platform says no (with its words, its
 * remedy, and the wrong fields), Unreachable when nobody answers, BrokeOff when an answer ends in its middle, NotInTime
 * when waiting was in vain.
 *
 * What is asked again by itself: reading, deploying, which carries an idempotency key, and changes that name no revision;
 * anything else only when it was refused for now with 429. A rollback is not: a second one would go back twice.
 */

import type {
  Answer,
  Changes,
  Endpoint,
  EndpointEvent,
  Environment,
  Message,
  Options,
  Piece,
  Redeployment,
  Revision,
  RouteHealth,
  Sampling,
  Status,
  Usage,
  Wishes,
} from './serving-shapes.ts';

export type * from './serving-shapes.ts';

interface Failure {
  status: 'fail';
  message?: string;
  data?: { kind?: string; remedy?: string; errors?: { path: string; problem: string; remedy: string }[] } | null;
}

interface Chunk {
  choices?: { delta?: { content?: string | null }; finish_reason?: string | null }[];
  usage?: Usage | null;
}

interface Completion {
  choices: [{ message: Message; finish_reason: string }];
  usage: Usage;
}

/** What all errors of this client are. */
export class ServingError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** Nobody answered, or not in time; whether the request was carried out is unknown unless it was a reading one. */
export class Unreachable extends ServingError {}

/** What was waited for did not happen. */
export class NotInTime extends ServingError {}

/** The platform said no. `kind` is for programs, such as `not_found`; `retryAfter` is in seconds, if it is known. */
export class Refused extends ServingError {
  readonly status: number;
  readonly kind: string | undefined;
  readonly remedy: string;
  readonly errors: { path: string; problem: string; remedy: string }[];
  readonly requestId: string;
  readonly retryAfter: number | undefined;

  constructor(status: number, envelope: Omit<Failure, 'status'>, headers?: Headers) {
    super(envelope.message || `refused with HTTP ${status}`);
    this.status = status;
    this.kind = envelope.data?.kind;
    this.remedy = envelope.data?.remedy ?? '';
    this.errors = envelope.data?.errors ?? [];
    this.requestId = headers?.get('x-request-id') ?? '';
    this.retryAfter = secondsOf(headers);
  }
}

/** The answer was refused in its middle, as its last event says; or it just ended (`kind` is undefined then). */
export class BrokeOff extends Refused {}

/** A connection to one platform. */
export class ServingClient {
  readonly url: string;
  readonly #headers: Record<string, string>;
  readonly #retries: number;
  readonly #patience: number;
  readonly #timeout: number;

  constructor(url = 'http://localhost:8000', options: Options = {}) {
    this.url = url.replace(/\/+$/, '');
    this.#headers = {
      ...(options.token ? { Authorization: `Bearer ${options.token}` } : {}),
      ...(options.user ? { 'X-User-Id': options.user } : {}),
      ...(options.roles ? { 'X-User-Roles': options.roles } : {}),
    };
    this.#retries = options.retries ?? 2;
    this.#patience = options.patience ?? 30;
    this.#timeout = options.timeout ?? 120;
  }

  /** The id of an approved model: itself, or by the model's name (its newest version) or `name@version`. */
  async modelId(reference: string): Promise<string> {
    if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(reference)) return reference;
    const [name = '', version] = reference.split('@', 2);
    const asked = { name, status: 'approved' };
    for await (const model of this.#pages<{ id: string; name: string; version: string }>('/catalog/models', asked)) {
      if (model.name === name && (version === undefined || model.version === version)) return model.id;
    }
    throw new Refused(404, { message: `there is no approved model ${reference}`, data: { kind: 'not_found' } });
  }

  /**
   * Ask for an approved model at a route; one that is there gets it as its next revision. Does not wait.
   * The same `idempotencyKey` never deploys twice; without one, each call has its own.
   */
  async deploy(model: string, wishes: Wishes, idempotencyKey: string = crypto.randomUUID()): Promise<Endpoint> {
    const body = { environment: 'dev', ...wishes, modelId: await this.modelId(model) };
    return this.#json('POST', '/serving/endpoints', { again: true, body, headers: { 'Idempotency-Key': idempotencyKey } });
  }

  /** Look twice a second until the endpoint has a status. Throws NotInTime, at once when it failed instead. */
  async wait(endpointId: string, until: Status = 'healthy', timeout = 300): Promise<Endpoint> {
    const deadline = Date.now() + timeout * 1000;
    for (;;) {
      const endpoint = await this.get(endpointId);
      if (endpoint.status === until && (await this.#isRouted(endpoint))) return endpoint;
      const told = `${endpoint.route} is ${endpoint.status}: ${endpoint.statusDetail}`;
      if (endpoint.status === 'failed') throw new NotInTime(told);
      if (Date.now() > deadline) throw new NotInTime(`after ${timeout} s ${told}`);
      await pause(0.5);
    }
  }

  /** One endpoint. */
  get(endpointId: string): Promise<Endpoint> {
    return this.#json('GET', path('serving', 'endpoints', endpointId), { again: true });
  }

  /** Every endpoint that passes the filters, the newest first, page after page. */
  list(filters: { environment?: Environment; modelId?: string; status?: Status; route?: string } = {}): AsyncGenerator<Endpoint> {
    return this.#pages('/serving/endpoints', filters);
  }

  /** Set what is named, as the endpoint's next revision; a change of nothing makes none. */
  change(endpointId: string, changes: Changes): Promise<Endpoint> {
    return this.#json('PATCH', path('serving', 'endpoints', endpointId), { again: changes.revision === undefined, body: changes });
  }

  /** Roll the present settings out once more, or with some of them changed; a stopped endpoint comes back. */
  redeploy(endpointId: string, settings: Redeployment = {}): Promise<Endpoint> {
    const query = new URLSearchParams(Object.entries(settings).map(([name, value]) => [name, String(value)]));
    return this.#json('POST', `${path('serving', 'endpoints', endpointId, 'redeploy')}?${query}`);
  }

  /**
   * Back to the revision `to`, or to what was served before. With nothing before, the endpoint is scaled to zero
   * (`maxReplicas` is 0 then), which `redeploy` undoes.
   */
  rollback(endpointId: string, to: number | null = null): Promise<Endpoint> {
    return this.#json('POST', path('serving', 'endpoints', endpointId, 'rollback'), { body: { to } });
  }

  /** Take an endpoint away. */
  delete(endpointId: string): Promise<Endpoint> {
    return this.#json('DELETE', path('serving', 'endpoints', endpointId));
  }

  /** Every revision with how its roll-out went, the newest first. */
  history(endpointId: string): AsyncGenerator<Revision> {
    return this.#pages(path('serving', 'endpoints', endpointId, 'deployments'));
  }

  /** What was seen of an endpoint, the newest first. */
  events(endpointId: string): AsyncGenerator<EndpointEvent> {
    return this.#pages(path('serving', 'endpoints', endpointId, 'events'));
  }

  /** Ask the model server of a route whether it is well. Throws Refused when it is not. */
  health(route: string): Promise<RouteHealth> {
    return this.#json('GET', path('serve', route, 'health'));
  }

  /** Ask a model and wait for its whole answer. A text is one message of the user. */
  async chat(route: string, said: string | Message[], sampling: Sampling = {}): Promise<Answer> {
    const { signal, ...rest } = sampling;
    const response = await this.#send('POST', path('serve', route, 'chat'), { body: { messages: messagesOf(said), ...rest }, signal });
    const data = await opened<Completion>(response);
    const [{ message, finish_reason: finishReason }] = data.choices;
    return { text: message.content, finishReason, usage: data.usage, route: response.headers.get('x-llmops-route') ?? route };
  }

  /** The same, piece by piece as the model speaks; leaving the loop early frees the model. Throws BrokeOff. */
  async *stream(route: string, said: string | Message[], sampling: Sampling = {}): AsyncGenerator<Piece> {
    const { signal, ...rest } = sampling;
    const body = { messages: messagesOf(said), ...rest, stream: true };
    const response = await this.#send('POST', path('serve', route, 'chat'), { body, signal });
    if (!response.ok || !response.body) await opened(response);
    try {
      for await (const data of events(response.body as ReadableStream<Uint8Array>)) {
        if (data === '[DONE]') return;
        yield pieceOf(JSON.parse(data) as Chunk | Failure, response.headers);
      }
    } catch (error) {
      if (error instanceof ServingError || signal?.aborted) throw error;
      throw new BrokeOff(200, { message: `the answer broke off: ${reason(error)}` }, response.headers);
    }
    throw new BrokeOff(200, { message: 'the answer broke off before its end' }, response.headers);
  }

  /** Whether its route leads to this revision of it, or to another environment's; a moment after it is healthy. */
  async #isRouted(endpoint: Endpoint): Promise<boolean> {
    if (endpoint.status !== 'healthy') return true;
    try {
      const found = await this.health(endpoint.route);
      return found.endpointId !== endpoint.id || found.revision === endpoint.revision;
    } catch (error) {
      if (error instanceof Refused) return false;
      throw error;
    }
  }

  async #json<Data>(method: string, to: string, request: Request = {}): Promise<Data> {
    return opened<Data>(await this.#send(method, to, request));
  }

  async *#pages<Entry>(to: string, asked: Record<string, string | undefined> = {}): AsyncGenerator<Entry> {
    const query = new URLSearchParams(Object.entries(asked).filter((pair): pair is [string, string] => pair[1] !== undefined));
    for (;;) {
      const response = await this.#send('GET', `${to}?${query}`, { again: true });
      yield* await opened<Entry[]>(response);
      const cursor = response.headers.get('x-next-cursor');
      if (cursor === null) return;
      query.set('cursor', cursor);
    }
  }

  /** The answer; asked for again when nothing was done for it, or when `again` says that a repeat is harmless. */
  async #send(method: string, to: string, { again = false, body, headers, signal }: Request = {}): Promise<Response> {
    for (let left = this.#retries; ; left -= 1) {
      let wait = 0.2 * 2 ** (this.#retries - left);
      const late = new AbortController();
      const timer = setTimeout(() => late.abort(new Error(`no answer within ${this.#timeout} s`)), this.#timeout * 1000);
      try {
        const response = await fetch(`${this.url}/llm-ops/v1${to}`, {
          method,
          headers: { ...this.#headers, ...(body === undefined ? {} : { 'Content-Type': 'application/json' }), ...headers },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
          signal: signal ? AbortSignal.any([signal, late.signal]) : late.signal,
        });
        const passing = response.status === 429 || (again && [502, 503, 504].includes(response.status));
        wait = Math.max(wait, secondsOf(response.headers) ?? 0);
        if (!left || !passing || wait > this.#patience) return response;
        await response.body?.cancel();
      } catch (error) {
        if (signal?.aborted) throw error;
        if (!left || !again) throw new Unreachable(`${this.url} does not answer: ${reason(error)}`, { cause: error });
      } finally {
        clearTimeout(timer);
      }
      await pause(wait);
    }
  }
}

interface Request {
  again?: boolean;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
}

/** The data of each server-sent event, wherever the network cut the stream. Only LF and CRLF end a line. */
export async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  let data: string[] = [];
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + decoder.decode(value, { stream: true })).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines.map((each) => each.replace(/\r$/, ''))) {
        if (line.startsWith('data:')) data.push(line.slice(5).replace(/^ /, ''));
        if (line !== '' || data.length === 0) continue;
        yield data.join('\n');
        data = [];
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

function pieceOf(event: Chunk | Failure, headers: Headers): Piece {
  if ('status' in event) throw new BrokeOff(200, event, headers);
  const choice = event.choices?.[0];
  return {
    text: choice?.delta?.content ?? '',
    ...(choice?.finish_reason ? { finishReason: choice.finish_reason } : {}),
    ...(event.usage ? { usage: event.usage } : {}),
  };
}

async function opened<Data>(response: Response): Promise<Data> {
  const envelope = (await response.json().catch(() => undefined)) as Failure | { status: 'success'; data: Data } | undefined;
  if (typeof envelope?.status !== 'string') {
    const told = `${response.url} answered ${response.status} with something that is not of this platform`;
    throw new Refused(response.status, { message: told }, response.headers);
  }
  if (envelope.status !== 'success') throw new Refused(response.status, envelope, response.headers);
  return envelope.data;
}

function messagesOf(said: string | Message[]): Message[] {
  return typeof said === 'string' ? [{ role: 'user', content: said }] : said;
}

function path(...parts: string[]): string {
  return `/${parts.map(encodeURIComponent).join('/')}`;
}

function secondsOf(headers: Headers | undefined): number | undefined {
  const told = headers?.get('retry-after') ?? '';
  return /^[0-9]+$/.test(told) ? Number(told) : undefined;
}

function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error && error.cause.message ? error.cause.message : error.message;
}

function pause(seconds: number): Promise<void> {
  return new Promise((resume) => setTimeout(resume, seconds * 1000));
}
