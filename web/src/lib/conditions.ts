// Conditions of notifications: a form of rows, the JSON that the API takes, and the sentence it means.
import { parse, write, type Json } from './json';

export interface Test {
  field: string;
  op: string;
  value: string;
}
export interface Group {
  how: 'all' | 'any';
  tests: Test[];
}
/** One level deep: tests, and at most one group of the other kind inside. */
export interface Form extends Group {
  inner: Group | null;
}

const TEXT: [string, string][] = [['=', 'is'], ['!=', 'is not'], ['in', 'is one of'], ['startsWith', 'begins with'], ['isNull', 'is absent']];
const ORDER: [string, string][] = [['=', 'is'], ['!=', 'is not'], ['<', 'is less than'], ['<=', 'is at most'], ['>', 'is more than'], ['>=', 'is at least'], ['isNull', 'is absent']];
const NAMES: [string, string][] = [['=', 'is'], ['!=', 'is not'], ['in', 'is one of'], ['isNull', 'is absent']];
const WORDS: Record<string, string> = { ...Object.fromEntries([...ORDER, ...TEXT]), '≠': 'is not', '≤': 'is at most', '≥': 'is at least' };

/** The operators that a field takes, with their words. */
export function operators(field: Json): [string, string][] {
  if (field?.values) return NAMES;
  return /number|time/.test(field?.type ?? '') ? ORDER : TEXT;
}

function valueOf(test: Test, field: Json): Json {
  const isNumber = /number/.test(field?.type ?? '');
  const one = (text: string): Json => {
    if (!isNumber) return text;
    try { return parse(text); } catch { return text; }
  };
  return test.op === 'in' ? test.value.split(',').map((part) => part.trim()).filter(Boolean).map(one) : one(test.value.trim());
}

/** The conditions as the API takes them; none without a complete test. */
export function conditions(form: Form, fields: Json[]): Json {
  const read = (tests: Test[]) =>
    tests
      .filter((test) => test.field && (test.op === 'isNull' || test.value.trim() !== ''))
      .map((test) => (test.op === 'isNull' ? { field: test.field, op: test.op } : { field: test.field, op: test.op, value: valueOf(test, fields.find((field) => field.name === test.field)) }));
  const all: Json[] = read(form.tests);
  const inner = form.inner ? read(form.inner.tests) : [];
  if (form.inner && inner.length) all.push({ [form.inner.how]: inner });
  if (!all.length) return undefined;
  return all.length === 1 && all[0].field ? all[0] : { [form.how]: all };
}

const textOf = (value: Json): string => (Array.isArray(value) ? value.map((one) => (typeof one === 'string' ? one : write(one))).join(', ') : typeof value === 'string' ? value : value === undefined ? '' : write(value));

/** The form of conditions; none if they nest deeper than the form shows. */
export function formOf(value: Json): Form | null {
  const empty: Form = { how: 'all', tests: [], inner: null };
  if (value === undefined || value === null) return empty;
  const test = (one: Json): Test => ({ field: one.field, op: one.op, value: textOf(one.value) });
  if (value.field) return { ...empty, tests: [test(value)] };
  const how = value.any ? 'any' : 'all';
  const all: Json[] = value[how] ?? [];
  const groups = all.filter((one) => !one.field);
  if (groups.length > 1 || groups.some((one) => (one.any ?? one.all ?? []).some((deep: Json) => !deep.field))) return null;
  const inner = groups[0];
  return { how, tests: all.filter((one) => one.field).map(test), inner: inner ? { how: inner.any ? 'any' : 'all', tests: (inner.any ?? inner.all).map(test) } : null };
}

/** The sentence that conditions mean. */
export function sentence(value: Json): string {
  if (value === undefined || value === null) return '';
  if (value.field) return `${value.field} ${WORDS[value.op] ?? value.op}${value.op === 'isNull' ? '' : ` ${textOf(value.value)}`}`;
  const how = value.any ? 'any' : 'all';
  return (value[how] ?? []).map((one: Json) => (one.field ? sentence(one) : `(${sentence(one)})`)).join(how === 'any' ? ' or ' : ' and ');
}
