import type { NewExperiment } from './experiments';

/** An experiment being planned, as its fields hold it: numbers and percentages are texts, an empty one is none. */
export interface ExperimentForm {
  name: string;
  route: string;
  hypothesis: string;
  metric: NonNullable<NewExperiment['metric']>;
  allocation: NonNullable<NewExperiment['allocation']>;
  minimumEffect: string;
  variants: { name: string; promptId: string; weight: string }[];
  errorRate: string;
  latency: string;
  cost: string;
  minUsers: string;
  maxUsers: string;
  maxDays: string;
  onWinner: boolean;
}

export const METRICS = ['thumbs', 'score'] as const satisfies ExperimentForm['metric'][];
export const ALLOCATIONS = ['fixed', 'thompson'] as const satisfies ExperimentForm['allocation'][];
export const MOST_VARIANTS = 6;

export function emptyExperiment(): ExperimentForm {
  return {
    name: '', route: '', hypothesis: '', metric: 'thumbs', allocation: 'fixed', minimumEffect: '2',
    variants: [{ name: 'control', promptId: '', weight: '1' }, { name: 'challenger', promptId: '', weight: '1' }],
    errorRate: '5', latency: '50', cost: '', minUsers: '100', maxUsers: '20000', maxDays: '14', onWinner: true,
  };
}

/** A percentage as a fraction; none for an empty field. */
function fraction(text: string): number | null {
  return String(text).trim() === '' ? null : Number(text) / 100;
}

/** What the API is asked for. */
export function experimentOf(form: ExperimentForm): NewExperiment {
  return {
    name: form.name,
    route: form.route,
    hypothesis: form.hypothesis,
    metric: form.metric,
    allocation: form.allocation,
    minimumEffect: fraction(form.minimumEffect) ?? 0.02,
    variants: form.variants.map(({ name, promptId, weight }) => ({ name, promptId, weight: Number(weight) })),
    guardRails: { errorRate: fraction(form.errorRate), latency: fraction(form.latency), cost: fraction(form.cost) },
    stopRules: { minUsers: Number(form.minUsers), maxUsers: Number(form.maxUsers), maxDays: Number(form.maxDays), onWinner: form.onWinner },
  };
}
