// Events as they come. At most three tabs of a browser hold a stream of them; further tabs poll, so
// that requests still find a connection over HTTP/1.1.
import { get, url, type Problem } from './api.svelte';
import type { EventPage, EventTail, ReceivedEvent, TailedEvent } from './api-types';
import { parse } from './json';
import { unknownFilter } from './load.svelte';

export type Row = ReceivedEvent | TailedEvent;
/** Rows that are kept. */
export const SHOWN = 60;
/** Pages without a row that are passed, each of many events, to find the newest one. */
const LOOKS_MAX = 10;
const SLOTS = 3;
const POLL_MS = 2_000;
const RETRY_MS = 3_000;

export const rowKey = (row: Row) => `${row.pipeline} ${row.position}`;

export class Tail {
  rows = $state.raw<Row[]>([]);
  held = $state.raw<Row[]>([]);
  /** How many wait behind the list, also those that are not kept. */
  heldCount = $state(0);
  missed = $state(0);
  broken = $state(false);
  /** The refusal of the server; `open` asks again. */
  problem = $state.raw<Problem | null>(null);
  /** The reason for which a filter was left out: the server has no such value. */
  unknown = $state('');
  private source: EventSource | null = null;
  private free: (() => void) | null = null;
  private timer = 0;
  private stopped = false;
  /** The number of the connection; answers to an earlier one are dropped. */
  private turn = 0;

  constructor(
    private query: Record<string, string>,
    private frozen: () => boolean,
  ) {}

  start(): void {
    if (this.stopped) return;
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

  /** Reads the newest rows and then takes new ones, until the page is hidden or left. */
  open = async (): Promise<void> => {
    this.close();
    if (document.hidden || this.stopped) return;
    const turn = this.turn;
    if (!(await this.newest(turn)) || turn !== this.turn) return;
    const free = await slot();
    if (turn !== this.turn) {
      free?.();
      return;
    }
    this.free = free;
    if (free) this.listen();
    else this.poll(turn);
  };

  private close(): void {
    this.turn++;
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
    this.free?.();
    this.free = null;
  }

  /** Takes the newest events that are not shown yet. Returns false if the server did not answer with them. */
  private async newest(turn: number, looks = LOOKS_MAX): Promise<boolean> {
    try {
      let cursor = '';
      for (let looked = 0; looked < looks; looked++) {
        const page = await get<EventPage>(url('/api/v1/events', { ...this.query, order: 'desc', limit: 40, cursor }));
        if (turn !== this.turn) return false;
        this.take(page.items);
        cursor = page.nextCursor ?? '';
        if (page.items.length || !cursor || this.rows.length) break;
      }
      this.problem = null;
      this.broken = false;
      return true;
    } catch (why) {
      if (turn !== this.turn) return false;
      return this.refused(why as Problem, turn);
    }
  }

  /** Leaves out a filter that the server does not know, shows a refusal, or tries again later. */
  private refused(problem: Problem, turn: number): boolean | Promise<boolean> {
    const field = unknownFilter(problem, new URLSearchParams(this.query));
    if (field) {
      this.unknown = `${problem.detail}.`;
      this.query = { ...this.query, [field]: '' };
      return this.newest(turn);
    }
    if (problem.status >= 400 && problem.status < 500) this.problem = problem;
    else {
      this.broken = true;
      this.timer = window.setTimeout(this.open, RETRY_MS);
    }
    return false;
  }

  private listen(): void {
    const source = new EventSource(url('/api/v1/events/tail', this.query));
    this.source = source;
    source.addEventListener('events', (event) => {
      const data = parse((event as MessageEvent<string>).data) as EventTail;
      this.missed += data.notShown;
      this.take([...data.events].reverse());
    });
    source.addEventListener('open', () => (this.broken = false));
    source.addEventListener('error', () => {
      this.broken = true;
      if (source.readyState !== EventSource.CLOSED || source !== this.source) return;
      clearTimeout(this.timer);
      this.timer = window.setTimeout(this.open, RETRY_MS);
    });
  }

  private poll(turn: number): void {
    this.timer = window.setTimeout(async () => {
      if (await this.newest(turn, 1)) this.poll(turn);
    }, POLL_MS);
  }

  /** Adds rows, the newest first; those that are shown already are left out. */
  private take(rows: Row[]): void {
    const known = new Set([...this.held, ...this.rows].map(rowKey));
    const fresh = rows.filter((row) => !known.has(rowKey(row)));
    if (!fresh.length) return;
    if (this.rows.length && this.frozen()) {
      this.held = [...fresh, ...this.held].slice(0, SHOWN);
      this.heldCount += fresh.length;
    } else this.rows = [...fresh, ...this.rows].slice(0, SHOWN);
  }
}

/** Takes one of the places for streams. Returns the function that gives it back; null if none is free. */
async function slot(): Promise<(() => void) | null> {
  if (typeof navigator === 'undefined' || !navigator.locks) return () => undefined;
  for (let at = 0; at < SLOTS; at++) {
    const free = await new Promise<(() => void) | null>((resolve) => {
      navigator.locks.request(`flowmeter-tail-${at}`, { ifAvailable: true }, (lock) => {
        if (!lock) return resolve(null);
        return new Promise<void>((give) => resolve(give));
      });
    });
    if (free) return free;
  }
  return null;
}
