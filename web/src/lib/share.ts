// Addresses for others: they show the same view wherever they are opened.
import { prefs } from './prefs.svelte';

/** Returns the address of the page with the zone of its times. */
export function shared(href = location.href, zone = prefs.zone): string {
  const url = new URL(href);
  if (!url.searchParams.has('zone')) url.searchParams.set('zone', zone);
  return url.href;
}
