// Data of pages: one answer, or a list that is loaded page by page.
import { get, type Problem } from './api.svelte';
import type { Json } from './json';

/** One answer, loaded again when its address changes. */
export class Load<T = Json> {
  data = $state.raw<T | null>(null);
  problem = $state.raw<Problem | null>(null);
  loading = $state(false);
  private ticket = 0;
  private path = '';

  async from(path: string | null): Promise<void> {
    const ticket = ++this.ticket;
    if (!path) {
      this.path = '';
      this.data = this.problem = null;
      this.loading = false;
      return;
    }
    if (path.split('?')[0] !== this.path.split('?')[0]) this.data = null;
    this.path = path;
    this.loading = true;
    try {
      const data = await get<T>(path);
      if (ticket !== this.ticket) return;
      this.data = data;
      this.problem = null;
    } catch (why) {
      if (ticket !== this.ticket) return;
      this.problem = why as Problem;
    } finally {
      if (ticket === this.ticket) this.loading = false;
    }
  }

  again(): Promise<void> {
    return this.from(this.path);
  }
}

interface Page<T> {
  items: T[];
  nextCursor?: string | null;
}

/** Returns the filter of a query whose value the server does not know; empty if it refused for another reason. */
export function unknownFilter(problem: Problem, query: URLSearchParams): string {
  const field: string = problem.body?.field ?? '';
  return problem.status === 400 && query.get(field) ? field : '';
}

/** Rows that are kept at most. */
const ROWS_MAX = 2000;

/** Pages of a list. */
export class List<T = Json> {
  items = $state.raw<T[]>([]);
  next = $state<string | null>(null);
  problem = $state.raw<Problem | null>(null);
  loading = $state(false);
  loaded = $state(false);
  /** Rows at the beginning that were dropped because the list grew too long. */
  dropped = $state(0);
  /** The reason for which a filter of the address was left out: the server has no such value. */
  unknown = $state('');
  private ticket = 0;
  private path = '';

  async from(path: string): Promise<void> {
    if (path.split('?')[0] !== this.path.split('?')[0]) {
      this.items = [];
      this.loaded = false;
    }
    this.path = path;
    this.dropped = 0;
    this.unknown = '';
    await this.page(null);
  }

  async more(): Promise<void> {
    if (this.next && !this.loading) await this.page(this.next);
  }

  async again(): Promise<void> {
    if (this.path) await this.from(this.path);
  }

  private async page(cursor: string | null): Promise<void> {
    const ticket = ++this.ticket;
    this.loading = true;
    const join = this.path.includes('?') ? '&' : '?';
    try {
      const data = await get<Page<T>>(cursor ? `${this.path}${join}cursor=${encodeURIComponent(cursor)}` : this.path);
      if (ticket !== this.ticket) return;
      const all = cursor ? [...this.items, ...data.items] : data.items;
      if (all.length > ROWS_MAX) this.dropped += all.length - ROWS_MAX;
      this.items = all.slice(-ROWS_MAX);
      this.next = data.nextCursor ?? null;
      this.problem = null;
      this.loaded = true;
    } catch (why) {
      if (ticket !== this.ticket) return;
      const problem = why as Problem;
      if (!cursor && this.without(problem)) return await this.page(null);
      this.problem = problem;
    } finally {
      if (ticket === this.ticket) this.loading = false;
    }
    // After a short page that is not the last, the next one is loaded at once.
    if (ticket === this.ticket && this.next && !this.problem && this.items.length < 20) await this.page(this.next);
  }

  /** Leaves out the filter that the server does not know. */
  private without(problem: Problem): boolean {
    const [path, query] = this.path.split('?');
    const search = new URLSearchParams(query ?? '');
    const field = unknownFilter(problem, search);
    if (!field) return false;
    this.unknown = `${problem.detail}.`;
    search.delete(field);
    this.path = `${path}?${search}`;
    return true;
  }
}
