import { describe, expect, it } from 'vitest';

import { LOCALES, messagesOf } from './i18n';

const sources = import.meta.glob<string>(['../**/*.{vue,ts}', '!../**/*.spec.ts', '!../**/messages.ts', '!../api/schema.d.ts'], {
  eager: true,
  query: '?raw',
  import: 'default',
});

function keysOf(tree: object, prefix = ''): string[] {
  return Object.entries(tree).flatMap(([name, value]) => (typeof value === 'object' ? keysOf(value, `${prefix}${name}.`) : [`${prefix}${name}`]));
}

const keys = Object.fromEntries(LOCALES.map((locale) => [locale, keysOf(messagesOf(locale))]));
const english = new Set(keys['en']);

function textOf(locale: (typeof LOCALES)[number], key: string): unknown {
  return key.split('.').reduce<unknown>((tree, name) => (tree as Record<string, unknown>)[name], messagesOf(locale));
}

describe('the messages', () => {
  it('exist in every language', () => {
    expect(english.size).toBeGreaterThan(100);
    for (const locale of LOCALES) expect([...(keys[locale] ?? [])].sort()).toEqual([...english].sort());
  });

  it('name the same placeholders in every language', () => {
    const placeholders = (text: unknown) => [...new Set(String(text).match(/\{\w+\}/g))].sort();
    for (const key of english) expect(placeholders(textOf('ko', key)), key).toEqual(placeholders(textOf('en', key)));
  });

  it('are there for every key that the code names', () => {
    const literal = /\bt\(\s*'([\w.]+)'/g;
    const alternatives = /\bt\(\s*[^'`)]*\?\s*'([\w.]+)'\s*:\s*'([\w.]+)'/g;
    const declared = /(?:title|label|group): '((?:home|catalog|prompts|training|evaluation|serving|cost|governance|shell)\.[\w.]+)'/g;
    const used = Object.values(sources).flatMap((source) =>
      [literal, alternatives, declared].flatMap((pattern) => [...source.matchAll(pattern)].flatMap((match) => match.slice(1))),
    );
    expect(used.length).toBeGreaterThan(200);
    expect(used.filter((key) => !english.has(key))).toEqual([]);
  });

  it('are there for every family of keys that the code builds', () => {
    const built = /`((?:\w+\.)+)\$\{/g;
    const families = Object.values(sources).flatMap((source) => [...source.matchAll(built)].map((match) => match[1] ?? ''));
    expect(families.length).toBeGreaterThan(5);
    expect(families.filter((family) => ![...english].some((key) => key.startsWith(family)))).toEqual([]);
  });
});
