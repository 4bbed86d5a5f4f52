// Words for values of the API.
import { write, type Json } from './json';

export function schedule(value: Json): string {
  if (typeof value === 'string') return value;
  if (value?.every) return `every ${value.count && String(value.count) !== '1' ? `${value.count} ` : ''}${value.every}`;
  return value ? `cron ${['minute', 'hour', 'day', 'month', 'weekday'].map((name) => value[name] ?? '*').join(' ')}` : '';
}

/** The zone of a meter type, or the default where each meter may have its own. */
export function zoneOf(value: Json): string | undefined {
  return typeof value === 'object' && value ? (value.default ?? 'Etc/UTC') : value;
}

export function zoneWords(value: Json): string {
  return typeof value === 'object' && value ? `the zone of each meter (${value.field}), else ${zoneOf(value)}` : value;
}

const SUMS: Record<string, [string, string]> = {
  sum: ['sum of the values', ''],
  increment: ['number of events', ''],
  count: ['number of events', ''],
  max: ['the largest value', 'Windows do not add up to the total: the total is the largest of all.'],
  min: ['the smallest value', 'Windows do not add up to the total: the total is the smallest of all.'],
  avg: ['the mean value', 'Windows do not add up to the total: the total is the mean over all events.'],
  average: ['the mean value', 'Windows do not add up to the total: the total is the mean over all events.'],
  latest: ['the newest value', 'Windows do not add up to the total: the total is the newest of all.'],
  last: ['the newest value', 'Windows do not add up to the total: the total is the newest of all.'],
  unique: ['number of different values', 'Windows do not add up to the total: a value that is in two windows counts once in the total.'],
  weighted: ['the mean level, each level weighted by how long it held', 'Windows do not add up to the total: the total is the mean over the whole time.'],
  delta: ['the increase of the readings', 'Windows may not add up to the total: an increase counts in the window of the later reading.'],
};

/** The aggregation in words, and a warning where windows do not add up. */
export function aggregation(value: Json): [string, string] {
  const name = typeof value === 'string' ? value : Object.keys(value ?? {})[0] ?? '';
  if (name === 'percentile') {
    const p = value?.percentile?.p ?? value?.p;
    return [p === undefined ? 'a percentile of the values' : `the ${p}th percentile of the values`, 'Windows do not add up to the total: the total is the percentile of all values.'];
  }
  const known = SUMS[name] ?? Object.entries(SUMS).find(([key]) => name.toLowerCase().startsWith(key))?.[1];
  return known ?? [typeof value === 'string' ? value : write(value), 'Windows may not add up to the total.'];
}
