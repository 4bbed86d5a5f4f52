// Short messages at the edge of the screen, announced politely to screen readers.
export interface Toast {
  id: number;
  text: string;
  href?: string;
  bad?: boolean;
}

class Toasts {
  list = $state<Toast[]>([]);
}

export const toasts = new Toasts();
let next = 0;

export function toast(text: string, href?: string, bad = false): void {
  const id = ++next;
  toasts.list.push({ id, text, href, bad });
  setTimeout(() => {
    toasts.list = toasts.list.filter((one) => one.id !== id);
  }, bad ? 10_000 : 4_000);
}

/** Says why an act was refused. */
export function failed(why: unknown): void {
  const { title, detail } = why as { title: string; detail: string };
  toast(`${title}: ${detail}`, undefined, true);
}

/** Copies a text, and says so. Without HTTPS there is no clipboard: a field is selected instead. */
export async function copy(text: string, said = 'Copied'): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    toast(said);
  } catch {
    const field = document.createElement('textarea');
    field.value = text;
    (document.querySelector('dialog[open]') ?? document.body).append(field);
    field.select();
    const done = document.execCommand('copy');
    field.remove();
    toast(done ? said : 'Copying is not allowed here');
  }
}
