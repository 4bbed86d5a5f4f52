// The name of the object that the page shows, for the heading and the tab of the browser.
import { onDestroy } from 'svelte';

class Here {
  title = $state('');
}

export const here = new Here();

/** Names the page after its object while the component is shown. Call it while a component starts. */
export function named(name: () => string | null | undefined): void {
  $effect(() => {
    here.title = name() ?? '';
  });
  onDestroy(() => (here.title = ''));
}
