import type { Room } from '../../shell/room';

export default {
  group: 'training.group',
  navigation: [
    { label: 'training.list.title', icon: 'i-lucide-cpu', to: '/training/jobs' },
    { label: 'training.queue.title', icon: 'i-lucide-list-ordered', to: '/training/queue' },
    { label: 'training.experiments.title', icon: 'i-lucide-flask-conical', to: '/experiments' },
  ],
  routes: [
    { path: '/training', redirect: '/training/jobs' },
    { path: '/training/jobs', name: 'jobs', component: () => import('./JobListPage.vue'), meta: { title: 'training.list.title' } },
    { path: '/training/queue', name: 'queue', component: () => import('./QueuePage.vue'), meta: { title: 'training.queue.title' } },
    { path: '/training/jobs/new', name: 'job-submit', component: () => import('./JobSubmitPage.vue'), meta: { title: 'training.submit.title' } },
    { path: '/training/jobs/:id', name: 'job', component: () => import('./JobDetailPage.vue'), props: true, meta: { title: 'training.job.title' } },
    { path: '/experiments', name: 'experiments', component: () => import('./ExperimentListPage.vue'), meta: { title: 'training.experiments.title' } },
    { path: '/experiments/compare', name: 'experiments-compare', component: () => import('./ExperimentComparePage.vue'), meta: { title: 'training.comparison.title' } },
    { path: '/experiments/:id', name: 'experiment', component: () => import('./ExperimentPage.vue'), props: true, meta: { title: 'training.experiment.title' } },
  ],
} satisfies Room;
