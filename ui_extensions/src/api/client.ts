import createClient from 'openapi-fetch';

import type { components, paths } from './schema';

/** A schema of the API by name. */
export type Schema<Name extends keyof components['schemas']> = components['schemas'][Name];

/** One thing that is wrong with a request: where, what, and what would be right. */
export interface FieldProblem {
  path: string;
  problem: string;
  remedy: string;
}

/** A refusal or failure of the API, in its own words. `status` is 0 when no answer came at all. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly remedy = '',
    readonly details: FieldProblem[] = [],
    readonly requestId = '',
    /** The code of what went wrong: an error kind of the API, or one of the console's own. */
    readonly kind = '',
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

/** What the API says of the first field that fits, to stand beside it. */
export function wordsOf(error: unknown, fits: (path: string) => boolean): string | undefined {
  const found = error instanceof ApiError ? error.details.find((it) => fits(it.path)) : undefined;
  return found && `${found.problem}. ${found.remedy}`;
}

export const api = createClient<paths>({ baseUrl: '/' });

api.use({
  onError: ({ error }) => {
    if (error instanceof DOMException && error.name === 'AbortError') return error;
    return new ApiError(0, 'The API does not answer.', 'Check that it is running, then try again.', [], '', 'no_answer');
  },
});

interface Result<Body> {
  data?: Body;
  error?: unknown;
  response: Response;
}

/** The `data` of the envelope. Throws ApiError for every answer that is not a success. */
export function unwrap<Data>(result: Result<{ data?: Data }>): Data {
  if (!result.response.ok || result.data === undefined) throw problemOf(result.response, result.error);
  return result.data.data as Data;
}

/** One page of a list. */
export interface Page<Item> {
  items: Item[];
  nextCursor: string | undefined;
  total: number | undefined;
}

/** A list's items with the cursor and total that travel in headers. */
export function unwrapPage<Item>(result: Result<{ data?: Item[] }>): Page<Item> {
  const items = unwrap(result);
  const total = result.response.headers.get('X-Total-Count');
  return {
    items,
    nextCursor: result.response.headers.get('X-Next-Cursor') ?? undefined,
    total: total === null ? undefined : Number(total),
  };
}

/** The ApiError of an answer, from its envelope where it has one. */
export function problemOf(response: Pick<Response, 'status' | 'statusText' | 'headers'>, body: unknown): ApiError {
  const envelope = asRecord(body);
  const data = asRecord(envelope['data']);
  const details = Array.isArray(data['errors']) ? data['errors'].map(fieldProblem) : [];
  const remedy = text(data['remedy']);
  // The envelope's message ends with the remedy, for clients that show nothing else; here the two are shown apart.
  const message = text(envelope['message']).replace(remedy, '').trim();
  return new ApiError(
    response.status,
    message || response.statusText || `The API answered with status ${response.status}.`,
    remedy,
    details,
    response.headers.get('X-Request-Id') ?? '',
    text(data['kind']),
  );
}

/** A fresh key, so that a repeated click or a lost answer never creates a thing twice. */
export function idempotencyKey(): string {
  // crypto.randomUUID needs a secure context; a console behind plain HTTP has none.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function fieldProblem(value: unknown): FieldProblem {
  const record = asRecord(value);
  return { path: text(record['path']), problem: text(record['problem']), remedy: text(record['remedy']) };
}

function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
