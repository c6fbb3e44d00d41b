import { useI18n } from 'vue-i18n';

import { useFormat } from '../../kit/format';
import type { QueueEntry } from './queries';

/** Why a job waits, in the words of the chosen language. */
export function reasonOf(t: (key: string, values: Record<string, string | number>) => string, entry: QueueEntry): string {
  const values = { units: entry.units, pool: entry.pool, team: entry.team };
  return t(`training.queue.reasons.${entry.waitsFor ?? 'next'}`, values);
}

/** How much of a pool is taken, from 0 to 1; more than there is counts as all. */
export function fractionOf(used: number, limit: number | null | undefined): number {
  if (!limit) return used > 0 ? 1 : 0;
  return Math.min(used / limit, 1);
}

/** Seconds to a target as words: `12 min 3 s left`, or how long ago it was missed. */
export function useCountdown(): (seconds: number) => string {
  const { t } = useI18n();
  const { duration } = useFormat();
  return (seconds) => t(seconds >= 0 ? 'training.queue.left' : 'training.queue.missed', { time: duration(Math.abs(seconds)) });
}
