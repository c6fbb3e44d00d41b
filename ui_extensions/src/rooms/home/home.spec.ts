import { describe, expect, it } from 'vitest';

import { nextOf, stepsOf } from './journey';
import type { Journey } from './queries';

const nothing: Journey = {
  datasets: 0, approvedDatasets: 0, jobs: 0, finishedJobs: 0, evaluations: 0,
  models: 0, approvedModels: 0, endpoints: 0, healthyEndpoints: 0, waiting: 0,
};

describe('the journey', () => {
  it('begins with a data set', () => {
    expect(nextOf(nothing)).toEqual({ key: 'data', to: '/catalog/datasets/new' });
  });

  it('goes on at the first step that is not done', () => {
    const half = { ...nothing, datasets: 2, approvedDatasets: 1, jobs: 1 };
    expect(nextOf(half)).toEqual({ key: 'train', to: '/training/jobs' });
    expect(stepsOf(half).filter((step) => step.done).map((step) => step.key)).toEqual(['data', 'approve']);
  });

  it('ends in a chat', () => {
    const all = Object.fromEntries(Object.keys(nothing).map((key) => [key, 1])) as unknown as Journey;
    expect(nextOf(all).key).toBe('chat');
  });
});
