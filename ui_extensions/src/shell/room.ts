import type { RouteRecordRaw } from 'vue-router';

/** An entry of the side bar. `label` is a message key. */
export interface NavigationItem {
  label: string;
  icon: string;
  to: string;
}

/** What a room's index.ts declares. `group` is the message key of its heading in the side bar. */
export interface Room {
  group?: string;
  navigation: NavigationItem[];
  routes: RouteRecordRaw[];
}
