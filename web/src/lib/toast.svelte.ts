// Short messages at the edge of the screen, told politely to screen readers.
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
