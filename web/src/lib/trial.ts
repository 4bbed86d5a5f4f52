// A test of a pipeline: the way of each event, and the records of two versions side by side. Answers
// without steps give the fields at each operator for a sample of the events.
import { write, type Json } from './json';
import { pixel } from './num';

export interface Step {
  operator: string;
  kind: string;
  outcome: string;
  reason: string;
  ms: Json;
  before: Record<string, Json>;
  after: Record<string, Json>;
}
export interface Way {
  event: number;
  id: string;
  outcome: string;
  steps: Step[];
}

const member = (one: Json): Json[] => one?.steps ?? one?.operators ?? [];

/** The ways of events by number, from an answer with steps. */
function fromSteps(list: Json[], kinds: Record<string, string>): Way[] {
  const isFlat = list.some((one) => one.operator && one.event !== undefined);
  const groups = new Map<number, Json[]>();
  if (isFlat) for (const one of list) groups.set(one.event, [...(groups.get(one.event) ?? []), one]);
  else list.forEach((one, at) => groups.set(one.event ?? one.number ?? at + 1, member(one)));
  return [...groups].map(([event, steps], at) => {
    const about = isFlat ? null : list[at];
    const read = steps.map((step) => ({
      operator: step.operator ?? step.id, kind: step.kind ?? kinds[step.operator] ?? '', outcome: step.outcome ?? '', reason: [step.reason, step.detail].filter(Boolean).join(': '), ms: step.ms ?? null,
      before: step.before ?? {}, after: step.after ?? step.before ?? {},
    }));
    return { event, id: about?.id ?? '', outcome: about?.verdict ?? about?.outcome ?? read[read.length - 1]?.outcome ?? '', steps: read };
  });
}

/** The ways of events by number. */
export function ways(result: Json): Way[] {
  const operators: Json[] = result?.operators ?? [];
  const kinds = Object.fromEntries(operators.map((one) => [one.id, one.operator]));
  const list = result?.steps ?? result?.trails;
  if (Array.isArray(list) && list.length) return fromSteps(list, kinds);
  const parked = new Map<number, Json>((result?.parked ?? []).map((one: Json) => [one.event, one]));
  const received = pixel(result?.events?.received ?? 0);
  return Array.from({ length: Math.min(received, 1000) }, (_, at) => at + 1).map((event) => {
    const met = operators.filter((one) => (one.samples ?? []).some((sample: Json) => sample.event === event));
    const fields = met.map((one) => one.samples.find((sample: Json) => sample.event === event).fields as Record<string, Json>);
    const problem = parked.get(event);
    const steps = met.map((one, at) => ({
      operator: one.id, kind: one.operator, outcome: problem?.operator === one.id ? 'parked' : 'passed', reason: problem?.operator === one.id ? `${problem.reason}: ${problem.detail}` : '', ms: null,
      before: fields[at - 1] ?? fields[at], after: fields[at],
    }));
    if (problem && !steps.some((step) => step.operator === problem.operator)) steps.push({ operator: problem.operator, kind: kinds[problem.operator] ?? '', outcome: 'parked', reason: `${problem.reason}: ${problem.detail}`, ms: null, before: fields[fields.length - 1] ?? {}, after: fields[fields.length - 1] ?? {} });
    return { event, id: '', outcome: problem ? 'parked' : '', steps };
  });
}

/** The fields that a step changed: name, before, after. */
export function changes(step: Step): { name: string; before: string; after: string; changed: boolean }[] {
  const names = [...new Set([...Object.keys(step.before), ...Object.keys(step.after)])];
  const text = (value: Json) => (value === undefined ? '' : write(value));
  return names.map((name) => ({ name, before: text(step.before[name]), after: text(step.after[name]), changed: text(step.before[name]) !== text(step.after[name]) }));
}

export interface Pair {
  now: Json;
  then: Json;
}

/** Records of the draft beside those of the version in force. */
export function pair(now: Json[], then: Json[]): Pair[] {
  const key = (record: Json) => `${record.userId}\n${record.meterTypeName}\n${record.periodStart}`;
  const old = new Map<string, Json>(then.map((record) => [key(record), record]));
  const rows = now.map((record) => ({ now: record, then: old.get(key(record)) ?? null }));
  rows.forEach((row) => old.delete(key(row.now)));
  return [...rows, ...[...old.values()].map((record) => ({ now: null, then: record }))];
}

/** Returns the records that the version in force would flush, if the answer has them. */
export function recordsAgainst(result: Json): Json[] | null {
  const other = result?.against;
  if (Array.isArray(other?.wouldFlush)) return other.wouldFlush;
  return Array.isArray(result?.wouldFlushAgainst) ? result.wouldFlushAgainst : null;
}
