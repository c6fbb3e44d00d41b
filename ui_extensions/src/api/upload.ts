import { ApiError, problemOf } from './client';

/**
 * Send files as multipart/form-data and report the fraction sent. XMLHttpRequest, since fetch cannot report upload progress.
 * Rejects with ApiError.
 */
export function upload(url: string, files: File[], onProgress: (fraction: number) => void, signal?: AbortSignal): Promise<void> {
  const form = new FormData();
  for (const file of files) form.append('files', file, file.name);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', url);
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    };
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) return resolve();
      const headers = new Headers({ 'X-Request-Id': request.getResponseHeader('X-Request-Id') ?? '' });
      reject(problemOf({ status: request.status, statusText: request.statusText, headers }, parse(request.responseText)));
    };
    request.onerror = () => reject(new ApiError(0, 'The connection broke while uploading.', 'Upload the files again.'));
    request.onabort = () => reject(new ApiError(0, 'The upload was stopped.', 'Upload the files again.'));
    signal?.addEventListener('abort', () => request.abort(), { once: true });
    request.send(form);
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
