import type { Journey } from './queries';

/** A step of the way from data to answers. Its words are the messages under `home.steps.<key>`. */
export interface Step {
  key: 'data' | 'approve' | 'train' | 'evaluate' | 'release' | 'serve' | 'chat';
  icon: string;
  /** What exists at this step. */
  count: number;
  done: boolean;
  to: string;
}

/** The steps in order. A step is done when the next one can be taken. */
export function stepsOf(journey: Journey): Step[] {
  const step = (key: Step['key'], icon: string, count: number, to: string): Step => ({ key, icon, count, done: count > 0, to });
  return [
    step('data', 'i-lucide-database', journey.datasets, journey.datasets ? '/catalog/datasets' : '/catalog/datasets/new'),
    step('approve', 'i-lucide-shield-check', journey.approvedDatasets, '/catalog/datasets?status=approved'),
    step('train', 'i-lucide-cpu', journey.finishedJobs, journey.jobs ? '/training/jobs' : '/training/jobs/new'),
    step('evaluate', 'i-lucide-clipboard-check', journey.evaluations, journey.evaluations ? '/evaluation/runs' : '/evaluation/runs/new'),
    step('release', 'i-lucide-box', journey.approvedModels, '/catalog/models?status=approved'),
    step('serve', 'i-lucide-radio-tower', journey.healthyEndpoints, journey.endpoints ? '/serving/endpoints' : '/serving/endpoints/new'),
  ];
}

/** Where to go to take the first step that is not done; the chat when all are. */
export function nextOf(journey: Journey): { key: Step['key']; to: string } {
  const open = stepsOf(journey).find((step) => !step.done);
  if (!open) return { key: 'chat', to: '/serving/chat' };
  const starts: Partial<Record<Step['key'], string>> = { approve: '/catalog/datasets', release: '/catalog/models' };
  return { key: open.key, to: starts[open.key] ?? open.to };
}
