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
interface Wanted {
  topics: string[];
  at: number;
}

/** Topics that the server allows in one stream. */
const TOPICS_MAX = 8;
/** Interval of polling where the browser has no locks: they need HTTPS or this machine. */
const POLL_MS = 5_000;
const RETRY_MS = 3_000;
/** Interval at which a tab repeats its topics, and the age at which those of a lost tab are dropped. */
const REPEAT_MS = 30_000;
const LOST_MS = 100_000;

const locks = (): LockManager | undefined => (typeof navigator === 'undefined' ? undefined : navigator.locks);

/** Returns the topics of one stream: `overview` always, the others in turns if there are too many. */
export function turnOf(topics: string[], turn: number): string[] {
  const all = [...new Set(topics)].sort((a, b) => (a === 'overview' ? -1 : b === 'overview' ? 1 : 0));
  if (all.length <= TOPICS_MAX) return all;
  const fixed = all[0] === 'overview' ? 1 : 0;
  const rest = all.slice(fixed);
  const room = TOPICS_MAX - fixed;
  return [...all.slice(0, fixed), ...Array.from({ length: room }, (_, at) => rest[(turn * room + at) % rest.length])];
}

export class Stream {
  private tab = Math.random().toString(36).slice(2);
  private channel: BroadcastChannel | null = null;
  private source: EventSource | null = null;
  private topics: string[] = [];
  private wants = new Map<string, Wanted>();
  private release: (() => void) | null = null;
  private stop: AbortController | null = null;
  private timer = 0;
  private repeat = 0;
  private turn = 0;
  /** The topics of the open connection; empty to connect again. */
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
    this.announce();
    this.repeat = window.setInterval(() => this.announce(), REPEAT_MS);
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
    // A topic that this tab did not follow needs a snapshot, also if the connection has it already.
    if (topics.some((topic) => !this.topics.includes(topic))) this.connected = '';
    this.topics = topics;
    this.announce();
    if (this.release) this.soon();
    else if (!this.channel) this.poll();
  }

  close(): void {
    clearTimeout(this.timer);
    clearInterval(this.repeat);
    this.tell({ kind: 'leave', tab: this.tab });
    this.disconnect();
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

  private announce(): void {
    this.tell({ kind: 'want', tab: this.tab, topics: this.topics });
  }

  private tell(note: Note): void {
    this.channel?.postMessage(note);
  }

  private note(note: Note): void {
    if (note.kind === 'heard' && note.heard) this.take(note.heard);
    else if (note.kind === 'lead') this.announce();
    else if (note.kind === 'want' && this.release) this.wanted(note.tab, note.topics ?? []);
    else if (note.kind === 'leave' && this.wants.delete(note.tab) && this.release) this.soon();
  }

  private wanted(tab: string, topics: string[]): void {
    const known = this.wants.get(tab);
    this.wants.set(tab, { topics, at: Date.now() });
    // A tab that only repeats its topics has its snapshots already; another one needs new ones.
    if (known && known.topics.join('\n') === topics.join('\n')) return;
    this.connected = '';
    this.soon();
  }

  /** The topics of all tabs, without those of tabs that ended silently. */
  private all(): string[] {
    for (const [tab, one] of this.wants) if (Date.now() - one.at > LOST_MS) this.wants.delete(tab);
    return [...this.topics, ...[...this.wants.values()].flatMap((one) => one.topics)];
  }

  private soon(after = 40): void {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.connect(), after);
  }

  private disconnect(): void {
    this.source?.close();
    this.source = null;
    this.connected = '';
  }

  private connect(): void {
    clearTimeout(this.timer);
    const all = this.all();
    const topics = turnOf(all, this.turn);
    const wanted = topics.join('\n');
    const isOpen = this.source && this.source.readyState !== EventSource.CLOSED;
    if (!isOpen || wanted !== this.connected) {
      this.disconnect();
      if (!topics.length) return;
      this.connected = wanted;
      this.listen(topics, (heard) => {
        this.take(heard);
        this.tell({ kind: 'heard', tab: this.tab, heard });
      }, () => this.soon(RETRY_MS));
    }
    if (new Set(all).size > TOPICS_MAX) {
      this.turn++;
      this.soon(POLL_MS);
    }
  }

  /** Opens the only connection. Nothing is passed on from one that was replaced. */
  private listen(topics: string[], pass: (heard: Heard) => void, ended: () => void): void {
    const query = new URLSearchParams(topics.map((topic) => ['topic', topic]));
    if (this.from) query.set('from', this.from);
    const source = new EventSource(`/api/v1/live?${query}`);
    this.source = source;
    const hear = (kind: string, take: (event: Event) => void) => source.addEventListener(kind, (event) => source === this.source && take(event));
    hear('open', () => pass({ kind: 'up', text: '' }));
    hear('error', () => {
      pass({ kind: 'down', text: '' });
      if (source.readyState === EventSource.CLOSED) ended();
    });
    for (const kind of ['snapshot', 'counters', 'session'] as const) hear(kind, (event) => pass({ kind, text: (event as MessageEvent<string>).data }));
    // A topic that cannot be read has no snapshot.
    hear('trouble', () => pass({ kind: 'up', text: '' }));
  }

  /** Without locks: takes the snapshots, closes, and asks again later. */
  private poll(): void {
    clearTimeout(this.timer);
    this.disconnect();
    const topics = turnOf(this.topics, this.turn++);
    if (!topics.length) return;
    let left = topics.length;
    const later = () => {
      this.disconnect();
      clearTimeout(this.timer);
      this.timer = window.setTimeout(() => this.poll(), POLL_MS);
    };
    this.listen(topics, (heard) => {
      this.take(heard);
      if (heard.kind === 'snapshot' && --left <= 0) later();
      else if (heard.kind === 'down') later();
    }, () => undefined);
    // If a snapshot does not come, the connection is not kept for it.
    this.timer = window.setTimeout(later, POLL_MS);
  }
}
