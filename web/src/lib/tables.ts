// Tables: the keyboard can scroll them, and on a phone each cell has its label.

const PHONE = '(max-width: 760px)';

/** Watches the tables below an element. */
export function tables(main: HTMLElement): { destroy: () => void } {
  let waiting = 0;
  const phone = matchMedia(PHONE);
  const label = () => {
    if (!phone.matches) return;
    for (const table of main.querySelectorAll('.scroll table')) {
      const heads = [...table.querySelectorAll('thead th')].map((one) => one.textContent?.trim() ?? '');
      for (const cell of table.querySelectorAll<HTMLTableCellElement>('tbody td:not([data-l], [colspan])')) {
        cell.dataset.l = heads[cell.cellIndex] ?? '';
      }
    }
  };
  const reach = () => {
    waiting = 0;
    for (const one of main.querySelectorAll<HTMLElement>('.scroll')) {
      const scrolls = one.scrollWidth > one.clientWidth + 1 || one.scrollHeight > one.clientHeight + 1;
      if (scrolls && one.tabIndex < 0) {
        one.tabIndex = 0;
        one.setAttribute('role', 'region');
        one.setAttribute('aria-label', one.querySelector('table')?.getAttribute('aria-label') ?? 'Table');
      } else if (!scrolls && one.tabIndex >= 0) {
        for (const name of ['tabindex', 'role', 'aria-label']) one.removeAttribute(name);
      }
    }
  };
  const watch = new MutationObserver(() => {
    label();
    waiting ||= window.setTimeout(reach, 300);
  });
  watch.observe(main, { childList: true, subtree: true });
  phone.addEventListener('change', label);
  return {
    destroy: () => {
      watch.disconnect();
      phone.removeEventListener('change', label);
    },
  };
}
