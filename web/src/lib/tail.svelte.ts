// Events as they come. At most three tabs of a browser hold a stream of them; further tabs poll, so
// that requests still find a connection over HTTP/1.1.
import type { TailedEvent } from './api-types';
import { get, url } from './api.svelte';
import { parse } from './json';

/** Rows that are kept. */
export const SHOWN = 60;
const SLOTS = 3;
const POLL_MS = 2_000;

export class Tail {
  rows = $state.raw<TailedEvent[]>([]);
  held = $state.raw<TailedEvent[]>([]);
  /** How many wait behind the list, also those that are not kept. */
  heldCount = $state(0);
  missed = $state(0);
  broken = $state(false);
  private source: EventSource | null = null;
  private free: (() => void) | null = null;
  private timer = 0;
  private stopped = false;

  constructor(
    private query: Record<string, string>,
    private frozen: () => boolean,
  ) {}

  start(first: TailedEvent[]): void {
    this.rows = first.slice(0, SHOWN);
    document.addEventListener('visibilitychange', this.open);
    this.open();
  }

  stop(): void {
    this.stopped = true;
    document.removeEventListener('visibilitychange', this.open);
    this.close();
  }

  release(): void {
    this.rows = [...this.held, ...this.rows].slice(0, SHOWN);
    this.held = [];
    this.heldCount = 0;
  }

  private close(): void {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
    this.free?.();
    this.free = null;
  }

  private open = async (): Promise<void> => {
    this.close();
    if (document.hidden || this.stopped) return;
    if (await this.slot()) this.listen();
    else this.poll();
  };

  /** Takes one of the places for streams, if one is free. */
  private async slot(): Promise<boolean> {
    if (typeof navigator === 'undefined' || !navigator.locks) return true;
    for (let at = 0; at < SLOTS; at++) {
      const got = await new Promise<boolean>((resolve) => {
        navigator.locks.request(`flowmeter-tail-${at}`, { ifAvailable: true }, (lock) => {
          if (!lock) return resolve(false);
          resolve(true);
          return new Promise<void>((free) => (this.free = free));
        });
      });
      if (got && (this.stopped || document.hidden)) this.close();
      if (got) return !this.stopped;
    }
    return false;
  }

  private listen(): void {
    const source = new EventSource(url('/api/v1/events/tail', this.query));
    this.source = source;
    source.addEventListener('events', (event) => {
      const data = parse((event as MessageEvent<string>).data);
      this.missed += data.notShown;
      this.take([...data.events].reverse());
    });
    source.addEventListener('open', () => (this.broken = false));
    source.addEventListener('error', () => {
      this.broken = true;
      if (source.readyState !== EventSource.CLOSED) return;
      clearTimeout(this.timer);
      this.timer = window.setTimeout(this.open, 3_000);
    });
  }

  private poll(): void {
    this.timer = window.setTimeout(async () => {
      const key = (row: TailedEvent) => `${row.pipeline} ${row.position}`;
      const known = new Set([...this.held, ...this.rows].map(key));
      const found = await get(url('/api/v1/events', { ...this.query, order: 'desc', limit: 40 })).catch(() => null);
      this.broken = !found;
      if (found) this.take(found.items.filter((row: TailedEvent) => !known.has(key(row))));
      if (!this.stopped && !document.hidden) this.poll();
    }, POLL_MS);
  }

  private take(fresh: TailedEvent[]): void {
    if (!fresh.length) return;
    if (this.frozen()) {
      this.held = [...fresh, ...this.held].slice(0, SHOWN);
      this.heldCount += fresh.length;
    } else this.rows = [...fresh, ...this.rows].slice(0, SHOWN);
  }
}
