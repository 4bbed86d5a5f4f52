// The stream that the tabs of a browser share.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { FakeChannel, FakeSource, install, locks } from './fakes';

install();
const { Stream, turnOf } = await import('../src/lib/stream');
const opened: InstanceType<typeof Stream>[] = [];
const tab = async (topics: string[], heard: string[] = []) => {
  const one = new Stream('live', '', (note) => heard.push(`${note.kind} ${note.text}`));
  one.open(topics);
  opened.push(one);
  await vi.advanceTimersByTimeAsync(300);
  return one;
};

beforeEach(() => vi.useFakeTimers());
afterEach(async () => {
  for (const one of opened.splice(0)) one.close();
  await vi.advanceTimersByTimeAsync(10);
  expect(FakeSource.open).toHaveLength(0);
  expect(FakeChannel.all.size).toBe(0);
  expect(locks.held.size).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
  FakeSource.all = [];
  vi.useRealTimers();
});

describe('the shared stream', () => {
  test('has one connection however often the topics change', async () => {
    const one = await tab(['overview']);
    for (let at = 0; at < 50; at++) {
      one.want(['overview', `session:${at}`]);
      await vi.advanceTimersByTimeAsync(100);
      expect(FakeSource.open).toHaveLength(1);
    }
    expect(FakeSource.open[0].topics).toEqual(['overview', 'session:49']);
    one.want(['overview']);
    await vi.advanceTimersByTimeAsync(100);
    expect(FakeSource.open.map((source) => source.topics)).toEqual([['overview']]);
  });
  test('passes nothing on from a connection that was replaced', async () => {
    const heard: string[] = [];
    const one = await tab(['overview'], heard);
    const [old] = FakeSource.open;
    one.want(['overview', 'deliveries']);
    await vi.advanceTimersByTimeAsync(100);
    old.emit('snapshot', { data: '"old"' });
    old.emit('error');
    FakeSource.open[0].send('snapshot', 'new');
    expect(heard).toEqual(['snapshot "new"']);
  });
  test('shows a topic again with a new snapshot, also while another tab follows it', async () => {
    const one = await tab(['overview', 'pipeline:a']);
    await tab(['overview', 'pipeline:a']);
    one.want(['overview']);
    await vi.advanceTimersByTimeAsync(100);
    const before = FakeSource.all.length;
    one.want(['overview', 'pipeline:a']);
    await vi.advanceTimersByTimeAsync(100);
    expect(FakeSource.all.length).toBe(before + 1);
    expect(FakeSource.open).toHaveLength(1);
  });
  test('is not opened again by tabs that repeat their topics', async () => {
    await tab(['overview']);
    await tab(['overview', 'deliveries']);
    const before = FakeSource.all.length;
    await vi.advanceTimersByTimeAsync(200_000);
    expect(FakeSource.all.length).toBe(before);
    expect(FakeSource.open[0].topics).toEqual(['overview', 'deliveries']);
  });
  test('forgets the topics of a tab that ended silently', async () => {
    const one = await tab(['overview']);
    new FakeChannel('live').postMessage({ kind: 'want', tab: 'lost', topics: ['session:lost'] });
    [...FakeChannel.all].pop()?.close();
    await vi.advanceTimersByTimeAsync(100);
    expect(FakeSource.open[0].topics).toEqual(['overview', 'session:lost']);
    await vi.advanceTimersByTimeAsync(120_000);
    one.want(['overview', 'deliveries']);
    await vi.advanceTimersByTimeAsync(100);
    expect(FakeSource.open[0].topics).toEqual(['overview', 'deliveries']);
  });
  test('connects again after the server ended it', async () => {
    await tab(['overview']);
    const [source] = FakeSource.open;
    source.close();
    source.emit('error');
    expect(FakeSource.open).toHaveLength(0);
    await vi.advanceTimersByTimeAsync(3_100);
    expect(FakeSource.open).toHaveLength(1);
  });
});

describe('more topics than a stream may have', () => {
  const many = ['overview', ...Array.from({ length: 20 }, (_, at) => `session:${at}`)];
  test('come in turns, the overview always', () => {
    const seen = new Set<string>();
    for (let turn = 0; turn < 3; turn++) {
      const part = turnOf(many, turn);
      expect(part).toHaveLength(8);
      expect(new Set(part).size).toBe(8);
      expect(part[0]).toBe('overview');
      part.forEach((topic) => seen.add(topic));
    }
    expect(seen.size).toBe(many.length);
    expect(turnOf(['b', 'overview', 'b'], 7)).toEqual(['overview', 'b']);
    expect(turnOf([], 3)).toEqual([]);
  });
  test('each get a snapshot, with one connection at a time', async () => {
    await tab(many);
    const asked = new Set<string>();
    for (let at = 0; at < 6; at++) {
      expect(FakeSource.open).toHaveLength(1);
      expect(FakeSource.open[0].topics.length).toBeLessThanOrEqual(8);
      FakeSource.open[0].topics.forEach((topic) => asked.add(topic));
      await vi.advanceTimersByTimeAsync(5_100);
    }
    expect(asked.size).toBe(many.length);
  });
});

describe('without locks', () => {
  test('pages ask from time to time, and a topic without a snapshot does not keep the connection', async () => {
    Object.defineProperty(globalThis, 'navigator', { value: {}, configurable: true });
    const one = await tab(['overview', 'session:gone']);
    FakeSource.open[0].send('snapshot', {});
    expect(FakeSource.open).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(FakeSource.open).toHaveLength(0);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(FakeSource.open).toHaveLength(1);
    one.close();
    install();
  });
});
