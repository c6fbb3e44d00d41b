import type { Room } from '../../shell/room';

export default {
  group: 'prompts.group',
  navigation: [
    { label: 'prompts.title', icon: 'i-lucide-message-square-text', to: '/prompts/templates' },
    { label: 'prompts.experiments.title', icon: 'i-lucide-flask-conical', to: '/prompts/experiments' },
  ],
  routes: [
    { path: '/prompts', redirect: '/prompts/templates' },
    { path: '/prompts/templates', name: 'prompts', component: () => import('./PromptListPage.vue'), meta: { title: 'prompts.title' } },
    { path: '/prompts/templates/new', name: 'prompt-create', component: () => import('./PromptEditPage.vue'), meta: { title: 'prompts.edit.create' } },
    {
      path: '/prompts/templates/:id',
      name: 'prompt',
      component: () => import('./PromptDetailPage.vue'),
      props: true,
      meta: { title: 'prompts.prompt' },
    },
    {
      path: '/prompts/templates/:id/edit',
      name: 'prompt-edit',
      component: () => import('./PromptEditPage.vue'),
      props: true,
      meta: { title: 'prompts.edit.change' },
    },
    { path: '/prompts/experiments', name: 'prompt-experiments', component: () => import('./ExperimentListPage.vue'), meta: { title: 'prompts.experiments.title' } },
    { path: '/prompts/experiments/new', name: 'prompt-experiment-create', component: () => import('./ExperimentCreatePage.vue'), meta: { title: 'prompts.experiments.create' } },
    {
      path: '/prompts/experiments/:id',
      name: 'prompt-experiment',
      component: () => import('./ExperimentDetailPage.vue'),
      props: true,
      meta: { title: 'prompts.experiments.name' },
    },
  ],
} satisfies Room;
