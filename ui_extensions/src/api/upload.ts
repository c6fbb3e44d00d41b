import { ApiError, problemOf, type Schema } from './client';

/** Files of more bytes than this altogether go in chunks, which survive a broken connection. */
export const WHOLE = 32 * 1024 ** 2;
const TRIES = 7;

type State = Schema<'UploadState'>;
type Progress = (fraction: number) => void;
type Report = (index: number, offset: number) => void;

/** Thrown when the sender stopped on purpose; sending the same files again goes on where this stopped. */
export class Paused extends Error {}

/**
 * Send files to the entry at `url`: small ones in one request, large ones in chunks that are taken up where they stopped,
 * also after a reload of the page, since the API knows the upload by its files. Rejects with ApiError, or with Paused.
 */
export async function send(url: string, files: File[], onProgress: Progress, signal: AbortSignal): Promise<void> {
  const total = files.reduce((sum, file) => sum + file.size, 0);
  // crypto.subtle needs a secure context; without one there are no digests of chunks, and the form has to do.
  if (total <= WHOLE || !globalThis.crypto.subtle) return upload(`${url}/upload`, files, onProgress, signal);
  const state = await begin(url, files, signal);
  const target = `${url}/uploads/${state.id}`;
  const sent = state.files.map((file) => file.offset);
  const report = (index: number, offset: number) => {
    sent[index] = offset;
    onProgress(sent.reduce((sum, bytes) => sum + bytes, 0) / total);
  };
  for (const [index, file] of files.entries()) {
    for (let offset = sent[index] ?? 0; offset < file.size; report(index, offset)) {
      offset = await sendChunk(target, index, file, offset, state.chunkSize, report, signal);
    }
  }
  await complete(target, signal);
}

/** The open upload of these files, if what has arrived of it still is what they hold; else a new one. */
async function begin(url: string, files: File[], signal: AbortSignal): Promise<State> {
  const body = { files: files.map(({ name, size }) => ({ name, size })) };
  const state = await call<State>('POST', `${url}/uploads`, signal, body);
  for (const chunk of state.chunks) {
    const file = files[chunk.file - 1];
    const content = await file?.slice(chunk.offset, chunk.offset + chunk.size).arrayBuffer();
    if (content && hex(await crypto.subtle.digest('SHA-256', content)) === chunk.sha256) continue;
    await call('DELETE', `${url}/uploads/${state.id}`, signal);
    return call<State>('POST', `${url}/uploads`, signal, body);
  }
  return state;
}

/** Send one chunk, and again after a pause when the connection breaks; the offset the API wants next. */
async function sendChunk(
  url: string, index: number, file: File, offset: number, size: number, report: Report, signal: AbortSignal,
): Promise<number> {
  const content = await file.slice(offset, offset + size).arrayBuffer();
  const digest = btoa(String.fromCharCode(...new Uint8Array(await crypto.subtle.digest('SHA-256', content))));
  for (let attempt = 1; ; attempt++) {
    try {
      await put(`${url}/files/${index + 1}?offset=${offset}`, content, digest, (bytes) => report(index, offset + bytes), signal);
      return offset + content.byteLength;
    } catch (error) {
      if (!(error instanceof ApiError) || ![0, 409, 429, 503].includes(error.status) || attempt === TRIES) throw error;
      report(index, offset);
      const wanted = await standing(url, index, signal);
      if (wanted !== undefined && wanted !== offset) return wanted;
      await rest(1000 * 2 ** (attempt - 1), signal);
    }
  }
}

/** Where the API stands, or undefined while it does not answer. Throws when the upload is over. */
async function standing(url: string, index: number, signal: AbortSignal): Promise<number | undefined> {
  const state = await call<State>('GET', url, signal).catch((error: unknown) => {
    if (error instanceof ApiError && error.status === 0) return undefined;
    throw error;
  });
  if (state && state.status !== 'open') throw new ApiError(409, `The upload is ${state.status}.`, 'Upload the files again.', [], '', 'upload_over');
  return state?.files[index]?.offset;
}

/** Have the files published; while an earlier request is at it, ask again. */
async function complete(url: string, signal: AbortSignal): Promise<void> {
  for (;;) {
    try {
      await call('POST', `${url}/complete`, signal);
      return;
    } catch (error) {
      if (!(error instanceof ApiError) || ![0, 409].includes(error.status)) throw error;
      const state = await call<State>('GET', url, signal).catch(() => undefined);
      if (state && state.status !== 'open') throw error;
      if (state?.files.some((file) => file.offset < file.size)) throw error;
      await rest(1000, signal);
    }
  }
}

async function call<Data>(method: string, url: string, signal: AbortSignal, body?: unknown): Promise<Data> {
  let response: Response;
  try {
    const content = body === undefined ? {} : { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } };
    response = await fetch(url, { method, signal, ...content });
  } catch {
    if (signal.aborted) throw new Paused();
    throw new ApiError(0, 'The API does not answer.', 'Check that it is running, then try again.', [], '', 'no_answer');
  }
  const envelope: unknown = await response.json().catch(() => undefined);
  if (!response.ok) throw problemOf(response, envelope);
  return (envelope as { data: Data }).data;
}

function put(url: string, content: ArrayBuffer, digest: string, onSent: (bytes: number) => void, signal: AbortSignal): Promise<void> {
  return transmit('PUT', url, content, { 'Content-Digest': `sha-256=:${digest}:` }, (event) => onSent(event.loaded), signal);
}

function rest(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => (clearTimeout(timer), reject(new Paused())), { once: true });
  });
}

function hex(buffer: ArrayBuffer): string {
  return Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Send files as multipart/form-data and report the fraction sent. Rejects with ApiError. */
function upload(url: string, files: File[], onProgress: Progress, signal: AbortSignal): Promise<void> {
  const form = new FormData();
  for (const file of files) form.append('files', file, file.name);
  return transmit('POST', url, form, {}, (event) => event.lengthComputable && onProgress(event.loaded / event.total), signal);
}

/** One request. XMLHttpRequest, since fetch cannot report upload progress. */
function transmit(
  method: string, url: string, body: XMLHttpRequestBodyInit, headers: Record<string, string>, onProgress: (event: ProgressEvent) => void,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(new Paused());
    const request = new XMLHttpRequest();
    request.open(method, url);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = onProgress;
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) return resolve();
      const answered = new Headers({ 'X-Request-Id': request.getResponseHeader('X-Request-Id') ?? '' });
      reject(problemOf({ status: request.status, statusText: request.statusText, headers: answered }, parse(request.responseText)));
    };
    request.onerror = () => reject(new ApiError(0, 'The connection broke while uploading.', 'Upload the files again; it goes on where it stopped.', [], '', 'connection_broke'));
    request.onabort = () => reject(new Paused());
    signal.addEventListener('abort', () => request.abort(), { once: true });
    request.send(body);
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
