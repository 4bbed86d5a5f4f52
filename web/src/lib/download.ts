// Files that a page makes. The namespace is in every name.
import { ask, me, type Answer } from './api.svelte';

/** Saves a text as a file of this browser. */
export function download(name: string, text: string, kind = 'text/csv'): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: kind }));
  link.download = fileName(name);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1_000);
}

/** Returns a name of a file with the namespace. */
export function fileName(name: string): string {
  return `${me.session?.namespace ?? 'flowmeter'}-${name}`.replace(/[^\p{L}\p{N}._-]+/gu, '-');
}

/** Saves a table as the server writes it. A long one comes in parts, each with a line of names. */
export async function saveTable(path: string, name: string): Promise<void> {
  let text = '';
  let cursor: string | null = null;
  do {
    const part: Answer = await ask(cursor ? `${path}${path.includes('?') ? '&' : '?'}cursor=${encodeURIComponent(cursor)}` : path, { headers: { accept: 'text/csv' } });
    text += text ? part.raw.slice(part.raw.indexOf('\r\n') + 2) : part.raw;
    cursor = part.headers.get('x-next-cursor');
  } while (cursor);
  download(name, text);
}
