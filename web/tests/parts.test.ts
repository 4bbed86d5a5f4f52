import { describe, expect, test } from 'vitest';

const store = new Map<string, string>();
Object.assign(globalThis, { localStorage: { getItem: (name: string) => store.get(name) ?? null, setItem: (name: string, value: string) => store.set(name, value) } });

const { attemptsOf, pauses } = await import('../src/lib/attempts');
const { commonest, differences } = await import('../src/lib/compare');
const { conditions, formOf, operators, sentence } = await import('../src/lib/conditions');
const { along, left } = await import('../src/lib/flow');
const { parse, write } = await import('../src/lib/json');
const { boundaries, instantOf, instantOfText, oddity } = await import('../src/lib/schedule');
const { changes, compared, ways } = await import('../src/lib/trial');
const { period } = await import('../src/lib/time');
const { bounds, stacks, windowFor, windowsOf, windowWithin } = await import('../src/lib/usage');
const { marksOf } = await import('../src/lib/thresholds');
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
  test('groups are sorted by size, and the rest of the server comes last', () => {
    const rows = parse('[{"windowStart":"2026-01-01T00:00:00Z","value":1.1,"groupBy":{"m":"small"}},{"windowStart":"2026-01-01T00:00:00Z","value":8.1,"groupBy":{"m":"other"}}]');
    const rest = parse('[{"windowStart":"2026-01-01T00:00:00Z","value":3.00000000000000000001}]');
    const all = stacks(rows, rest, [Date.parse('2026-01-01T00:00:00Z')], 'm', 'tokens');
    expect(all.map((one) => [one.name, one.texts[0]])).toEqual([['other', '8.1'], ['small', '1.1'], ['other', '3.00000000000000000001']]);
  });
});

describe('periods', () => {
  test('a period has its dates, also when one of them is today', () => {
    expect(period('2026-11-01T00:00:00Z', '2026-12-01T00:00:00Z', 'UTC')).toBe('1 Nov 00:00 – 1 Dec 2026 00:00');
    expect(period('2026-12-01T00:00:00Z', '2027-01-01T00:00:00Z', 'UTC')).toBe('1 Dec 2026 00:00 – 1 Jan 2027 00:00');
    expect(period('2026-12-01T02:19:00Z', '2026-12-01T02:20:00Z', 'Asia/Kolkata')).toBe('1 Dec 2026 07:49 – 07:50');
    expect(period('2026-12-01T00:00:00Z', null, 'UTC')).toBe('1 Dec 2026 00:00 – no end');
    // The hour that is shown twice: both instants with their dates and offsets.
    expect(period('2026-10-25T00:30:00Z', '2026-10-25T01:30:00Z', 'Europe/Oslo')).toBe('25 Oct 2026 02:30 +02:00 – 25 Oct 2026 02:30 +01:00');
  });
  test('windows are as many as a chart shows', () => {
    const [from, to] = [Date.parse('2026-01-01T00:00:00Z'), Date.parse('2026-04-01T00:00:00Z')];
    expect(windowWithin('HOUR', from, to)).toBe('DAY');
    expect(windowWithin('MINUTE', from, from + 3_600_000)).toBe('MINUTE');
    expect(windowWithin('MINUTE', from, from + 86_400_000)).toBe('HOUR');
    expect(windowWithin('DAY', from, from + 1200 * 86_400_000)).toBe('MONTH');
  });
});

describe('wall times', () => {
  test('a field is read in the zone of the page', () => {
    expect(iso(instantOfText('2026-07-01T12:30', 'Europe/Oslo'))).toBe('2026-07-01T10:30:00.000Z');
    expect(iso(instantOfText('2026-12-01', 'Asia/Kolkata'))).toBe('2026-11-30T18:30:00.000Z');
    // An hour that is shown twice is the first one; one that is left out is the end of the gap.
    expect(iso(instantOfText('2026-10-25T02:30', 'Europe/Oslo'))).toBe('2026-10-25T00:30:00.000Z');
    expect(iso(instantOfText('2026-03-29T02:30', 'Europe/Oslo'))).toBe('2026-03-29T01:30:00.000Z');
    expect(instantOfText('soon', 'UTC')).toBeNaN();
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

describe('attempts of a delivery', () => {
  const history = [{ at: '2026-01-01T00:00:00Z', ms: 5, status: 503, answer: 'no' }, { at: '2026-01-01T00:01:00Z', ms: null, status: null, answer: 'cut' }, { at: '2026-01-01T00:02:00Z', ms: 7, status: 204, answer: '' }];
  test('the newest comes first, and only an accepted delivery has an accepted attempt without a status', () => {
    expect(attemptsOf({ state: 'accepted', attemptHistory: history }).map((one) => [one.status, one.accepted])).toEqual([[204, true], [null, false], [503, false]]);
    expect(attemptsOf({ state: 'confirmed', attemptHistory: [history[1]] })[0].accepted).toBe(true);
    expect(attemptsOf({ state: 'pending', attemptHistory: [] })).toEqual([]);
  });
  test('pauses are between the end of an attempt and the next', () => {
    expect(pauses(attemptsOf({ state: 'accepted', attemptHistory: history }))).toEqual([60_000, 59_995]);
  });
});

describe('thresholds of a meter', () => {
  test('in percent are shares of the capacity', () => {
    const thresholds = parse('[{"value":1500.50},{"name":"nearly full","percentOfCapacity":80}]');
    expect(marksOf({ capacity: 2000, thresholds })).toEqual([{ name: 'threshold', at: 1500.5, text: '1,500.50' }, { name: 'nearly full', at: 1600, text: '80 % of the capacity' }]);
    expect(marksOf({ thresholds: [], capacity: null })).toEqual([]);
  });
});

describe('counts of a flow', () => {
  test('an edge has the count of its output, of its operator, or its own', () => {
    expect(along({ output: 'a', count: 1 }, { out: 9, outputs: { a: 3 } })).toBe(3);
    expect(along({ output: null, count: 1 }, { out: 9 })).toBe(9);
    expect(along({ output: null, count: 1 }, undefined)).toBe(1);
    expect(along({ output: 'a' }, {})).toBeNull();
  });
  test('events leave where they are neither passed on nor parked', () => {
    expect(left({ in: 10, out: 7, errors: 1 })).toBe(2);
  });
});

describe('tests of a pipeline', () => {
  test('an event ends with the outcome of its last step', () => {
    const all = ways({ steps: [{ event: 1, steps: [{ operator: 'a', outcome: 'passed', before: { x: 1 }, after: { x: 2 } }, { operator: 'b', outcome: 'parked', reason: 'bad_value', detail: 'd', before: { x: 2 }, after: null }] }] });
    expect(all.map((one) => [one.event, one.outcome])).toEqual([[1, 'parked']]);
    expect(changes(all[0].steps[0])).toEqual([{ name: 'x', before: '1', after: '2', changed: true }]);
    expect(changes(all[0].steps[1]).some((one) => one.changed)).toBe(false);
  });
  test('records that differ come first, and equal ones once', () => {
    const record = (userId: string, value: number) => ({ userId, meterTypeName: 't', periodStart: 'p', periodEnd: null, unit: 'u', value });
    const result = { wouldFlush: [record('b', 3), record('a', 1)], against: { wouldFlush: [record('b', 3), record('a', 2)], difference: [{ userId: 'a', meterType: 't', periodStart: 'p', periodEnd: null, before: 2, after: 1 }] } };
    expect(compared(result).map((one) => [one.userId, one.now, one.then, one.differs, one.unit])).toEqual([['a', 1, 2, true, 'u'], ['b', 3, 3, false, 'u']]);
  });
});

describe('parked events beside counted ones', () => {
  test('fields differ by kind and presence', () => {
    const found = differences([parse('{"subject":"","data":{"n":"12,5"}}')], [parse('{"subject":"x","data":{"n":12.5,"m":1}}')]);
    expect(found).toEqual([{ field: 'data.m', parked: 'absent', counted: 'number' }, { field: 'data.n', parked: 'text', counted: 'number' }, { field: 'subject', parked: 'empty text', counted: 'text' }]);
    expect(commonest([{ s: 'a' }, { s: 'b' }, { s: 'a' }], (one) => one.s)).toEqual([['a', 2], ['b', 1]]);
  });
});
