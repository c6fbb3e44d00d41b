import type { Room } from '../../shell/room';

export default {
  group: 'catalog.group',
  navigation: [
    { label: 'catalog.datasets.title', icon: 'i-lucide-database', to: '/catalog/datasets' },
    { label: 'catalog.models.title', icon: 'i-lucide-box', to: '/catalog/models' },
  ],
  routes: [
    { path: '/catalog', redirect: '/catalog/datasets' },
    { path: '/catalog/datasets', name: 'datasets', component: () => import('./DatasetListPage.vue'), meta: { title: 'catalog.datasets.title' } },
    {
      path: '/catalog/datasets/new',
      name: 'dataset-create',
      component: () => import('./DatasetCreatePage.vue'),
      meta: { title: 'catalog.datasetCreate.title' },
    },
    {
      path: '/catalog/datasets/:id',
      name: 'dataset',
      component: () => import('./DatasetDetailPage.vue'),
      props: true,
      meta: { title: 'catalog.dataset.title' },
    },
    {
      path: '/catalog/datasets/:id/compare',
      name: 'dataset-compare',
      component: () => import('./ComparePage.vue'),
      props: true,
      meta: { title: 'catalog.compare.link' },
    },
    { path: '/catalog/models', name: 'models', component: () => import('./ModelListPage.vue'), meta: { title: 'catalog.models.title' } },
    {
      path: '/catalog/models/new',
      name: 'model-create',
      component: () => import('./ModelCreatePage.vue'),
      meta: { title: 'catalog.modelCreate.title' },
    },
    {
      path: '/catalog/models/:id',
      name: 'model',
      component: () => import('./ModelDetailPage.vue'),
      props: true,
      meta: { title: 'catalog.model.title' },
    },
  ],
} satisfies Room;
