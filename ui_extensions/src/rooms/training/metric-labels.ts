import { useI18n } from 'vue-i18n';

/** A metric's name in words: ours in the chosen language, anybody else's as it was given. */
export function useMetricLabel(): (name: string) => string {
  const { t, te } = useI18n();
  return (name) => {
    const key = `training.metrics.${name.replace('system/', 'system_')}`;
    // A name with a dot would be looked up as a path, and one such as `__proto__` would find what no message is.
    if (/^[a-z][a-z0-9_]*$/.test(key.slice('training.metrics.'.length)) && te(key)) return t(key);
    return name;
  };
}
