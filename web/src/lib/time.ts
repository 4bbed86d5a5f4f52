// Times in one zone for the whole page, with the offset where it matters.
import { prefs } from './prefs.svelte';

let skew = 0;

/** Notes what the server's clock says, so that "ago" is right on a machine with a wrong clock. */
export function setServerTime(at: string | undefined): void {
  const server = at ? Date.parse(at) : NaN;
  if (!Number.isNaN(server)) skew = server - Date.now();
}

export function now(): number {
  return Date.now() + skew;
}

const formats = new Map<string, Intl.DateTimeFormat>();

function format(zone: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = zone + JSON.stringify(options);
  let known = formats.get(key);
  if (!known) {
    try {
      known = new Intl.DateTimeFormat('en-GB', { ...options, timeZone: zone });
    } catch {
      known = new Intl.DateTimeFormat('en-GB', { ...options, timeZone: 'UTC' });
    }
    formats.set(key, known);
  }
  return known;
}

interface Parts {
  year: string;
  month: string;
  day: string;
  hour: string;
  minute: string;
  second: string;
}

export function parts(at: number, zone = prefs.zone): Parts {
  const options: Intl.DateTimeFormatOptions = {
    year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23',
  };
  const found: Record<string, string> = {};
  for (const part of format(zone, options).formatToParts(at)) found[part.type] = part.value;
  // September has four letters in this language.
  found.month = found.month.slice(0, 3);
  return found as unknown as Parts;
}

/** `+01:00` */
export function offset(at: number, zone = prefs.zone): string {
  const part = format(zone, { timeZoneName: 'longOffset' }).formatToParts(at).find((part) => part.type === 'timeZoneName');
  const text = (part?.value ?? 'GMT').replace('GMT', '');
  return text === '' ? '+00:00' : text;
}

/** Returns an instant in milliseconds; NaN if there is none. */
export function instant(at: string | number | null | undefined): number {
  return typeof at === 'number' ? at : at ? Date.parse(at) : NaN;
}

type Precision = 'minutes' | 'seconds' | 'millis';

/** The time of a day on the reader's clock: `18:08:11` or `6:08:11 PM`. */
export function clock(p: Pick<Parts, 'hour' | 'minute'> & { second?: string }, precision: Precision = 'minutes', millis = 0): string {
  const part = precision === 'millis' ? `.${String(millis).padStart(3, '0')}` : '';
  const rest = `:${p.minute}${precision === 'minutes' ? '' : `:${p.second}${part}`}`;
  if (prefs.clock !== '12') return p.hour + rest;
  const hour = parseInt(p.hour, 10);
  // The space does not break, so that AM and PM stay with their time.
  return `${hour % 12 || 12}${rest}\u00a0${hour < 12 ? 'AM' : 'PM'}`;
}

/** `28 Nov 2026 18:08:11`, on the reader's clock. */
export function dateTime(at: string | number | null | undefined, zone = prefs.zone, precision: Precision = 'seconds'): string {
  const when = instant(at);
  if (Number.isNaN(when)) return '–';
  const p = parts(when, zone);
  return `${p.day} ${p.month} ${p.year} ${clock(p, precision, when % 1000)}`;
}

/** The part that differs from today: `18:08:11`, `28 Nov 18:08`. */
export function brief(at: string | number | null | undefined, zone = prefs.zone): string {
  const when = instant(at);
  if (Number.isNaN(when)) return '–';
  const [p, today] = [parts(when, zone), parts(now(), zone)];
  if (p.year === today.year && p.month === today.month && p.day === today.day) return clock(p, 'seconds');
  if (p.year === today.year) return `${p.day} ${p.month} ${clock(p)}`;
  return `${p.day} ${p.month} ${p.year} ${clock(p)}`;
}

/** A period with its dates: `1 Nov 00:00 – 1 Dec 2026 00:00`, within a day `1 Dec 2026 07:00 – 08:00`; the first year only where it differs. */
export function period(from: string | null | undefined, to: string | null | undefined, zone = prefs.zone): string {
  const text = (at: string, withYear: boolean) => {
    const p = parts(instant(at), zone);
    const time = p.second === '00' ? clock(p) : clock(p, 'seconds');
    return `${p.day} ${p.month}${withYear ? ` ${p.year}` : ''} ${time}`;
  };
  if (!from) return to ? `until ${text(to, true)}` : '–';
  if (!to) return `${text(from, true)} – no end`;
  const [a, b] = [parts(instant(from), zone), parts(instant(to), zone)];
  const isSameDay = a.year === b.year && a.month === b.month && a.day === b.day;
  const hasSeconds = a.second !== '00' || b.second !== '00';
  // Where the clock changes within the day, an hour may be shown twice: both bounds have their dates and offsets.
  if (isSameDay && offset(instant(from), zone) === offset(instant(to), zone)) return `${text(from, true)} – ${clock(b, hasSeconds ? 'seconds' : 'minutes')}`;
  if (isSameDay) return `${text(from, true)} ${offset(instant(from), zone)} – ${text(to, true)} ${offset(instant(to), zone)}`;
  return `${text(from, a.year !== b.year)} – ${text(to, true)}`;
}

export function date(at: string | number | null | undefined, zone = prefs.zone): string {
  const when = instant(at);
  if (Number.isNaN(when)) return '–';
  const p = parts(when, zone);
  return `${p.day} ${p.month} ${p.year}`;
}

/** The whole truth, for tooltips: the page's zone, UTC, and the object's own. */
export function title(at: string | number | null | undefined, own?: string): string {
  const when = instant(at);
  if (Number.isNaN(when)) return '';
  const line = (zone: string) => `${dateTime(when, zone, 'millis')} ${offset(when, zone)} ${zone}`;
  const zones = [prefs.zone, 'UTC', ...(own ? [own] : [])];
  return [...new Set(zones)].map(line).join('\n');
}

export function span(millis: number): string {
  const seconds = Math.max(0, Math.floor(millis / 1000));
  if (millis < 1000) return `${Math.max(0, Math.floor(millis))} ms`;
  const [d, h, m, s] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, seconds % 60];
  if (d) return h ? `${d} d ${h} h` : `${d} d`;
  if (h) return m ? `${h} h ${m} min` : `${h} h`;
  if (m) return m < 10 && s ? `${m} min ${s} s` : `${m} min`;
  return `${s} s`;
}

export function ago(at: string | number | null | undefined): string {
  const when = instant(at);
  if (Number.isNaN(when)) return '';
  const gone = now() - when;
  return gone < 0 ? `in ${span(-gone)}` : gone < 1000 ? 'now' : `${span(gone)} ago`;
}

/** The instant at which the day of the page's zone began. */
export function startOfDay(at: number, zone = prefs.zone): number {
  const p = parts(at, zone);
  const gone = (parseInt(p.hour, 10) * 60 + parseInt(p.minute, 10)) * 60 + parseInt(p.second, 10);
  let start = at - (at % 1000) - gone * 1000;
  // A change of the clock in between shifts the guess by an hour or so.
  const q = parts(start, zone);
  const wrong = (parseInt(q.hour, 10) * 60 + parseInt(q.minute, 10)) * 60 + parseInt(q.second, 10);
  if (wrong) start += wrong > 43200 ? (86400 - wrong) * 1000 : -wrong * 1000;
  return start;
}

const SPANS: Record<string, number> = { '1h': 3600e3, '24h': 86400e3, '7d': 7 * 86400e3, '30d': 30 * 86400e3 };
export const RANGES: [string, string][] = [['1h', 'Last hour'], ['24h', 'Last 24 hours'], ['7d', 'Last 7 days'], ['30d', 'Last 30 days']];

export interface Range {
  from: number;
  to: number;
  label: string;
  live: boolean;
}

/** A range from the address: relative, or `from..to`. */
export function range(text: string): Range {
  const known = RANGES.find(([name]) => name === text);
  const to = now();
  if (known) return { from: to - SPANS[known[0]], to, label: known[1], live: true };
  const [a, b] = text.split('..');
  const [from, until] = [Date.parse(a), Date.parse(b)];
  if (Number.isNaN(from) || Number.isNaN(until) || from >= until) return range('1h');
  return { from, to: until, label: `${brief(from)} – ${brief(until)}`, live: false };
}

/** The bounds of a range as parameters of a list: in whole minutes, so that a page asks the same for a while. */
export function bounds(wide: Range | null): { from: string; to: string } {
  return { from: wide ? iso(Math.floor(wide.from / 60_000) * 60_000) : '', to: wide && !wide.live ? iso(wide.to) : '' };
}

export const iso = (at: number): string => new Date(at).toISOString();
