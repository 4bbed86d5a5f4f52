// Events as they come: connections, places for them, and refusals of the server.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { FakeSource, install, locks, page } from './fakes';

install();
const { Tail } = await import('../src/lib/tail.svelte');
const row = (position: number) => ({ pipeline: 'p', position, id: `e-${position}` });
let answer: () => [number, unknown];
const asked: string[] = [];
Object.assign(globalThis, {
  fetch: async (path: string) => {
    asked.push(path);
    const [status, body] = answer();
    return new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/json' } });
  },
});
const wait = () => vi.advanceTimersByTimeAsync(50);

beforeEach(() => {
  vi.useFakeTimers();
  answer = () => [200, { items: [row(2), row(1)] }];
});
afterEach(async () => {
  await wait();
  expect(FakeSource.open).toHaveLength(0);
  expect(locks.held.size).toBe(0);
  expect(page.count('visibilitychange')).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
  FakeSource.all = [];
  asked.length = 0;
  page.hidden = false;
  vi.useRealTimers();
});

describe('a tail', () => {
  test('has one connection, and returns what it took when it stops', async () => {
    const one = new Tail({}, () => false);
    one.start();
    await wait();
    expect(one.rows.map((known) => known.position)).toEqual([2, 1]);
    FakeSource.open[0].send('events', { notShown: 3, events: [row(2), row(3)] });
    expect(one.rows.map((known) => known.position)).toEqual([3, 2, 1]);
    expect(one.missed).toBe(3);
    one.stop();
  });
  test('that is stopped before the server answers takes nothing', async () => {
    const one = new Tail({}, () => false);
    one.start();
    one.stop();
    await wait();
    expect(FakeSource.all).toHaveLength(0);
    one.start();
  });
  test('that is hidden and shown many times keeps one connection and one place', async () => {
    const one = new Tail({}, () => false);
    one.start();
    for (let at = 0; at < 30; at++) {
      page.hidden = at % 2 === 0;
      page.emit('visibilitychange');
      if (at % 3 === 0) await wait();
    }
    page.hidden = false;
    page.emit('visibilitychange');
    await wait();
    expect(FakeSource.open).toHaveLength(1);
    expect(locks.held.size).toBe(1);
    one.stop();
  });
  test('beyond the places for streams polls, also after it was hidden', async () => {
    const all = Array.from({ length: 4 }, () => new Tail({}, () => false));
    for (const one of all) {
      one.start();
      await wait();
    }
    expect(FakeSource.open).toHaveLength(3);
    page.emit('visibilitychange');
    page.emit('visibilitychange');
    await vi.advanceTimersByTimeAsync(100);
    asked.length = 0;
    await vi.advanceTimersByTimeAsync(6_100);
    expect(asked).toHaveLength(3);
    for (const one of all) one.stop();
  });
});

describe('a refusal of the server', () => {
  test('is shown, and asked again when the reader wants', async () => {
    answer = () => [403, { title: 'Forbidden', detail: 'the key has no scope read', code: 'scope_missing' }];
    const one = new Tail({}, () => false);
    one.start();
    await wait();
    expect(one.problem?.detail).toBe('the key has no scope read');
    expect(FakeSource.all).toHaveLength(0);
    answer = () => [200, { items: [row(1)] }];
    await one.open();
    expect(one.problem).toBeNull();
    expect(FakeSource.open).toHaveLength(1);
    one.stop();
  });
  test('of a filter leaves the filter out and says so', async () => {
    answer = () => (asked[asked.length - 1].includes('verdict=') ? [400, { detail: '`maybe` is no verdict', field: 'verdict' }] : [200, { items: [row(1)] }]);
    const one = new Tail({ verdict: 'maybe', source: '/a' }, () => false);
    one.start();
    await wait();
    expect(one.unknown).toBe('`maybe` is no verdict.');
    expect(one.problem).toBeNull();
    expect(FakeSource.open[0].url).toContain('source=');
    expect(FakeSource.open[0].url).not.toContain('verdict=');
    one.stop();
  });
  test('for a moment is tried again', async () => {
    answer = () => [503, { title: 'Busy' }];
    const one = new Tail({}, () => false);
    one.start();
    await wait();
    expect(one.broken).toBe(true);
    answer = () => [200, { items: [] }];
    await vi.advanceTimersByTimeAsync(3_100);
    expect(one.broken).toBe(false);
    expect(FakeSource.open).toHaveLength(1);
    one.stop();
  });
});
