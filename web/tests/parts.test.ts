import { describe, expect, test } from 'vitest';

const store = new Map<string, string>();
Object.assign(globalThis, { localStorage: { getItem: (name: string) => store.get(name) ?? null, setItem: (name: string, value: string) => store.set(name, value) } });

const { attemptCount, attemptsOf, pauses } = await import('../src/lib/attempts');
const { commonest, differences } = await import('../src/lib/compare');
const { conditions, formOf, operators, sentence } = await import('../src/lib/conditions');
const { byOutput, left } = await import('../src/lib/flow');
const { parse, write } = await import('../src/lib/json');
const { boundaries, instantOf, oddity } = await import('../src/lib/schedule');
const { changes, pair, ways } = await import('../src/lib/trial');
const { bounds, stacks, usageCsv, windowFor, windowsOf } = await import('../src/lib/usage');
const { slice, WHOLE } = await import('../src/lib/window');
const iso = (at: number) => new Date(at).toISOString();

describe('long tables', () => {
  test('short ones are whole, long ones have the rows near the window', () => {
    expect(slice(100, 0, 900, 34)).toEqual({ first: 0, last: 100 });
    const part = slice(2000, 34_000, 900, 34);
    expect(part.first).toBeLessThanOrEqual(1000);
    expect(part.last).toBeGreaterThanOrEqual(1027);
    expect(part.last - part.first).toBeLessThan(80);
    expect(slice(WHOLE + 1, -500, 900, 34).first).toBe(0);
  });
  test('every row is drawn at some scroll position', () => {
    const seen = new Set<number>();
    for (let above = 0; above < 500 * 34; above += 700) {
      const { first, last } = slice(500, above, 900, 34);
      for (let at = first; at < last; at++) seen.add(at);
    }
    expect(seen.size).toBe(500);
  });
});

describe('usage', () => {
  const now = Date.parse('2026-11-28T17:00:00Z');
  test('named spans are whole days and months of the zone', () => {
    const oslo = bounds('month', 'Europe/Oslo', now);
    expect([iso(oslo.from), iso(oslo.to)]).toEqual(['2026-10-31T23:00:00.000Z', '2026-11-28T23:00:00.000Z']);
    const last = bounds('last', 'Europe/Oslo', now);
    expect([iso(last.from), iso(last.to)]).toEqual(['2026-09-30T22:00:00.000Z', '2026-10-31T23:00:00.000Z']);
    expect(iso(bounds('7d', 'Asia/Kolkata', now).from)).toBe('2026-11-21T18:30:00.000Z');
    const exact = bounds('2026-01-01T00:00:00Z..2026-01-02T00:00:00Z', 'UTC', now);
    expect(exact.to - exact.from).toBe(86_400_000);
    expect(windowFor(exact.from, exact.to)).toBe('HOUR');
  });
  test('days of 23 and 25 hours are one window each', () => {
    const spring = { from: Date.parse('2026-03-27T23:00:00Z'), to: Date.parse('2026-03-30T22:00:00Z') };
    const days = windowsOf(['2026-03-28T23:00:00Z'], spring.from, spring.to, 'DAY', 'Europe/Oslo');
    expect(days.map(iso)).toEqual(['2026-03-27T23:00:00.000Z', '2026-03-28T23:00:00.000Z', '2026-03-29T22:00:00.000Z']);
  });
  test('six groups and the others, with exact sums', () => {
    const rows = parse(`[${Array.from({ length: 8 }, (_, at) => `{"windowStart":"2026-01-01T00:00:00Z","value":${8 - at}.1,"groupBy":{"m":"g${at}"}}`).join(',')}]`);
    const all = stacks(rows, [Date.parse('2026-01-01T00:00:00Z')], 'm', 'tokens', now);
    expect(all.map((one) => one.name)).toEqual(['g0', 'g1', 'g2', 'g3', 'g4', 'g5', 'other (2)']);
    expect(all[6].texts).toEqual(['3.2']);
  });
  test('files have every digit and no formula', () => {
    const rows = parse('[{"windowStart":"a","windowEnd":"b","value":1842.00000000000000025,"groupBy":{"m":"=1+1"}}]');
    expect(usageCsv(rows, 'm', 'UTC', 't')).toBe("windowStart,windowEnd,zone,m,value,unit\r\na,b,UTC,'=1+1,1842.00000000000000025,t\r\n");
  });
});

describe('schedules', () => {
  test('boundaries are midnights of the zone, also when the clock changes', () => {
    const after = Date.parse('2026-03-27T12:00:00Z');
    expect(boundaries('daily', 'Europe/Oslo', after, 3).map(iso)).toEqual(['2026-03-27T23:00:00.000Z', '2026-03-28T23:00:00.000Z', '2026-03-29T22:00:00.000Z']);
    expect(boundaries('monthly', 'Asia/Kolkata', Date.parse('2026-12-30T00:00:00Z'), 2).map(iso)).toEqual(['2026-12-31T18:30:00.000Z', '2027-01-31T18:30:00.000Z']);
    expect(boundaries('hourly', 'UTC', after, 1).map(iso)).toEqual(['2026-03-27T13:00:00.000Z']);
    expect(boundaries('yearly', 'America/Sao_Paulo', after, 1).map(iso)).toEqual(['2027-01-01T03:00:00.000Z']);
    expect(boundaries({ minute: '*' }, 'UTC', after, 3)).toEqual([]);
  });
  test('a day that the zone left out begins with the next one', () => {
    // Pacific/Apia had no 30 December 2011.
    const days = boundaries('daily', 'Pacific/Apia', Date.parse('2011-12-29T12:00:00Z'), 3).map(iso);
    expect(new Set(days).size).toBe(days.length);
    expect(days[0]).toBe('2011-12-30T10:00:00.000Z');
  });
  test('odd periods say so', () => {
    expect(oddity(Date.parse('2026-03-28T23:00:00Z'), Date.parse('2026-03-29T22:00:00Z'), 'Europe/Oslo')).toBe('a day of 23 hours');
    expect(oddity(Date.parse('2026-10-24T22:00:00Z'), Date.parse('2026-10-25T23:00:00Z'), 'Europe/Oslo')).toBe('a day of 25 hours');
    expect(oddity(0, 86_400_000, 'UTC')).toBe('');
    expect(iso(instantOf({ year: 2026, month: 3, day: 29, hour: 2 }, 'Europe/Oslo'))).toBe('2026-03-29T01:00:00.000Z');
  });
});

describe('conditions', () => {
  const fields = [{ name: 'status', type: 'a status', values: ['A', 'B'] }, { name: 'count', type: 'a number' }, { name: 'user', type: 'text' }];
  test('a form becomes the JSON of the API and back', () => {
    const form = { how: 'all' as const, tests: [{ field: 'status', op: 'in', value: 'A, B' }, { field: 'count', op: '>=', value: '1000.50' }], inner: { how: 'any' as const, tests: [{ field: 'user', op: 'isNull', value: '' }, { field: 'user', op: '=', value: 'x' }] } };
    const json = conditions(form, fields);
    expect(write(json)).toBe('{"all":[{"field":"status","op":"in","value":["A","B"]},{"field":"count","op":">=","value":1000.50},{"any":[{"field":"user","op":"isNull"},{"field":"user","op":"=","value":"x"}]}]}');
    expect(conditions(formOf(json)!, fields)).toEqual(json);
    expect(sentence(json)).toBe('status is one of A, B and count is at least 1000.50 and (user is absent or user is x)');
    expect(formOf({ all: [{ all: [{ all: [] }] }] })).toBeNull();
    expect(conditions({ how: 'all', tests: [], inner: null }, fields)).toBeUndefined();
  });
  test('operators fit the kind of a field', () => {
    expect(operators(fields[0]).map(([op]) => op)).toContain('in');
    expect(operators(fields[1]).map(([op]) => op)).toContain('>=');
    expect(operators(fields[2]).map(([op]) => op)).toContain('startsWith');
  });
});

describe('answers of older and newer servers', () => {
  test('attempts are a list, a number, or unknown', () => {
    const list = attemptsOf({ attempts: [{ at: '2026-01-01T00:00:00Z', ms: 5, status: 503, answer: 'no' }, { at: '2026-01-01T00:01:00Z', durationMs: 7, status: 204 }] });
    expect(list.map((one) => [one.status, one.accepted])).toEqual([[204, true], [503, false]]);
    expect(pauses(list)).toEqual([59_995]);
    expect([attemptCount({ attempts: 3 }), attemptCount({ attempts: [1, 2] }), attemptCount({})]).toEqual([3, 2, null]);
    expect(attemptsOf({ attempts: 3 })).toEqual([]);
  });
  test('counts of outputs are an object, a list, or absent', () => {
    expect([byOutput({ outputs: { '1': 3, default: 4 } }, null), byOutput({ outputs: [{ name: '1', out: 3 }] }, '1'), byOutput({ out: 1 }, '1')]).toEqual([4, 3, null]);
    expect(left({ in: 10, out: 7, errors: 1 })).toBe(2);
  });
  test('ways of events come from steps or from samples', () => {
    const old = ways({ events: { received: 2 }, operators: [{ id: 'a', operator: 'map', samples: [{ event: 1, fields: { x: 1 } }] }, { id: 'b', operator: 'meter', samples: [{ event: 1, fields: { x: 2 } }] }], parked: [{ event: 2, operator: 'a', reason: 'bad', detail: 'd' }] });
    expect(old.map((one) => [one.event, one.outcome, one.steps.length])).toEqual([[1, '', 2], [2, 'parked', 1]]);
    expect(changes(old[0].steps[1]).filter((one) => one.changed)).toEqual([{ name: 'x', before: '1', after: '2', changed: true }]);
    const now = ways({ operators: [], steps: [{ event: 1, verdict: 'counted', steps: [{ operator: 'a', outcome: 'passed', before: { x: 1 }, after: { x: 1 }, ms: 0.2 }] }] });
    expect(now).toHaveLength(1);
    expect(now[0].outcome).toBe('counted');
    const flat = ways({ operators: [{ id: 'a', operator: 'map' }], steps: [{ event: 1, operator: 'a', outcome: 'passed' }, { event: 2, operator: 'a', outcome: 'parked' }] });
    expect(flat.map((one) => [one.event, one.steps[0].kind])).toEqual([[1, 'map'], [2, 'map']]);
  });
  test('records of two versions are side by side', () => {
    const record = (user: string, value: number) => ({ userId: user, meterTypeName: 't', periodStart: 'p', value });
    expect(pair([record('a', 1)], [record('a', 2), record('b', 3)]).map((one) => [one.now?.value, one.then?.value])).toEqual([[1, 2], [undefined, 3]]);
  });
});

describe('parked events beside counted ones', () => {
  test('fields differ by kind and presence', () => {
    const found = differences([parse('{"subject":"","data":{"n":"12,5"}}')], [parse('{"subject":"x","data":{"n":12.5,"m":1}}')]);
    expect(found).toEqual([{ field: 'data.m', parked: 'absent', counted: 'number' }, { field: 'data.n', parked: 'text', counted: 'number' }, { field: 'subject', parked: 'empty text', counted: 'text' }]);
    expect(commonest([{ s: 'a' }, { s: 'b' }, { s: 'a' }], (one) => one.s)).toEqual([['a', 2], ['b', 1]]);
  });
});
