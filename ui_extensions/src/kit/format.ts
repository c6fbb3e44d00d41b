import { useI18n } from 'vue-i18n';

const BYTE_UNITS = ['B', 'KB', 'MB', 'GB', 'TB'];

/** Numbers, sizes and times in the words of the chosen language; `—` for what is not known. */
export function useFormat() {
  const { locale } = useI18n();
  const absent = '—';

  /** A number with at most `digits` significant digits after rounding large ones. */
  function number(value: number | null | undefined, digits = 4): string {
    if (value === null || value === undefined || Number.isNaN(value)) return absent;
    const options: Intl.NumberFormatOptions =
      Number.isInteger(value) || Math.abs(value) >= 1000 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: digits };
    return new Intl.NumberFormat(locale.value, options).format(value);
  }

  function percent(fraction: number | null | undefined, digits = 0): string {
    if (fraction === null || fraction === undefined) return absent;
    return new Intl.NumberFormat(locale.value, { style: 'percent', maximumFractionDigits: digits }).format(fraction);
  }

  /** A size in steps of 1,000. */
  function bytes(value: number | null | undefined): string {
    if (value === null || value === undefined) return absent;
    const step = value < 1 ? 0 : Math.min(Math.floor(Math.log10(value) / 3), BYTE_UNITS.length - 1);
    const scaled = value / 1000 ** step;
    return `${new Intl.NumberFormat(locale.value, { maximumFractionDigits: scaled < 10 && step > 0 ? 1 : 0 }).format(scaled)} ${BYTE_UNITS[step]}`;
  }

  function time(value: string | null | undefined): string {
    if (!value) return absent;
    return new Intl.DateTimeFormat(locale.value, { dateStyle: 'medium', timeStyle: 'short' }).format(new Date(value));
  }

  /** Seconds as `1 h 2 min`, `3 min 4 s` or `5 s`. */
  function duration(seconds: number | null | undefined): string {
    if (seconds === null || seconds === undefined || seconds < 0) return absent;
    const unit = (amount: number, name: 'hour' | 'minute' | 'second') =>
      new Intl.NumberFormat(locale.value, { style: 'unit', unit: name, unitDisplay: 'short', maximumFractionDigits: 0 }).format(amount);
    const whole = Math.round(seconds);
    if (whole >= 3600) return `${unit(Math.floor(whole / 3600), 'hour')} ${unit(Math.floor((whole % 3600) / 60), 'minute')}`;
    if (whole >= 60) return `${unit(Math.floor(whole / 60), 'minute')} ${unit(whole % 60, 'second')}`;
    return unit(whole, 'second');
  }

  /** How long from one time to another, or until `now` while it goes on. */
  function between(from: string | null | undefined, to: string | null | undefined, now = Date.now()): string {
    if (!from) return absent;
    return duration(((to ? Date.parse(to) : now) - Date.parse(from)) / 1000);
  }

  return { number, percent, bytes, time, duration, between };
}

/** The first characters of an id or digest, enough to tell them apart by eye. */
export function shorten(text: string, length = 8): string {
  const bare = text.replace(/^sha256:/, '');
  return bare.length > length ? bare.slice(0, length) : bare;
}
