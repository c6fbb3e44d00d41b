import { icons } from '@iconify-json/lucide';
import { expect, it } from 'vitest';

const sources = import.meta.glob<string>(['../**/*.{vue,ts}', '!../**/*.spec.ts'], { eager: true, query: '?raw', import: 'default' });

it('every icon that is named exists, so that the build can bundle it', () => {
  const named = Object.values(sources).flatMap((source) => [...source.matchAll(/['"]i-lucide-([\w-]+)['"]/g)].map((match) => match[1]));
  const known = new Set([...Object.keys(icons.icons), ...Object.keys(icons.aliases ?? {})]);
  expect(named.length).toBeGreaterThan(20);
  expect(named.filter((name) => !known.has(name ?? ''))).toEqual([]);
});
