import type { Schema } from '../../api/client';

export type HealthHistory = Schema<'HealthHistory'>;
export type HealthSpan = Schema<'HealthSpan'>;

/** Windows of the health history, in hours. */
export const WINDOWS = { '1h': 1, '24h': 24, '7d': 168, '30d': 720 } as const;
export type Window = keyof typeof WINDOWS;

export function windowOf(text: string): Window {
  return text in WINDOWS ? (text as Window) : '24h';
}

/** A part of the timeline, by its place in percent; what is too short to be seen is still a sliver. */
export interface Segment {
  status: HealthSpan['status'];
  left: number;
  width: number;
}

/** The spans of a history side by side from 0 to 100. Neighbours of one status are one segment. */
export function segmentsOf(history: HealthHistory): Segment[] {
  const begin = Date.parse(history.since);
  const length = Date.parse(history.until) - begin;
  const found: Segment[] = [];
  if (length <= 0) return found;
  for (const span of history.spans) {
    const left = ((Date.parse(span.since) - begin) / length) * 100;
    const right = ((Date.parse(span.until) - begin) / length) * 100;
    const last = found.at(-1);
    if (last && last.status === span.status && left - (last.left + last.width) < 0.01) last.width = right - last.left;
    else found.push({ status: span.status, left, width: right - left });
  }
  return found;
}
