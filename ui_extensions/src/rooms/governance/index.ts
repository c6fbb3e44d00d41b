import type { Room } from '../../shell/room';

export default {
  group: 'governance.group',
  navigation: [
    { label: 'governance.approvals.title', icon: 'i-lucide-inbox', to: '/governance/approvals' },
    { label: 'governance.audit.title', icon: 'i-lucide-scroll-text', to: '/governance/audit' },
  ],
  routes: [
    { path: '/governance', redirect: '/governance/approvals' },
    {
      path: '/governance/approvals',
      name: 'approvals',
      component: () => import('./ApprovalsPage.vue'),
      meta: { title: 'governance.approvals.title' },
    },
    { path: '/governance/audit', name: 'audit', component: () => import('./AuditPage.vue'), meta: { title: 'governance.audit.title' } },
  ],
} satisfies Room;
