// Counters as they change. A tab that is not seen lets go of its stream, so that a browser with
// many tabs keeps a connection for each that is in front.
import { parse, type Json } from './json';
import { me } from './api.svelte';
import { now, setServerTime } from './time';

const HIDDEN_MS = 5_000;

class Live {
  paused = $state(false);
  pausedAt = $state(0);
  connected = $state(true);
  lostAt = $state(0);
  states = $state<Record<string, Json>>({});
  /** Events of sessions, the newest first. */
  told = $state.raw<Json[]>([]);
  private wanted: Record<string, number> = {};
  private from = '';
  private source: EventSource | null = null;
  private timer = 0;
  private retry = 0;

  /** Follows a topic until the returned function is called. */
  follow(topic: string): () => void {
    this.wanted[topic] = (this.wanted[topic] ?? 0) + 1;
    this.soon();
    return () => {
      if (--this.wanted[topic] <= 0) delete this.wanted[topic];
      this.soon();
    };
  }

  /** Counts are those since this instant. */
  since(from: string): void {
    if (this.from === from) return;
    this.from = from;
    this.soon();
  }

  pause(on = !this.paused): void {
    this.paused = on;
    this.pausedAt = on ? now() : 0;
    if (!on) this.soon();
  }

  start(): void {
    document.addEventListener('visibilitychange', () => {
      clearTimeout(this.timer);
      if (document.hidden) this.timer = window.setTimeout(() => this.close(), HIDDEN_MS);
      else if (!this.source) this.soon();
    });
  }

  private soon(): void {
    clearTimeout(this.retry);
    this.retry = window.setTimeout(() => this.connect(), 30);
  }

  close(): void {
    this.source?.close();
    this.source = null;
  }

  private connect(): void {
    this.close();
    const topics = Object.keys(this.wanted);
    if (!topics.length || !me.session?.signedIn || me.expired || document.hidden) return;
    const query = new URLSearchParams(topics.map((topic) => ['topic', topic]));
    if (this.from) query.set('from', this.from);
    const source = new EventSource(`/api/v1/live?${query}`);
    this.source = source;
    source.addEventListener('open', () => {
      this.connected = true;
    });
    source.addEventListener('snapshot', (event) => {
      const data = parse((event as MessageEvent<string>).data);
      this.connected = true;
      setServerTime(data.at);
      if (!this.paused) this.states[data.topic] = data.state;
    });
    source.addEventListener('counters', (event) => {
      if (this.paused) return;
      const data = parse((event as MessageEvent<string>).data);
      const state = this.states[data.topic];
      if (!state) return;
      for (const [path, value] of Object.entries(data.set)) put(state, path, value);
      state.at = data.at;
    });
    source.addEventListener('session', (event) => {
      this.told = [parse((event as MessageEvent<string>).data), ...this.told].slice(0, 50);
    });
    source.addEventListener('error', () => {
      if (this.connected) this.lostAt = now();
      this.connected = false;
      if (source.readyState === EventSource.CLOSED) {
        this.close();
        clearTimeout(this.retry);
        this.retry = window.setTimeout(() => this.connect(), 3_000);
      }
    });
  }
}

function put(state: Json, pointer: string, value: unknown): void {
  const names = pointer.slice(1).split('/').map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'));
  const last = names.pop() as string;
  let at = state;
  for (const name of names) at = at?.[name];
  if (at) at[last] = value;
}

export const live = new Live();
