// The keys of the shell. Single keys do nothing while one types or while a dialog is open.
import { entries } from './nav';
import { live } from './live.svelte';
import { prefs } from './prefs.svelte';
import { route } from './router.svelte';
import { iso, range } from './time';

export interface Acts {
  search: () => void;
  help: () => void;
  link: () => void;
}

/** When `G` was pressed, by the clock of the events: a busy page does not shorten the wait. */
let asked = -Infinity;
const WAIT_MS = 1_500;

/** Whether a single key may act now. */
export function mayAct(event: KeyboardEvent): boolean {
  const target = event.target as HTMLElement;
  if (prefs.keys === 'off' || event.ctrlKey || event.metaKey || event.altKey) return false;
  if (target.isContentEditable || /INPUT|TEXTAREA|SELECT/.test(target.tagName) || target.closest?.('.editor')) return false;
  return !document.querySelector('dialog[open]');
}

/** Moves the range of the page by its own length. */
function shift(by: number): void {
  const now = range(route.get('range') || '1h');
  const long = now.to - now.from;
  route.set({ range: `${iso(now.from + by * long)}..${iso(now.to + by * long)}` });
}

export function handle(event: KeyboardEvent, acts: Acts): void {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') {
    event.preventDefault();
    acts.search();
    return;
  }
  if (!mayAct(event)) return;
  const key = event.key.toLowerCase();
  if (event.timeStamp - asked < WAIT_MS) {
    asked = -Infinity;
    const found = entries.find((one) => one.key === key);
    if (found) {
      event.preventDefault();
      route.go(found.href);
    }
    return;
  }
  if (key === '/') {
    event.preventDefault();
    acts.search();
  } else if (key === 'g') asked = event.timeStamp;
  else if (key === 'p') live.pause();
  else if (key === 'y') acts.link();
  else if (key === '?') acts.help();
  else if (key === '[') shift(-1);
  else if (key === ']') shift(1);
  else if (key === '.') {
    event.preventDefault();
    document.getElementById('object-acts')?.click();
    requestAnimationFrame(() => document.querySelector<HTMLElement>('.menu .drop button, .menu .drop a')?.focus());
  }
}
