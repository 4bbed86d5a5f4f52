// Differences between parked and counted events: fields, their kinds, and common values.
import { write, type Json } from './json';

export interface Difference {
  field: string;
  parked: string;
  counted: string;
}

function flat(event: Json, prefix = '', out: Record<string, string> = {}): Record<string, string> {
  for (const [name, value] of Object.entries<Json>(event ?? {})) {
    const path = prefix + name;
    if (value && typeof value === 'object' && !Array.isArray(value) && !('text' in value)) flat(value, `${path}.`, out);
    else out[path] = write(value);
  }
  return out;
}

const kindOf = (text: string): string => (text === '""' ? 'empty text' : text.startsWith('"') ? 'text' : text.startsWith('[') ? 'list' : text === 'null' ? 'null' : /^(true|false)$/.test(text) ? 'true or false' : 'number');
const shape = (all: Record<string, string>[], field: string): string => {
  const kinds = new Set(all.map((one) => (one[field] === undefined ? 'absent' : kindOf(one[field]))));
  return [...kinds].sort().join(' or ');
};

/** Fields whose kinds differ between parked and counted events, such as `empty text` and `text`. */
export function differences(parked: Json[], counted: Json[]): Difference[] {
  if (!parked.length || !counted.length) return [];
  const [a, b] = [parked.map((one) => flat(one)), counted.map((one) => flat(one))];
  const names = [...new Set([...a, ...b].flatMap((one) => Object.keys(one)))].sort();
  return names.map((field) => ({ field, parked: shape(a, field), counted: shape(b, field) })).filter((one) => one.parked !== one.counted);
}

/** The commonest values of a field with their counts. */
export function commonest(events: Json[], read: (event: Json) => Json, most = 5): [string, number][] {
  const counts = new Map<string, number>();
  for (const event of events) {
    const value = String(read(event) ?? '');
    counts.set(value, (counts.get(value) ?? 0) + 1);
  }
  return [...counts].sort((x, y) => y[1] - x[1]).slice(0, most);
}
