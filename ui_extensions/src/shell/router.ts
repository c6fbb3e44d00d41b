import { nextTick } from 'vue';
import { createRouter, createWebHistory, type RouteRecordRaw } from 'vue-router';

import type { AppI18n } from './i18n';
import { rooms } from './rooms';

declare module 'vue-router' {
  interface RouteMeta {
    /** The message key of the page's title. */
    title?: string;
  }
}

const routes: RouteRecordRaw[] = [
  ...rooms.flatMap((room) => room.routes),
  { path: '/:path(.*)*', name: 'not-found', component: () => import('./NotFoundPage.vue'), meta: { title: 'shell.notFound.title' } },
];

/** The router; on each change of page the title follows and the focus goes to the page's heading. */
export function createAppRouter(i18n: AppI18n) {
  const router = createRouter({
    history: createWebHistory(),
    routes,
    scrollBehavior: (to, from, saved) => saved ?? (to.path === from.path ? undefined : { top: 0 }),
  });

  router.afterEach(async (to, from) => {
    const title = to.meta.title;
    document.title = title ? `${i18n.global.t(title)} · LLMOps` : 'LLMOps';
    if (from.matched.length === 0 || to.path === from.path) return;
    await nextTick();
    const target = document.querySelector<HTMLElement>('main h1') ?? document.querySelector<HTMLElement>('main');
    target?.focus({ preventScroll: true });
  });

  return router;
}
