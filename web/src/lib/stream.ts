// One event stream for all tabs of a browser. Over HTTP/1.1 a browser keeps six connections to a
// server, so a stream for each tab would stop the seventh. The tab that holds a lock connects; it
// passes each message to the others through a broadcast channel. A tab that closes or is hidden
// releases the lock, and another takes over.

export interface Heard {
  kind: 'snapshot' | 'counters' | 'session' | 'up' | 'down';
  text: string;
}
interface Note {
  kind: 'want' | 'leave' | 'lead' | 'heard';
  tab: string;
  topics?: string[];
  heard?: Heard;
}

/** Topics that the server allows in one stream. */
const TOPICS_MAX = 8;
/** Interval of polling where the browser has no locks: they need HTTPS or this machine. */
const POLL_MS = 5_000;
const RETRY_MS = 1_000;

const locks = (): LockManager | undefined => (typeof navigator === 'undefined' ? undefined : navigator.locks);

export class Stream {
  private tab = Math.random().toString(36).slice(2);
  private channel: BroadcastChannel | null = null;
  private source: EventSource | null = null;
  private topics: string[] = [];
  private wants = new Map<string, string[]>();
  private release: (() => void) | null = null;
  private stop: AbortController | null = null;
  private timer = 0;
  private connected = '';

  constructor(
    private name: string,
    private from: string,
    private take: (heard: Heard) => void,
  ) {}

  /** Starts to listen, and to wait for the lock. */
  open(topics: string[]): void {
    this.topics = topics;
    const manager = locks();
    if (!manager || typeof BroadcastChannel === 'undefined') {
      this.poll();
      return;
    }
    this.channel = new BroadcastChannel(this.name);
    this.channel.addEventListener('message', (event) => this.note(event.data as Note));
    this.tell({ kind: 'want', tab: this.tab, topics });
    this.stop = new AbortController();
    manager
      .request(this.name, { signal: this.stop.signal }, () => new Promise<void>((resolve) => {
        this.release = resolve;
        this.tell({ kind: 'lead', tab: this.tab });
        this.soon(150);
      }))
      .catch(() => undefined);
  }

  /** Changes the topics that this tab shows. */
  want(topics: string[]): void {
    this.topics = topics;
    this.tell({ kind: 'want', tab: this.tab, topics });
    if (this.release) this.soon();
    else if (!this.channel) this.poll();
  }

  close(): void {
    clearTimeout(this.timer);
    this.tell({ kind: 'leave', tab: this.tab });
    this.source?.close();
    this.source = null;
    this.release?.();
    this.release = null;
    this.stop?.abort();
    this.channel?.close();
    this.channel = null;
  }

  /** Whether this tab holds the connection. */
  get leads(): boolean {
    return this.release !== null;
  }

  private tell(note: Note): void {
    this.channel?.postMessage(note);
  }

  private note(note: Note): void {
    if (note.kind === 'heard' && note.heard) this.take(note.heard);
    else if (note.kind === 'lead') this.tell({ kind: 'want', tab: this.tab, topics: this.topics });
    else if (note.kind === 'want' && this.release) {
      this.wants.set(note.tab, note.topics ?? []);
      this.soon();
    } else if (note.kind === 'leave') this.wants.delete(note.tab);
  }

  private all(): string[] {
    const union = new Set([...this.topics, ...[...this.wants.values()].flat()]);
    return [...union].sort((a, b) => (a === 'overview' ? -1 : b === 'overview' ? 1 : 0)).slice(0, TOPICS_MAX);
  }

  private soon(after = 40): void {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.connect(), after);
  }

  private connect(): void {
    const topics = this.all();
    const wanted = topics.join('\n');
    const isOpen = this.source && this.source.readyState !== EventSource.CLOSED;
    if (isOpen && topics.every((topic) => this.connected.split('\n').includes(topic)) && this.wants.size === 0) return;
    this.source?.close();
    this.source = null;
    if (!topics.length) return;
    this.connected = wanted;
    const source = this.listen(topics, (heard) => {
      this.take(heard);
      this.tell({ kind: 'heard', tab: this.tab, heard });
    });
    source.addEventListener('error', () => {
      if (source.readyState === EventSource.CLOSED && this.source === source) {
        clearTimeout(this.timer);
        this.timer = window.setTimeout(() => this.connect(), 3 * RETRY_MS);
      }
    });
  }

  private listen(topics: string[], pass: (heard: Heard) => void): EventSource {
    const query = new URLSearchParams(topics.map((topic) => ['topic', topic]));
    if (this.from) query.set('from', this.from);
    const source = new EventSource(`/api/v1/live?${query}`);
    this.source = source;
    source.addEventListener('open', () => pass({ kind: 'up', text: '' }));
    source.addEventListener('error', () => pass({ kind: 'down', text: '' }));
    for (const kind of ['snapshot', 'counters', 'session'] as const) {
      source.addEventListener(kind, (event) => pass({ kind, text: (event as MessageEvent<string>).data }));
    }
    return source;
  }

  /** Without locks: takes the snapshots, closes, and asks again later. */
  private poll(): void {
    clearTimeout(this.timer);
    this.source?.close();
    if (!this.topics.length) return;
    let left = Math.min(this.topics.length, TOPICS_MAX);
    const later = () => {
      this.source?.close();
      this.source = null;
      clearTimeout(this.timer);
      this.timer = window.setTimeout(() => this.poll(), POLL_MS);
    };
    const source = this.listen(this.topics.slice(0, TOPICS_MAX), (heard) => {
      this.take(heard);
      if (heard.kind === 'snapshot' && --left <= 0) later();
    });
    source.addEventListener('error', later);
  }
}
