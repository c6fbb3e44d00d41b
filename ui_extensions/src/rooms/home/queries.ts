import { useQuery } from '@tanstack/vue-query';

import { api, unwrapPage } from '../../api/client';

/** How many things exist at each step of the journey. */
export interface Journey {
  datasets: number;
  approvedDatasets: number;
  jobs: number;
  finishedJobs: number;
  evaluations: number;
  models: number;
  approvedModels: number;
  endpoints: number;
  healthyEndpoints: number;
  waiting: number;
}

/** The totals travel in a header, so a page of one entry is enough to count. */
export function useJourney() {
  return useQuery({
    queryKey: ['home', 'journey'],
    refetchInterval: 10_000,
    queryFn: async ({ signal }): Promise<Journey> => {
      const dataset = (status?: 'approved' | 'under_review') =>
        api.GET('/llm-ops/v1/catalog/datasets', { params: { query: { limit: 1, status } }, signal });
      const model = (status?: 'approved' | 'under_review') =>
        api.GET('/llm-ops/v1/catalog/models', { params: { query: { limit: 1, status } }, signal });
      const job = (status?: 'succeeded') => api.GET('/llm-ops/v1/training/jobs', { params: { query: { limit: 1, status } }, signal });
      const evaluation = api.GET('/llm-ops/v1/evaluation/runs', { params: { query: { limit: 1, status: 'succeeded' } }, signal });
      const endpoint = (status?: 'healthy') => api.GET('/llm-ops/v1/serving/endpoints', { params: { query: { limit: 1, status } }, signal });

      const [datasets, approvedDatasets, datasetsWaiting, models, approvedModels, modelsWaiting] = await Promise.all([
        dataset().then(count),
        dataset('approved').then(count),
        dataset('under_review').then(count),
        model().then(count),
        model('approved').then(count),
        model('under_review').then(count),
      ]);
      const [jobs, finishedJobs, evaluations, endpoints, healthyEndpoints] = await Promise.all([
        job().then(count),
        job('succeeded').then(count),
        evaluation.then(count),
        endpoint().then(count),
        endpoint('healthy').then(count),
      ]);
      const waiting = datasetsWaiting + modelsWaiting;
      return {
        datasets, approvedDatasets, jobs, finishedJobs, evaluations, models, approvedModels, endpoints, healthyEndpoints, waiting,
      };
    },
  });
}

function count(result: Parameters<typeof unwrapPage<unknown>>[0]): number {
  const page = unwrapPage(result);
  return page.total ?? page.items.length;
}
