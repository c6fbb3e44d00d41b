import { createI18n } from 'vue-i18n';

import shell from './messages';

/** The languages of the console; every message exists in each (a test fails otherwise). */
export const LOCALES = ['en', 'ko'] as const;
export type Locale = (typeof LOCALES)[number];

type Tree = { [key: string]: string | Tree };
export type Messages = Record<Locale, Tree>;

const STORAGE_KEY = 'llmops-locale';

const folders = import.meta.glob<Messages>(['../kit/messages.ts', '../rooms/*/messages.ts'], {
  eager: true,
  import: 'default',
});

/** All messages of one language, each folder's under the folder's name. */
export function messagesOf(locale: Locale): Tree {
  const all: Tree = { shell: shell[locale] };
  for (const [path, messages] of Object.entries(folders)) {
    const folder = path.split('/').at(-2);
    if (folder) all[folder] = messages[locale];
  }
  return all;
}

export function isLocale(value: unknown): value is Locale {
  return LOCALES.some((locale) => locale === value);
}

/** The language chosen before, or the browser's, or English. */
export function preferredLocale(): Locale {
  const stored = localStorage.getItem(STORAGE_KEY);
  if (isLocale(stored)) return stored;
  return navigator.language.toLowerCase().startsWith('ko') ? 'ko' : 'en';
}

export function rememberLocale(locale: Locale): void {
  localStorage.setItem(STORAGE_KEY, locale);
}

export function createMessages(locale: Locale) {
  return createI18n({
    legacy: false,
    locale,
    fallbackLocale: 'en',
    messages: { en: messagesOf('en'), ko: messagesOf('ko') },
    missingWarn: import.meta.env.DEV,
    fallbackWarn: false,
  });
}

export type AppI18n = ReturnType<typeof createMessages>;
