// A test of a pipeline: the way of each event, and the records of two versions side by side.
import { write, type Json } from './json';

export interface Step {
  operator: string | null;
  type?: string;
  outcome: string;
  part?: number;
  reason?: string;
  detail?: string;
  before: Record<string, Json> | null;
  after: Record<string, Json> | null;
}
export interface Way {
  event: number;
  /** The event's own id, if the pipeline reads it. */
  id: string;
  outcome: string;
  steps: Step[];
}

/** Returns the ways of the events, each with the outcome of its last step. */
export function ways(result: Json): Way[] {
  return (result.steps ?? []).map((one: Json) => ({ ...one, id: String(one.steps[0]?.before?.id ?? ''), outcome: one.steps[one.steps.length - 1]?.outcome ?? '' }));
}

/** Returns the fields of a step: name, before, after. A step without `after` changes nothing. */
export function changes(step: Step): { name: string; before: string; after: string; changed: boolean }[] {
  const before = step.before ?? {};
  const after = step.after ?? before;
  const text = (value: Json) => (value === undefined ? '' : write(value));
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].map((name) => ({
    name, before: text(before[name]), after: text(after[name]), changed: !!step.before && text(before[name]) !== text(after[name]),
  }));
}

export interface Compared {
  userId: string;
  meterType: string;
  periodStart: string | null;
  periodEnd: string | null;
  unit: string;
  now: Json;
  then: Json;
  differs: boolean;
}

/** Returns the records of a test: those that differ from the other version first, then the equal ones. */
export function compared(result: Json): Compared[] {
  const key = (one: Json) => [one.userId, one.meterType ?? one.meterTypeName, one.periodStart, one.periodEnd].join('\n');
  const records: Json[] = result.wouldFlush ?? [];
  const units = new Map<string, string>([...records, ...(result.against?.wouldFlush ?? [])].map((one: Json) => [one.meterTypeName, one.unit]));
  const different: Compared[] = (result.against?.difference ?? []).map((one: Json) => ({ ...one, unit: units.get(one.meterType) ?? '', now: one.after, then: one.before, differs: true }));
  const known = new Set(different.map(key));
  const equal = records.filter((one) => !known.has(key(one))).map((one) => ({
    userId: one.userId, meterType: one.meterTypeName, periodStart: one.periodStart, periodEnd: one.periodEnd, unit: one.unit, now: one.value, then: one.value, differs: false,
  }));
  return [...different, ...equal];
}
