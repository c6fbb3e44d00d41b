import type { Room } from '../../shell/room';

export default {
  group: 'evaluation.group',
  navigation: [
    { label: 'evaluation.list.title', icon: 'i-lucide-clipboard-check', to: '/evaluation/runs' },
    { label: 'evaluation.schedules.title', icon: 'i-lucide-calendar-clock', to: '/evaluation/schedules' },
    { label: 'evaluation.gates.page', icon: 'i-lucide-shield-check', to: '/evaluation/gates' },
    { label: 'evaluation.review.title', icon: 'i-lucide-users', to: '/evaluation/reviews' },
  ],
  routes: [
    { path: '/evaluation', redirect: '/evaluation/runs' },
    { path: '/evaluation/runs', name: 'evaluations', component: () => import('./EvaluationListPage.vue'), meta: { title: 'evaluation.list.title' } },
    {
      path: '/evaluation/runs/new',
      name: 'evaluation-create',
      component: () => import('./EvaluationCreatePage.vue'),
      meta: { title: 'evaluation.create.title' },
    },
    {
      path: '/evaluation/compare',
      name: 'evaluation-compare',
      component: () => import('./EvaluationComparePage.vue'),
      meta: { title: 'evaluation.compare.title' },
    },
    {
      path: '/evaluation/runs/:id',
      name: 'evaluation',
      component: () => import('./EvaluationDetailPage.vue'),
      props: true,
      meta: { title: 'evaluation.run.title' },
    },
    {
      path: '/evaluation/runs/:id/judge',
      name: 'evaluation-judge',
      component: () => import('./JudgeCreatePage.vue'),
      props: true,
      meta: { title: 'evaluation.judgings.models' },
    },
    {
      path: '/evaluation/runs/:id/review',
      name: 'evaluation-review',
      component: () => import('./ReviewOpenPage.vue'),
      props: true,
      meta: { title: 'evaluation.judgings.people' },
    },
    { path: '/evaluation/schedules', name: 'schedules', component: () => import('./SchedulesPage.vue'), meta: { title: 'evaluation.schedules.title' } },
    { path: '/evaluation/gates', name: 'gates', component: () => import('./GatesPage.vue'), meta: { title: 'evaluation.gates.page' } },
    { path: '/evaluation/reviews', name: 'reviews', component: () => import('./ReviewListPage.vue'), meta: { title: 'evaluation.review.title' } },
    {
      path: '/evaluation/reviews/:id',
      name: 'review',
      component: () => import('./ReviewDetailPage.vue'),
      props: true,
      meta: { title: 'evaluation.review.one' },
    },
    {
      path: '/evaluation/reviews/:id/judge',
      name: 'review-judge',
      component: () => import('./ReviewJudgePage.vue'),
      props: true,
      meta: { title: 'evaluation.review.judgement' },
    },
  ],
} satisfies Room;
