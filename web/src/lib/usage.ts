// The usage page: the time and the windows of its address, groups for the chart, snippets.
import type { UsageRow, UsageSum } from './api-types';
import { pixel } from './num';
import { startOfWeek } from './schedule';
import { parts, startOfDay } from './time';

/** The spans that a reader chooses from. An address names the first day of a week, so that it shows everybody the same week. */
export function spans(week: string): [string, string][] {
  return [['1d', 'Today'], [`week-${week}`, 'This week'], [`last-week-${week}`, 'Last week'], ['month', 'This month'], ['last', 'Last month'], ['7d', 'Last 7 days'], ['30d', 'Last 30 days'], ['90d', 'Last 90 days']];
}
const DAY = 86_400_000;
const NOON = DAY / 2;

/** The first instant of the month that an instant is in. */
function startOfMonth(at: number, zone: string): number {
  const day = startOfDay(at, zone);
  return startOfDay(day - (parseInt(parts(day, zone).day, 10) - 1) * DAY + NOON, zone);
}

/** The bounds of a named span, in whole days of a zone. */
export function bounds(span: string, zone: string, now: number): { from: number; to: number } {
  const day = startOfDay(now, zone);
  const end = startOfDay(day + DAY + NOON, zone);
  if (span === '1d') return { from: day, to: end };
  if (span === 'month') return { from: startOfMonth(now, zone), to: end };
  if (span === 'last') {
    const to = startOfMonth(now, zone);
    return { from: startOfMonth(to - NOON, zone), to };
  }
  const week = /^(last-)?week-(monday|sunday|saturday)$/.exec(span);
  if (week?.[1]) return { from: startOfWeek(now, zone, week[2], 1), to: startOfWeek(now, zone, week[2]) };
  if (week) return { from: startOfWeek(now, zone, week[2]), to: end };
  const days = /^(\d+)d$/.exec(span);
  if (days) return { from: startOfDay(day - (parseInt(days[1], 10) - 1) * DAY + NOON, zone), to: end };
  const [a, b] = span.split('..').map((text) => Date.parse(text));
  return Number.isNaN(a) || Number.isNaN(b) || a >= b ? { from: startOfMonth(now, zone), to: end } : { from: a, to: b };
}

/** The windows of a time that fits them: by hour up to two days, by month beyond a hundred. */
export function windowFor(from: number, to: number): string {
  return to - from <= 2 * DAY ? 'HOUR' : to - from > 100 * DAY ? 'MONTH' : 'DAY';
}

/** The group of a row: the user, the value of a field, or empty. */
export function groupOf(row: UsageRow, group: string): string {
  if (group === 'subject') return row.subject ?? '';
  const found = Object.values(row.groupBy ?? {})[0];
  return found === null || found === undefined ? (group ? '(none)' : '') : String(found);
}

/** Windows that a chart shows. */
const WINDOWS_MAX = 1000;

/** The chosen windows, or larger ones where there would be too many. */
export function windowWithin(size: string, from: number, to: number): string {
  const fits = (step: number) => (to - from) / step <= WINDOWS_MAX;
  if (size === 'MINUTE' && fits(60_000)) return size;
  if ((size === 'MINUTE' || size === 'HOUR') && fits(3_600_000)) return 'HOUR';
  return size !== 'MONTH' && fits(DAY) ? 'DAY' : 'MONTH';
}

/** Where each window of the chart begins; days of 23 and 25 hours are one window. */
export function windowsOf(starts: string[], from: number, to: number, size: string, zone: string): number[] {
  const known = starts.map((one) => Date.parse(one));
  const step = size === 'HOUR' ? 3_600_000 : size === 'MINUTE' ? 60_000 : DAY;
  if (size === 'MONTH' || (to - from) / step > WINDOWS_MAX) return known;
  const out: number[] = [];
  for (let at = from; at < to; at = size === 'DAY' ? startOfDay(at + DAY + NOON, zone) : at + step) out.push(at);
  return known.every((one) => out.includes(one)) ? out : known;
}

export interface Stack {
  name: string;
  color: string;
  values: (number | null)[];
  texts: string[];
}
/** Groups of the chart: as many as there are colours that everybody can tell apart. */
export const GROUPS = 6;
const COLORS = ['var(--c1)', 'var(--c2)', 'var(--c3)', 'var(--c4)', 'var(--c5)', 'var(--c6)'];

/** The groups that the server chose and the rest, for the chart. Pixels may round; `texts` have every digit. */
export function stacks(rows: UsageRow[], rest: UsageSum[], windows: number[], group: string, unit: string): Stack[] {
  const index = new Map(windows.map((at, place) => [at, place]));
  const make = (members: (UsageRow | UsageSum)[], name: string, color: string): Stack => {
    // A window without usage is no data, which is not 0.
    const values: (number | null)[] = windows.map(() => null);
    const texts: string[] = windows.map(() => '');
    for (const row of members) {
      const place = index.get(Date.parse(row.windowStart));
      if (place === undefined) continue;
      values[place] = pixel(row.value);
      texts[place] = String(row.value);
    }
    return { name, color, values, texts };
  };
  const groups = new Map<string, UsageRow[]>();
  for (const row of rows) groups.set(groupOf(row, group), [...(groups.get(groupOf(row, group)) ?? []), row]);
  const sum = (members: (UsageRow | UsageSum)[]) => members.reduce((all: number, row) => all + pixel(row.value), 0);
  const sorted = [...groups].sort((a, b) => sum(b[1]) - sum(a[1]));
  const out = sorted.map(([name, members], at) => make(members, name || unit || 'usage', COLORS[at % COLORS.length]));
  return rest.length ? [...out, make(rest, 'other', 'var(--idle-solid)')] : out;
}

/** The same request from a program. */
export function snippets(address: string): Record<string, string> {
  return {
    curl: `curl -H "Authorization: Bearer $FLOWMETER_KEY" \\\n  '${address}'`,
    Python: `import decimal, os, requests\nrows = requests.get(\n    "${address}",\n    headers={"Authorization": "Bearer " + os.environ["FLOWMETER_KEY"]},\n).json(parse_float=decimal.Decimal)["data"]  # every digit`,
    JavaScript: `const answer = await fetch(\n  "${address}",\n  { headers: { authorization: \`Bearer \${process.env.FLOWMETER_KEY}\` } },\n);\nconst text = await answer.text(); // keep the text: values have up to 38 digits`,
    CSV: `curl -H "Authorization: Bearer $FLOWMETER_KEY" -H 'Accept: text/csv' \\\n  '${address}'`,
  };
}
