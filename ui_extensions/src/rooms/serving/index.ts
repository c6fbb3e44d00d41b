import type { Room } from '../../shell/room';

export default {
  group: 'serving.group',
  navigation: [
    { label: 'serving.list.title', icon: 'i-lucide-radio-tower', to: '/serving/endpoints' },
    { label: 'serving.chat.title', icon: 'i-lucide-message-square', to: '/serving/chat' },
  ],
  routes: [
    { path: '/serving', redirect: '/serving/endpoints' },
    { path: '/serving/endpoints', name: 'endpoints', component: () => import('./EndpointListPage.vue'), meta: { title: 'serving.list.title' } },
    { path: '/serving/endpoints/new', name: 'deploy', component: () => import('./DeployPage.vue'), meta: { title: 'serving.deploy.title' } },
    {
      path: '/serving/endpoints/:id',
      name: 'endpoint',
      component: () => import('./EndpointDetailPage.vue'),
      props: true,
      meta: { title: 'serving.endpoint.title' },
    },
    {
      path: '/serving/endpoints/:id/edit',
      name: 'endpoint-edit',
      component: () => import('./EndpointEditPage.vue'),
      props: true,
      meta: { title: 'serving.edit.name' },
    },
    {
      path: '/serving/endpoints/:id/policy',
      name: 'endpoint-policy',
      component: () => import('./PolicyPage.vue'),
      props: true,
      meta: { title: 'serving.policy.name' },
    },
    {
      path: '/serving/chat/:endpointId?',
      name: 'chat',
      component: () => import('./ChatPage.vue'),
      props: true,
      meta: { title: 'serving.chat.title' },
    },
  ],
} satisfies Room;
