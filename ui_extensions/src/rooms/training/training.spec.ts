import { describe, expect, it } from 'vitest';

import { curveOf, latest, metricNames } from './curves';
import { blankForm, requestOf } from './job-form';
import type { Metric } from './queries';

const metric = (name: string, step: number, value: number): Metric => ({ name, step, value });

describe('a learning curve', () => {
  const metrics = [metric('loss', 20, 2), metric('tokens_per_second', 10, 900), metric('loss', 10, 3), metric('eval_loss', 20, 2.5)];

  it('is ordered by step, however late a batch arrives', () => {
    expect(curveOf(metrics, 'loss').points).toEqual([
      [10, 3],
      [20, 2],
    ]);
    expect(latest(metrics, 'loss')).toBe(2);
    expect(latest(metrics, 'absent')).toBeUndefined();
  });

  it('comes before the other metrics', () => {
    expect(metricNames(metrics)).toEqual(['loss', 'eval_loss', 'tokens_per_second']);
  });
});

describe('a job request', () => {
  it('has a base model and no architecture for fine-tuning', () => {
    const request = requestOf({ ...blankForm('d1', 'm1'), outputModelName: 'qa', epochs: '3' });
    expect(request.modelId).toBe('m1');
    expect(request.hyperparameters).toEqual({ promptColumn: 'question', answerColumn: 'answer', epochs: 3 });
  });

  it('has an architecture and no base model from scratch', () => {
    const request = requestOf({ ...blankForm('d1', 'm1'), jobType: 'from_scratch', outputModelName: 'base' });
    expect(request).not.toHaveProperty('modelId');
    expect(request.hyperparameters).toMatchObject({ architecture: { hiddenSize: 128, layers: 4 }, textColumn: 'text' });
  });

  it('asks for GPUs or for CPUs, never both', () => {
    const form = { ...blankForm('d1', ''), useGpu: false, cpuCores: 4 };
    expect(requestOf(form).resourceProfile).toEqual({ cpuCores: 4, memory: '4Gi' });
    expect(requestOf({ ...form, useGpu: true }).resourceProfile).toEqual({ gpuCount: 1, maxDuration: 60 });
  });

  it('lets the JSON overrule the fields', () => {
    const request = requestOf({ ...blankForm('d1', 'm1'), seed: '1', more: '{"seed": 7, "optimizer": "adamw"}' });
    expect(request.hyperparameters).toMatchObject({ seed: 7, optimizer: 'adamw' });
  });
});
