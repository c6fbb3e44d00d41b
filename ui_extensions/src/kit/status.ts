/** Colors of the design system that a badge may have: green, blue, yellow, red, gray. */
export type Tone = 'success' | 'info' | 'warning' | 'error' | 'neutral';

export interface Look {
  color: Tone;
  /** Whether something is going on right now. */
  busy: boolean;
}

const TONES: Record<Tone, readonly string[]> = {
  success: ['approved', 'clean', 'succeeded', 'healthy', 'passed', 'allowed', 'active', 'current', 'stable', 'concluded'],
  info: ['running', 'deploying', 'base', 'automated'],
  warning: ['queued', 'under_review', 'pending', 'degraded', 'drifted'],
  error: ['rejected', 'failed', 'denied', 'quarantined'],
  neutral: ['draft', 'deprecated', 'cancelled', 'stopped'],
};

const BUSY = new Set(['running', 'deploying']);

/** The color of a status; one we do not know is gray. */
export function toneOf(status: string | null | undefined): Look {
  const found = (Object.keys(TONES) as Tone[]).find((tone) => status && TONES[tone].includes(status));
  return { color: found ?? 'neutral', busy: BUSY.has(status ?? '') };
}

/** Whether work with this status still changes by itself. */
export function isActive(status: string | null | undefined): boolean {
  return status === 'queued' || status === 'running';
}

/** The color of a quality score: from `threshold` on green, well below it red. */
export function qualityTone(score: number | null | undefined, threshold = 70): Tone {
  if (score === null || score === undefined) return 'neutral';
  if (score >= threshold) return 'success';
  return score >= threshold - 20 ? 'warning' : 'error';
}
