// Settings of the reader: the clock and the first day of the week.
import { afterEach, describe, expect, test } from 'vitest';

const store = new Map<string, string>();
Object.assign(globalThis, {
  localStorage: { getItem: (name: string) => store.get(name) ?? null, setItem: (name: string, value: string) => store.set(name, value) },
  document: { documentElement: { dataset: {} } },
  matchMedia: () => ({ matches: false }),
});

const { prefs } = await import('../src/lib/prefs.svelte');
const { brief, dateTime, iso, title } = await import('../src/lib/time');
const { boundaries, startOfWeek } = await import('../src/lib/schedule');
const { bounds, spans } = await import('../src/lib/usage');
const { daysIntoWeek, moved, readWall, showWall, weekdays, weeks } = await import('../src/lib/wall');

const EVENING = Date.parse('2026-11-28T17:08:11.204Z');
const plain = (text: string) => text.replaceAll('\u00a0', ' ');
afterEach(() => {
  prefs.set('clock', '24');
  prefs.set('week', 'monday');
});

describe('the clock', () => {
  test('24 hours unless the reader has chosen 12', () => {
    expect(dateTime(EVENING, 'Europe/Oslo')).toBe('28 Nov 2026 18:08:11');
    prefs.set('clock', '12');
    expect(store.get('clock')).toBe('12');
    expect(plain(dateTime(EVENING, 'Europe/Oslo'))).toBe('28 Nov 2026 6:08:11 PM');
    expect(plain(dateTime(EVENING, 'Europe/Oslo', 'minutes'))).toBe('28 Nov 2026 6:08 PM');
    expect(plain(dateTime(EVENING, 'Europe/Oslo', 'millis'))).toBe('28 Nov 2026 6:08:11.204 PM');
    expect(plain(brief(Date.parse('2020-01-01T00:05:00Z'), 'UTC'))).toBe('1 Jan 2020 12:05 AM');
    expect(plain(title(EVENING)).split('\n').every((line) => / (AM|PM) [+-]/.test(line))).toBe(true);
  });
  test('noon is 12 PM and midnight 12 AM', () => {
    prefs.set('clock', '12');
    const at = (hour: string) => plain(dateTime(`2026-01-01T${hour}:00:00Z`, 'UTC', 'minutes')).slice(11);
    expect(['00', '01', '11', '12', '13', '23'].map(at)).toEqual(['12:00 AM', '1:00 AM', '11:00 AM', '12:00 PM', '1:00 PM', '11:00 PM']);
  });
  test('addresses and files keep the instant', () => {
    prefs.set('clock', '12');
    expect(iso(EVENING)).toBe('2026-11-28T17:08:11.204Z');
  });
});

describe('typed times', () => {
  test('are read on both clocks, whatever is shown', () => {
    const same = ['28 Nov 2026 18:08', '28 November 2026, 6:08 pm', '2026-11-28 6:08 PM', '2026-11-28T18:08', '28 nov 2026 6:08\u00a0PM'];
    for (const text of same) expect(readWall(text, true), text).toBe('2026-11-28T18:08');
    expect(readWall('28 Nov 2026', true)).toBe('2026-11-28T00:00');
    expect(readWall('28 Nov 2026 12:30 am', true)).toBe('2026-11-28T00:30');
    expect(readWall('2026-1-5', false)).toBe('2026-01-05');
  });
  test('that do not exist are refused', () => {
    for (const text of ['', 'tomorrow', '31 Feb 2026', '2026-13-01', '28 Nov 2026 24:00', '28 Nov 2026 13:00 pm', '28 Nov 2026 0:10 am', '28 Nov 2026 10:60', '28 Xyz 2026']) expect(readWall(text, true), text).toBe('');
  });
  test('are shown as they are read', () => {
    for (const chosen of ['24', '12']) {
      prefs.set('clock', chosen);
      for (const wall of ['2026-11-28T00:00', '2026-11-28T12:01', '2026-02-03T23:59']) expect(readWall(showWall(wall), true)).toBe(wall);
    }
    expect(showWall('2026-02-03')).toBe('3 Feb 2026');
    expect(showWall('')).toBe('');
  });
});

describe('weeks', () => {
  test('begin on the chosen day', () => {
    expect(weekdays('sunday')[0] + weekdays('saturday')[0] + weekdays('monday')[0]).toBe('SunSatMon');
    // 28 November 2026 is a Saturday.
    expect(['monday', 'sunday', 'saturday'].map((first) => daysIntoWeek(2026, 11, 28, first))).toEqual([5, 6, 0]);
    expect(weeks(2026, 2, 'sunday')).toHaveLength(4);
    for (const first of ['monday', 'sunday', 'saturday']) {
      for (let month = 1; month <= 12; month++) {
        const all = weeks(2028, month, first);
        expect(all.every((row) => row.length === 7 && row.some(Boolean))).toBe(true);
        expect(all.flat().filter(Boolean)).toHaveLength(new Date(Date.UTC(2028, month, 0)).getUTCDate());
      }
    }
    expect(moved('2026-12-31', 1)).toBe('2027-01-01');
  });
  test('of a zone begin at its midnight, also when the clock changes', () => {
    const at = (first: string, back = 0) => iso(startOfWeek(Date.parse('2026-10-27T12:00:00Z'), 'Europe/Oslo', first, back));
    expect(at('monday')).toBe('2026-10-25T23:00:00.000Z');
    expect(at('sunday')).toBe('2026-10-24T22:00:00.000Z');
    expect(at('saturday', 1)).toBe('2026-10-16T22:00:00.000Z');
  });
  test('the address of a usage names the first day, so that everybody sees the same week', () => {
    expect(spans('saturday').map(([value]) => value)).toContain('last-week-saturday');
    prefs.set('week', 'saturday');
    const last = bounds('last-week-sunday', 'UTC', EVENING);
    expect([iso(last.from), iso(last.to)]).toEqual(['2026-11-15T00:00:00.000Z', '2026-11-22T00:00:00.000Z']);
    const now = bounds('week-monday', 'UTC', EVENING);
    expect([iso(now.from), iso(now.to)]).toEqual(['2026-11-23T00:00:00.000Z', '2026-11-29T00:00:00.000Z']);
  });
  test('the boundaries of weekly periods stay those of the server', () => {
    prefs.set('week', 'sunday');
    expect(boundaries('weekly', 'UTC', EVENING, 1).map(iso)).toEqual(['2026-11-30T00:00:00.000Z']);
  });
});
