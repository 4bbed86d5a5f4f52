// One sign-in for all tabs of a browser: a tab that changes it has the others load again.
import { me } from './api.svelte';
import { route } from './router.svelte';

const channel = typeof BroadcastChannel === 'undefined' ? null : new BroadcastChannel('flowmeter-session');

/** Announces to the other tabs that the cookie belongs to another key now. */
export function announce(): void {
  channel?.postMessage('changed');
}

/** The address of the same page without the objects of the namespace that is left. */
export function kept(): string {
  const query = new URLSearchParams();
  for (const name of ['range', 'zone']) if (route.get(name)) query.set(name, route.get(name));
  const text = query.toString();
  return `/${route.parts[0] ? encodeURIComponent(route.parts[0]) : ''}${text ? `?${text}` : ''}`;
}

export function listen(): void {
  channel?.addEventListener('message', () => {
    if (me.session?.authRequired) location.assign(kept());
  });
}
