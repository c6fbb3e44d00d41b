import ui from '@nuxt/ui/vue-plugin';
import { VueQueryPlugin } from '@tanstack/vue-query';
import { createApp } from 'vue';

import App from './shell/App.vue';
import { createMessages, preferredLocale } from './shell/i18n';
import { queryClientConfig } from './shell/queries';
import { createAppRouter } from './shell/router';
import './style.css';

const i18n = createMessages(preferredLocale());

createApp(App)
  .use(createAppRouter(i18n))
  .use(i18n)
  .use(VueQueryPlugin, { queryClientConfig })
  .use(ui)
  .mount('#app');
