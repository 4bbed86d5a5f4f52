import { describe, expect, test } from 'vitest';

// The modules read what a browser prefers; Node has no such store.
const store = new Map<string, string>();
Object.assign(globalThis, { localStorage: { getItem: (name: string) => store.get(name) ?? null, setItem: (name: string, value: string) => store.set(name, value) } });

const { Dec, parse, pretty, rawMember, write } = await import('../src/lib/json');
const { add, csvCell, full, percent, plain, short } = await import('../src/lib/num');
const { dateTime, offset, range, span, startOfDay } = await import('../src/lib/time');
const { zoneOf, zoneWords } = await import('../src/lib/words');

const EXACT = ['1842.00000000000000025', '9007199254740993', '1E+2', '-0', '0.1', '99999999999999999999999999999999999999', '-0.00000000000000000000000000000000000001'];

describe('JSON', () => {
  test('keeps the text of every number', () => {
    for (const text of EXACT) {
      expect(write(parse(text))).toBe(text);
      expect(write(parse(`{"a":[${text}]}`))).toBe(`{"a":[${text}]}`);
    }
  });
  test('short integers are numbers and others are decimals', () => {
    expect(parse('42')).toBe(42);
    expect(parse('1.5')).toBeInstanceOf(Dec);
    expect(parse('9007199254740993')).toBeInstanceOf(Dec);
  });
  test('reads what JSON.parse reads and refuses what it refuses', () => {
    const good = ['null', 'true', '""', '"\\u00e9\\n"', '[]', '{}', '[1,[2,{"a":"b"}]]', ' { "x" : 1 } ', '{"__proto__":1}'];
    for (const text of good) expect(JSON.parse(write(parse(text)))).toEqual(JSON.parse(text));
    for (const text of ['', '{', '[1,]', '{"a"}', '01', '1.', 'nul', '"a', '1 2', '{"a":1,}', '+1']) expect(() => parse(text), text).toThrow();
  });
  test('indents without touching a value', () => {
    const raw = '{"a":1E+2,"b":[-0,{"c":"x, {y}"}],"d":{}}';
    expect(pretty(raw).replace(/\s+(?=([^"]*"[^"]*")*[^"]*$)/g, '')).toBe(raw);
    expect(pretty(raw)).toContain('"a": 1E+2');
  });
  test('finds a member as it was sent', () => {
    const raw = '{"id":"x","event":{"specversion": "1.0","n":1.0,"event":{"a":2}},"z":1}';
    expect(rawMember(raw, 'event')).toBe('{"specversion": "1.0","n":1.0,"event":{"a":2}}');
    expect(rawMember(raw, 'z')).toBe('1');
    expect(rawMember(raw, 'n')).toBe('');
  });
});

describe('numbers', () => {
  test('every digit is shown, in groups', () => {
    expect(full('1842.00000000000000025')).toBe('1,842.00000000000000025');
    expect(full('-1234567')).toBe('−1,234,567');
    expect(full('1E+2')).toBe('1E+2');
    expect(full(null)).toBe('–');
    expect(plain(new Dec('-1842.00000000000000025'))).toBe('-1842.00000000000000025');
  });
  test('short forms are cut and never rounded up', () => {
    expect([999, 9999, 12999, 999999, 1999999, 412096].map(short)).toEqual(['999', '9,999', '12.9 k', '999 k', '1.9 M', '412 k']);
  });
  test('sums are exact', () => {
    expect(add(Array(10).fill('0.1'))).toBe('1');
    expect(add(['1842.00000000000000025', '-1842'])).toBe('0.00000000000000025');
    expect(add(['1E+2', '1'])).toBe('101');
    expect(add(['9007199254740993', '1'])).toBe('9007199254740994');
  });
  test('shares are cut', () => {
    expect(percent(2, 3)).toBe('66.66 %');
    expect(percent(0, 0)).toBe('');
  });
  test('cells that a spreadsheet would run get an apostrophe, numbers keep their digits', () => {
    expect(['=1+1', '@x', '+47', '-1842.00000000000000025', '-x', 'a"b', 'a,b'].map(csvCell)).toEqual(["'=1+1", "'@x", "'+47", '-1842.00000000000000025', "'-x", '"a""b"', '"a,b"']);
  });
});

describe('times', () => {
  test('one zone is used, with its offset at that instant', () => {
    expect(dateTime('2026-11-28T17:08:11.204Z', 'Europe/Oslo', 'millis')).toBe('28 Nov 2026 18:08:11.204');
    expect(offset(Date.parse('2026-11-28T17:00:00Z'), 'Europe/Oslo')).toBe('+01:00');
    expect(offset(Date.parse('2026-07-28T17:00:00Z'), 'Europe/Oslo')).toBe('+02:00');
    expect(offset(0, 'UTC')).toBe('+00:00');
  });
  test('days begin at midnight, on nights when the clock changes too', () => {
    const at = (zone: string, now: string) => new Date(startOfDay(Date.parse(now), zone)).toISOString();
    expect(at('Europe/Oslo', '2026-03-29T12:00:00Z')).toBe('2026-03-28T23:00:00.000Z');
    expect(at('Europe/Oslo', '2026-10-25T12:00:00Z')).toBe('2026-10-24T22:00:00.000Z');
    expect(at('Asia/Kolkata', '2026-11-28T12:00:00Z')).toBe('2026-11-27T18:30:00.000Z');
    expect(at('UTC', '2026-11-28T00:00:00Z')).toBe('2026-11-28T00:00:00.000Z');
  });
  test('ranges of an address are relative or written out', () => {
    expect(range('7d').live).toBe(true);
    expect(range('2026-01-01T00:00:00Z..2026-01-02T00:00:00Z').to - range('2026-01-01T00:00:00Z..2026-01-02T00:00:00Z').from).toBe(86_400_000);
    expect(range('nonsense').label).toBe('Last hour');
  });
  test('spans name two units at most', () => {
    expect([42, 5_000, 65_000, 3_600_000, 187_200_000].map(span)).toEqual(['42 ms', '5 s', '1 min 5 s', '1 h', '2 d 4 h']);
  });
});

describe('zones of meter types', () => {
  test('are a name, or a field of events with a default', () => {
    expect([zoneOf('Europe/Oslo'), zoneWords('Europe/Oslo')]).toEqual(['Europe/Oslo', 'Europe/Oslo']);
    expect(zoneOf({ field: 'data.tz' })).toBe('Etc/UTC');
    expect(zoneWords({ field: 'data.tz', default: 'Asia/Tokyo' })).toBe('the zone of each meter (data.tz), else Asia/Tokyo');
    expect(zoneOf(undefined)).toBeUndefined();
  });
});
