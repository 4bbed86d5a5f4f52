// Stand-ins for parts of a browser that Node lacks: event streams, locks, channels and a page that can be hidden.

type Listener = (event: unknown) => void;

export class Emitter {
  listeners = new Map<string, Set<Listener>>();
  addEventListener(kind: string, listener: Listener): void {
    this.listeners.set(kind, (this.listeners.get(kind) ?? new Set()).add(listener));
  }
  removeEventListener(kind: string, listener: Listener): void {
    this.listeners.get(kind)?.delete(listener);
  }
  emit(kind: string, event: unknown = {}): void {
    for (const listener of [...(this.listeners.get(kind) ?? [])]) listener(event);
  }
  count(kind: string): number {
    return this.listeners.get(kind)?.size ?? 0;
  }
}

export class FakeSource extends Emitter {
  static CLOSED = 2;
  static all: FakeSource[] = [];
  static get open(): FakeSource[] {
    return FakeSource.all.filter((one) => one.readyState !== FakeSource.CLOSED);
  }
  readyState = 1;
  constructor(public url: string) {
    super();
    FakeSource.all.push(this);
  }
  get topics(): string[] {
    return new URL(this.url, 'http://h').searchParams.getAll('topic');
  }
  close(): void {
    this.readyState = FakeSource.CLOSED;
  }
  send(kind: string, value: unknown): void {
    if (this.readyState !== FakeSource.CLOSED) this.emit(kind, { data: JSON.stringify(value) });
  }
}

/** Locks as a browser has them: one holder, the others wait or are refused. */
export class FakeLocks {
  held = new Set<string>();
  private waiting = new Map<string, (() => void)[]>();
  request(name: string, options: { ifAvailable?: boolean; signal?: AbortSignal }, run: (lock: object | null) => unknown): Promise<unknown> {
    if (this.held.has(name)) {
      if (options.ifAvailable) return Promise.resolve(run(null));
      return new Promise((resolve, reject) => {
        options.signal?.addEventListener('abort', () => reject(new Error('aborted')));
        const start = () => !options.signal?.aborted && resolve(this.run(name, run));
        this.waiting.set(name, [...(this.waiting.get(name) ?? []), start]);
      });
    }
    return this.run(name, run);
  }
  private async run(name: string, run: (lock: object | null) => unknown): Promise<void> {
    this.held.add(name);
    await run({ name });
    this.held.delete(name);
    this.waiting.get(name)?.shift()?.();
  }
}

export class FakeChannel extends Emitter {
  static all = new Set<FakeChannel>();
  constructor(public name: string) {
    super();
    FakeChannel.all.add(this);
  }
  postMessage(data: unknown): void {
    for (const other of FakeChannel.all) if (other !== this && other.name === this.name) other.emit('message', { data });
  }
  close(): void {
    FakeChannel.all.delete(this);
  }
}

export const page = Object.assign(new Emitter(), { hidden: false });
export const locks = new FakeLocks();

/** Puts the fakes in place. */
export function install(): void {
  Object.assign(globalThis, {
    EventSource: FakeSource, BroadcastChannel: FakeChannel, document: page,
    window: globalThis, localStorage: { getItem: () => null, setItem: () => undefined },
  });
  Object.defineProperty(globalThis, 'navigator', { value: { locks }, configurable: true });
}
