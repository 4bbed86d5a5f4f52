// Counters as they change. All tabs of a browser share one stream; hidden tabs leave it.
import { me } from './api.svelte';
import { parse, type Json } from './json';
import { Stream, type Heard } from './stream';
import { now, setServerTime } from './time';

/** After this time a hidden tab hands the connection over. */
const HIDDEN_MS = 5_000;

/** After this time the state of a topic that nothing follows is dropped. */
const FORGET_MS = 1_000;

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
  private stream: Stream | null = null;
  private opened = '';
  private timer = 0;
  private waiting = 0;

  /** Follows a topic until the returned function is called. */
  follow(topic: string): () => void {
    this.wanted[topic] = (this.wanted[topic] ?? 0) + 1;
    this.soon();
    return () => {
      if (--this.wanted[topic] <= 0) delete this.wanted[topic];
      this.soon();
      // The state of a page that was left is dropped, unless the next page follows it too.
      setTimeout(() => { if (!this.wanted[topic]) delete this.states[topic]; }, FORGET_MS);
    };
  }

  /** Counts are those since this instant. */
  since(from: string): void {
    if (this.from === from) return;
    this.from = from;
    this.soon();
  }

  /** Freezes numbers, charts and lists; again to continue. */
  pause(on = !this.paused): void {
    this.paused = on;
    this.pausedAt = on ? now() : 0;
    if (!on) this.restart();
  }

  start(): void {
    document.addEventListener('visibilitychange', () => {
      clearTimeout(this.timer);
      if (document.hidden) this.timer = window.setTimeout(() => this.close(), HIDDEN_MS);
      else this.soon();
    });
    addEventListener('pagehide', () => this.close());
  }

  restart(): void {
    this.close();
    this.soon();
  }

  close(): void {
    this.stream?.close();
    this.stream = null;
  }

  private soon(): void {
    clearTimeout(this.waiting);
    this.waiting = window.setTimeout(() => this.connect(), 30);
  }

  private connect(): void {
    const topics = Object.keys(this.wanted);
    if (!topics.length || !me.session?.signedIn || me.expired || document.hidden) {
      if (!document.hidden) this.close();
      return;
    }
    const name = `flowmeter-live:${me.session.namespace}:${this.from}`;
    if (this.stream && this.opened === name) {
      this.stream.want(topics);
      return;
    }
    this.close();
    this.opened = name;
    this.stream = new Stream(name, this.from, (heard) => this.take(heard));
    this.stream.open(topics);
  }

  private take(heard: Heard): void {
    if (heard.kind === 'down') {
      if (this.connected) this.lostAt = now();
      this.connected = false;
      return;
    }
    this.connected = true;
    if (heard.kind === 'up') return;
    const data = parse(heard.text);
    if (heard.kind === 'session') {
      this.told = [data, ...this.told].slice(0, 50);
      return;
    }
    if (heard.kind === 'snapshot') {
      setServerTime(data.at);
      if (!this.paused && this.wanted[data.topic]) this.states[data.topic] = data.state;
      return;
    }
    const state = this.states[data.topic];
    if (this.paused || !state) return;
    for (const [path, value] of Object.entries(data.set)) put(state, path, value);
    state.at = data.at;
  }
}

/** Sets the value at a JSON pointer. A path that is not there is left out. */
export function put(state: Json, pointer: string, value: unknown): void {
  const names = pointer.slice(1).split('/').map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'));
  const last = names.pop() as string;
  let at = state;
  for (const name of names) at = at?.[name];
  if (at && typeof at === 'object') at[last] = value;
}

export const live = new Live();
