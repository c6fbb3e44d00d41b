import type { Room } from '../../shell/room';

export default {
  group: 'cost.group',
  navigation: [
    { label: 'cost.spending.title', icon: 'i-lucide-coins', to: '/cost/spending' },
    { label: 'cost.limits.title', icon: 'i-lucide-wallet', to: '/cost/budgets' },
    { label: 'cost.keys.title', icon: 'i-lucide-key-round', to: '/cost/keys' },
  ],
  routes: [
    { path: '/cost', redirect: '/cost/spending' },
    { path: '/cost/spending', name: 'cost', component: () => import('./SpendingPage.vue'), meta: { title: 'cost.spending.title' } },
    { path: '/cost/budgets', name: 'budgets', component: () => import('./BudgetsPage.vue'), meta: { title: 'cost.limits.title' } },
    { path: '/cost/keys', name: 'api-keys', component: () => import('./KeysPage.vue'), meta: { title: 'cost.keys.title' } },
  ],
} satisfies Room;
