// Jobs outlive the page that started them: one list, shown on the pages and in the shell.
import { get, me } from './api.svelte';
import type { Json } from './json';
import { now } from './time';

class Jobs {
  list = $state.raw<Json[]>([]);
  private timer = 0;

  readonly running = $derived(this.list.filter((job) => ['running', 'canceling', 'queued'].includes(job.state)));
  readonly recent = $derived(this.list.filter((job) => !job.endedAt || now() - Date.parse(job.endedAt) < 600_000).slice(0, 3));

  async look(): Promise<void> {
    clearTimeout(this.timer);
    if (me.session?.signedIn && !me.expired && !document.hidden) {
      try {
        const found = (await get('/api/v1/jobs')).items;
        if (found.length || this.list.length) this.list = found;
      } catch {
        // Older servers have no such list; keys without the scope see none.
      }
    }
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.look(), this.running.length ? 1_000 : 15_000);
  }
}

export const jobs = new Jobs();
