// Files that a page makes. The namespace is in every name.
import { me } from './api.svelte';

/** Saves a text as a file of this browser. */
export function download(name: string, text: string, kind = 'text/csv'): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: kind }));
  link.download = `${me.session?.namespace ?? 'flowmeter'}-${name}`.replace(/[^\p{L}\p{N}._-]+/gu, '-');
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1_000);
}
