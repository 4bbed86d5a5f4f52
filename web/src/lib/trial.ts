// A test of a pipeline: the way of each event, and the records of two versions side by side.
import type { MeteredRecord, PipelineTestReport, TestedEvent, TestStep, VersionDifference } from './api-types';
import { write, type Json, type Num } from './json';

export interface Way extends TestedEvent {
  /** The event's own id, if the pipeline reads it. */
  id: string;
  outcome: string;
}

/** Returns the ways of the events, each with the outcome of its last step. */
export function ways(result: Pick<PipelineTestReport, 'steps'>): Way[] {
  return (result.steps ?? []).map((one) => ({ ...one, id: String(one.steps[0]?.before?.id ?? ''), outcome: one.steps[one.steps.length - 1]?.outcome ?? '' }));
}

/** Returns the fields of a step: name, before, after. A step without `after` changes nothing. */
export function changes(step: Pick<TestStep, 'before' | 'after'>): { name: string; before: string; after: string; changed: boolean }[] {
  const before: Record<string, Json> = step.before ?? {};
  const after: Record<string, Json> = step.after ?? before;
  const text = (value: Json) => (value === undefined ? '' : write(value));
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].map((name) => ({
    name, before: text(before[name]), after: text(after[name]), changed: !!step.before && text(before[name]) !== text(after[name]),
  }));
}

type Flushed = Pick<MeteredRecord, 'userId' | 'meterTypeName' | 'periodStart' | 'periodEnd' | 'unit' | 'value'> & Partial<Pick<MeteredRecord, 'timezone'>>;
interface Compare {
  wouldFlush: Flushed[];
  against?: { wouldFlush: Flushed[]; difference: VersionDifference[] };
}
export type Compared = Omit<VersionDifference, 'after' | 'before'> & { timezone: string | undefined; unit: string; now: Num | null; then: Num | null; differs: boolean };

/** Returns the records of a test: those that differ from the other version first, then the equal ones. */
export function compared({ wouldFlush, against }: Compare): Compared[] {
  const key = (one: Omit<VersionDifference, 'after' | 'before'>) => [one.userId, one.meterType, one.periodStart, one.periodEnd].join('\n');
  const units = new Map([...wouldFlush, ...(against?.wouldFlush ?? [])].map((one) => [one.meterTypeName, one.unit]));
  const zones = new Map([...wouldFlush, ...(against?.wouldFlush ?? [])].map((one) => [one.meterTypeName, one.timezone]));
  const different = (against?.difference ?? []).map(({ after, before, ...one }) => ({ ...one, timezone: zones.get(one.meterType), unit: units.get(one.meterType) ?? '', now: after, then: before, differs: true }));
  const known = new Set(different.map(key));
  const all = wouldFlush.map((one) => ({
    userId: one.userId, meterType: one.meterTypeName, periodStart: one.periodStart, periodEnd: one.periodEnd, timezone: one.timezone, unit: one.unit, now: one.value, then: one.value, differs: false,
  }));
  return [...different, ...all.filter((one) => !known.has(key(one)))];
}
