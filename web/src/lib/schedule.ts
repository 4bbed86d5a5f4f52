// The next boundaries of a schedule in a zone, for the preview of a meter type. The server decides;
// this shows what it will decide for schedules by name and by `every`.
import { offset, parts } from './time';
import { daysIntoWeek, monthOf } from './wall';
import type { Json } from './json';

interface Wall { year: number; month: number; day: number; hour: number; minute?: number }

function minutes(at: number, zone: string): number {
  const [, sign, h, m] = /([+-])(\d\d):(\d\d)/.exec(offset(at, zone)) ?? ['', '+', '0', '0'];
  return (sign === '-' ? -1 : 1) * (parseInt(h, 10) * 60 + parseInt(m, 10));
}

/** Returns the instant at which a zone's clock shows a wall time; the first one if it shows it twice. */
export function instantOf(wall: Wall, zone: string): number {
  const naive = Date.UTC(wall.year, wall.month - 1, wall.day, wall.hour, wall.minute ?? 0);
  const early = naive - minutes(naive - 86_400_000, zone) * 60_000;
  const late = naive - minutes(naive + 86_400_000, zone) * 60_000;
  const fits = [early, late].filter((at) => at + minutes(at, zone) * 60_000 === naive).sort((a, b) => a - b);
  // A wall time that does not exist is moved to the end of the gap.
  return fits[0] ?? Math.max(early, late);
}

/** Returns the instant of a wall time as fields have it, `2026-11-28T18:08`; NaN if it is none. */
export function instantOfText(text: string, zone: string): number {
  const found = /^(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d))?/.exec(text);
  if (!found) return NaN;
  const [year, month, day, hour, minute] = found.slice(1).map((part) => parseInt(part ?? '0', 10));
  return instantOf({ year, month, day, hour, minute }, zone);
}

/** Returns the midnight of a date; days beyond the end of a month are those of the next one. */
function on(year: number, month: number, day: number): Wall {
  const date = new Date(Date.UTC(year, month - 1, day));
  return { year: date.getUTCFullYear(), month: date.getUTCMonth() + 1, day: date.getUTCDate(), hour: 0 };
}

/** Returns the instant at which the week began that is `back` weeks before an instant's. */
export function startOfWeek(at: number, zone: string, first: string, back = 0): number {
  const p = parts(at, zone);
  const [year, month, day] = [parseInt(p.year, 10), monthOf(p.month), parseInt(p.day, 10)];
  return instantOf(on(year, month, day - daysIntoWeek(year, month, day, first) - 7 * back), zone);
}

const UNITS: Record<string, string> = { hourly: 'hour', daily: 'day', weekly: 'week', monthly: 'month', quarterly: 'quarter', yearly: 'year', annually: 'year' };

/** Returns the next `count` boundaries after an instant; empty if the schedule is another kind. */
export function boundaries(schedule: Json, zone: string, after: number, count: number): number[] {
  const isNamed = typeof schedule === 'string';
  const unit = isNamed ? UNITS[schedule] : schedule?.every && String(schedule.count ?? 1) === '1' && !schedule.anchor ? String(schedule.every).replace(/s$/, '') : undefined;
  if (!unit) return [];
  if (unit === 'hour') {
    const first = Math.floor(after / 3_600_000) * 3_600_000;
    return Array.from({ length: count }, (_, at) => first + (at + 1) * 3_600_000);
  }
  const p = parts(after, zone);
  const [year, month, day] = [parseInt(p.year, 10), monthOf(p.month), parseInt(p.day, 10)];
  // The server's weeks begin on Monday, whatever the reader prefers.
  const weekday = daysIntoWeek(year, month, day, 'monday');
  const step = (at: number): Wall => {
    if (unit === 'day') return on(year, month, day + at);
    if (unit === 'week') return on(year, month, day - weekday + 7 * at);
    if (unit === 'month') return on(year, month + at, 1);
    if (unit === 'quarter') return on(year, month - ((month - 1) % 3) + 3 * at, 1);
    return on(year + at, 1, 1);
  };
  // A day that a zone leaves out has the boundary of the next one: the same instant, once.
  const all = Array.from({ length: count + 2 }, (_, at) => instantOf(step(at), zone)).filter((at) => at > after);
  return [...new Set(all)].slice(0, count);
}

/** Describes a period in which the clock changes: a day of 23 or 25 hours, or an hour less or more. */
export function oddity(from: number, to: number, zone: string): string {
  const shift = minutes(to, zone) - minutes(from, zone);
  if (!shift) return '';
  const hours = (to - from) / 3_600_000;
  return hours <= 26 ? `a day of ${hours} hours` : `one hour ${shift > 0 ? 'shorter' : 'longer'}: the clock changes`;
}

