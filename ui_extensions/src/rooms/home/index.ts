import type { Room } from '../../shell/room';

export default {
  navigation: [{ label: 'home.title', icon: 'i-lucide-layout-dashboard', to: '/' }],
  routes: [{ path: '/', name: 'home', component: () => import('./HomePage.vue'), meta: { title: 'home.title' } }],
} satisfies Room;
