// Dates and times of a wall clock, as people type them and as `2026-11-28T18:08`.
import { clock } from './time';

export const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
/** The first days that a week can have, as days of JavaScript. */
const FIRST: Record<string, number> = { sunday: 0, monday: 1, saturday: 6 };
export const WEEKS: [string, string][] = [['monday', 'Monday'], ['sunday', 'Sunday'], ['saturday', 'Saturday']];

const two = (text: string | number) => String(text).padStart(2, '0');

/** Returns the month of a name such as `Nov` or `November`, from 1; 0 if there is none. */
export function monthOf(name: string): number {
  return MONTHS.findIndex((one) => name.slice(0, 3).toLowerCase() === one.toLowerCase()) + 1;
}

/** Returns how many days before a date its week began. */
export function daysIntoWeek(year: number, month: number, day: number, first: string): number {
  return (new Date(Date.UTC(year, month - 1, day)).getUTCDay() - (FIRST[first] ?? 1) + 7) % 7;
}

/** Returns the names of the days of a week. */
export function weekdays(first: string): string[] {
  return DAYS.map((_, at) => DAYS[((FIRST[first] ?? 1) + at) % 7]);
}

/** Returns the weeks of a month; a day of another month is 0. */
export function weeks(year: number, month: number, first: string): number[][] {
  const before = daysIntoWeek(year, month, 1, first);
  const days = new Date(Date.UTC(year, month, 0)).getUTCDate();
  const rows = Math.ceil((before + days) / 7);
  return Array.from({ length: rows }, (_, row) => Array.from({ length: 7 }, (_, at) => {
    const day = row * 7 + at - before + 1;
    return day >= 1 && day <= days ? day : 0;
  }));
}

/** Returns a date moved by days: `2026-11-30` and 1 give `2026-12-01`. */
export function moved(date: string, days: number): string {
  const at = Date.parse(`${date}T00:00:00Z`) + days * 86_400_000;
  return new Date(at).toISOString().slice(0, 10);
}

/** Reads `28 Nov 2026 18:08`, `2026-11-28 6:08 pm` and the like; empty if it is neither.
 * Without a time it is midnight; without `isTimed` only the date is returned. */
export function readWall(text: string, isTimed: boolean): string {
  const found = /^\s*(?:(\d{4})-(\d{1,2})-(\d{1,2})|(\d{1,2})\s+([a-z]{3,9})\.?\s+(\d{4}))(?:[T,\s]+(\d{1,2}):(\d{2})\s*([ap]m)?)?\s*$/i.exec(text);
  if (!found) return '';
  const [, y1, m1, d1, d2, name, y2, hours, minutes, half] = found;
  const date = `${y1 ?? y2}-${two(m1 ?? monthOf(name))}-${two(d1 ?? d2)}`;
  const at = Date.parse(`${date}T00:00:00Z`);
  if (Number.isNaN(at) || new Date(at).toISOString().slice(0, 10) !== date) return '';
  if (!isTimed) return date;
  let hour = parseInt(hours ?? '0', 10);
  if (half && (hour < 1 || hour > 12)) return '';
  if (half) hour = (hour % 12) + (half.toLowerCase() === 'pm' ? 12 : 0);
  return hour > 23 || parseInt(minutes ?? '0', 10) > 59 ? '' : `${date}T${two(hour)}:${minutes ?? '00'}`;
}

/** Writes `2026-11-28T18:08` as `28 Nov 2026 18:08`, on the reader's clock. */
export function showWall(wall: string): string {
  const found = /^(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d))?$/.exec(wall);
  if (!found) return '';
  const date = `${parseInt(found[3], 10)} ${MONTHS[parseInt(found[2], 10) - 1]} ${found[1]}`;
  return found[4] ? `${date} ${clock({ hour: found[4], minute: found[5] })}` : date;
}

