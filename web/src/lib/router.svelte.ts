// Addresses: the path is the object, the query is the view.

class Route {
  path = $state(location.pathname);
  query = $state(new URLSearchParams(location.search));

  get(name: string): string {
    return this.query.get(name) ?? '';
  }

  get parts(): string[] {
    return this.path.split('/').filter(Boolean).map(decode);
  }

  private read(): void {
    this.path = location.pathname;
    this.query = new URLSearchParams(location.search);
  }

  /** Goes to an address. */
  go(href: string, replace = false): void {
    if (guard.leave && !guard.leave()) return;
    guard.leave = null;
    keepScroll();
    const before = this.path;
    if (replace) history.replaceState(null, '', href);
    else history.pushState(null, '', href);
    this.read();
    if (before !== this.path) {
      scrollTo(0, 0);
      requestAnimationFrame(() => document.querySelector<HTMLElement>('h1')?.focus({ preventScroll: true }));
    }
  }

  /** Returns the address with changed parameters; an empty value removes one. */
  with(changes: Record<string, string | null | undefined>): string {
    const query = new URLSearchParams(this.query);
    for (const [name, value] of Object.entries(changes)) {
      if (value) query.set(name, value);
      else query.delete(name);
    }
    const text = query.toString();
    return this.path + (text ? `?${text}` : '');
  }

  /** Goes to the address with changed parameters. */
  set(changes: Record<string, string | null | undefined>, replace = false): void {
    this.go(this.with(changes), replace);
  }

  start(): void {
    history.scrollRestoration = 'manual';
    addEventListener('popstate', () => {
      if (guard.leave && !guard.leave()) {
        history.pushState(null, '', this.path + (this.query.size ? `?${this.query}` : ''));
        return;
      }
      guard.leave = null;
      this.read();
      restoreScroll();
    });
    addEventListener('beforeunload', (event) => {
      if (guard.leave && guard.loses) event.preventDefault();
    });
    addEventListener('pagehide', keepScroll);
    restoreScroll();
    addEventListener('click', (event) => {
      if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
      const link = (event.target as Element).closest?.('a');
      const href = link?.getAttribute('href');
      if (!link || !href?.startsWith('/') || link.target || link.hasAttribute('download') || href.startsWith('/api/')) return;
      event.preventDefault();
      this.go(href);
    });
  }
}

/** Notes in the history how far the page is scrolled. */
function keepScroll(): void {
  history.replaceState({ ...history.state, y: Math.round(scrollY) }, '');
}

/** Scrolls back once the page is long enough again, for at most two seconds. */
function restoreScroll(): void {
  const y = (history.state as { y?: number } | null)?.y ?? 0;
  const end = Date.now() + 2_000;
  const look = () => {
    const isLong = document.documentElement.scrollHeight - innerHeight >= y;
    if (isLong) scrollTo(0, y);
    else if (Date.now() < end) setTimeout(look, 50);
  };
  requestAnimationFrame(look);
}

/** Asked before leaving a page with unsaved text. */
export const guard: { leave: (() => boolean) | null; /** Whether the text is lost with the page. */ loses: boolean } = { leave: null, loses: false };

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export const route = new Route();

/** An address of path parts, each encoded, and a query. */
export function to(parts: string[], query: Record<string, string | null | undefined> = {}): string {
  const path = `/${parts.map(encodeURIComponent).join('/')}`;
  const found = Object.entries(query).filter(([, value]) => value) as [string, string][];
  return found.length ? `${path}?${new URLSearchParams(found)}` : path;
}
