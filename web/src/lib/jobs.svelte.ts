// Jobs outlive the page that started them: one list, shown on the pages and in the shell.
import type { Job, JobPage } from './api-types';
import { get, me } from './api.svelte';
import { now } from './time';

const NAMES: Record<string, string> = { discard: 'Discard', reprocess: 'Send again', resend: 'Resend', skip: 'Skip', reconcile: 'Reconcile', records: 'Export' };

/** Names what a job does. */
export const jobName = (job: Job): string => NAMES[job.action] ?? job.action;

class Jobs {
  list = $state.raw<Job[]>([]);
  private timer = 0;

  readonly running = $derived(this.list.filter((job) => ['running', 'canceling'].includes(job.state)));
  /** Those that run or ended in the last ten minutes, and exports that can be fetched. */
  readonly recent = $derived(this.list.filter((job) => !job.endedAt || now() - Date.parse(job.endedAt) < 600_000 || job.file));

  async look(): Promise<void> {
    clearTimeout(this.timer);
    if (me.can('read') && !me.expired && !document.hidden) {
      try {
        this.list = (await get<JobPage>('/api/v1/jobs')).items;
      } catch {
        // The next look may succeed; pages say what is wrong with the server.
      }
    }
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.look(), this.running.length ? 1_000 : 15_000);
  }
}

export const jobs = new Jobs();
