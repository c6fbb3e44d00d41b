/// <reference types="vitest/config" />
import ui from '@nuxt/ui/vite';
import vue from '@vitejs/plugin-vue';
import { defineConfig } from 'vite';

const api = process.env['LLMOPS_API'] ?? 'http://127.0.0.1:8000';

export default defineConfig({
  base: '/',
  plugins: [
    vue(),
    ui({
      autoImport: { dts: false },
      components: { dts: 'src/components.d.ts', dirs: [] },
      colorMode: true,
      // Every icon named in the sources is bundled: at run time nothing is fetched from anywhere.
      icon: { clientBundle: { scan: { globInclude: ['src/**/*.{vue,ts}'] } } },
      ui: {
        colors: { primary: 'blue', neutral: 'zinc', info: 'sky', warning: 'amber' },
        formField: { slots: { label: 'block font-medium text-default', help: 'mt-1.5 text-xs text-muted' } },
      },
    }),
  ],
  build: { chunkSizeWarningLimit: 900, target: 'es2022' },
  server: { proxy: { '/llm-ops': api, '/dagster': api, '/health': api } },
  test: {
    environment: 'happy-dom',
    include: ['src/**/*.spec.ts'],
    maxWorkers: 2,
  },
});
