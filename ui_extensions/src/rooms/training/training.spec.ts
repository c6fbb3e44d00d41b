import { describe, expect, it } from 'vitest';

import { curveOf, latest, metricNames } from './curves';
import { bestOf, metricsOf, namesOf, winnerOf, type Compared, type Comparison, type Summary } from './experiments';
import { blankForm, problemsOf, processesOf, requestOf } from './job-form';
import type { Metric } from './queries';
import { fractionOf } from './queue';

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
    expect(requestOf(form).resourceProfile).toEqual({ cpuCores: 4, memory: '4Gi', maxDuration: 60 });
    expect(requestOf({ ...form, useGpu: true }).resourceProfile).toEqual({ gpuCount: 1, maxDuration: 60 });
  });

  it('names what it distributes, over how many nodes, and needs two processes', () => {
    const form = { ...blankForm('d1', ''), outputModelName: 'big', jobType: 'distributed', baseJobType: 'pretrain', nodes: 2, gpuCount: 4 };
    const request = requestOf(form);
    expect(request).toMatchObject({ jobType: 'distributed', baseJobType: 'pretrain', resourceProfile: { gpuCount: 4, nodes: 2 } });
    expect(request.hyperparameters).toHaveProperty('architecture');
    expect(processesOf(form)).toBe(8);
    expect(problemsOf(form)).toEqual({});
    expect(problemsOf({ ...form, nodes: 1, gpuCount: 1 })).toEqual({ 'resourceProfile.gpuCount': 'processes' });
    expect(problemsOf({ ...form, nodes: 1, useGpu: false })).toEqual({ 'resourceProfile.nodes': 'processes' });
  });

  it('is checked by the rules of the API while it is written', () => {
    const good = { ...blankForm('d1', 'm1'), outputModelName: 'qa' };
    expect(problemsOf(good)).toEqual({});
    expect(problemsOf({ ...good, modelId: '' })).toEqual({ modelId: 'required' });
    expect(problemsOf({ ...good, jobType: 'pretrain', modelId: '' })).toEqual({});
    const bad = { ...good, outputModelName: 'No Name', epochs: '0', batchSize: '1.5', learningRate: '2', seed: '-1', more: '[1]', gpuType: 'cpu' };
    expect(Object.keys(problemsOf(bad)).sort()).toEqual([
      'hyperparameters', 'hyperparameters.batchSize', 'hyperparameters.epochs', 'hyperparameters.learningRate', 'hyperparameters.seed',
      'outputModelName', 'resourceProfile.gpuType',
    ]);
    expect(problemsOf({ ...good, useGpu: false, memory: 'lots' })).toEqual({ 'resourceProfile.memory': 'memory' });
  });

  it('lets the JSON overrule the fields', () => {
    const request = requestOf({ ...blankForm('d1', 'm1'), seed: '1', more: '{"seed": 7, "optimizer": "adamw"}' });
    expect(request.hyperparameters).toMatchObject({ seed: 7, optimizer: 'adamw' });
  });
});

describe('the use of machines', () => {
  it('is a fraction that is never more than all', () => {
    expect(fractionOf(2, 8)).toBe(0.25);
    expect(fractionOf(9, 8)).toBe(1);
    expect(fractionOf(0, 0)).toBe(0);
    expect(fractionOf(1, null)).toBe(1);
  });
});

describe('experiments side by side', () => {
  const curve = (jobId: string, lowest: number, highest: number): Compared['curves'][number] => {
    return { jobId, points: [[0, highest], [9, lowest]], count: 2, lowest, highest, last: lowest };
  };
  const loss: Compared = { name: 'loss', unit: null, better: 'lower', curves: [curve('a', 2, 5), curve('b', 1, 9)] };

  it('have a best value where the name of the metric tells which way is good', () => {
    expect(bestOf(loss, 'a')).toBe(2);
    expect(bestOf({ ...loss, better: 'higher' }, 'a')).toBe(5);
    expect(bestOf({ ...loss, better: null }, 'a')).toBeUndefined();
    expect(bestOf(loss, 'unknown')).toBeUndefined();
    expect(winnerOf(loss)).toBe('b');
    expect(winnerOf({ ...loss, better: null })).toBeUndefined();
    expect(winnerOf({ ...loss, curves: [curve('a', 2, 5)] })).toBeUndefined();
  });

  it('have different names also where their models have the same', () => {
    const summary = (jobId: string, outputVersion: string) => ({ jobId, outputModelName: 'm', outputVersion }) as Summary;
    expect([...namesOf([summary('aaaaaaaaaa', '1'), summary('bbbbbbbbbb', '1'), summary('c', '2')]).values()]).toEqual(['m 1 · aaaaaaaa', 'm 1 · bbbbbbbb', 'm 2']);
  });

  it('leave their machines to the page of the experiment', () => {
    const all = { metrics: [loss, { ...loss, name: 'system/cpu_percent' }] } as Comparison;
    expect(metricsOf(all).map((metric) => [metric.name, metric.step, metric.value])).toEqual([['loss', 0, 5], ['loss', 9, 2], ['loss', 0, 9], ['loss', 9, 1]]);
  });
});
