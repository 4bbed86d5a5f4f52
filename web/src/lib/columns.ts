// Columns that a browser hides, kept by the name of the table.

const sheet = typeof CSSStyleSheet === 'undefined' ? null : new CSSStyleSheet();
if (sheet && typeof document !== 'undefined') document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];

let hidden: Record<string, number[]> = {};
try {
  hidden = JSON.parse(localStorage.getItem('columns') ?? '{}');
} catch {
  hidden = {};
}

function apply(): void {
  const rules = Object.entries(hidden).flatMap(([table, columns]) => columns.map((at) => `table[data-columns="${CSS.escape(table)}"] > * > tr > :nth-child(${at + 1}):not([colspan]) { display: none !important; }`));
  sheet?.replaceSync(rules.join('\n'));
}
if (sheet) apply();

export function isHidden(table: string, at: number): boolean {
  return hidden[table]?.includes(at) ?? false;
}

/** Shows or hides a column from now on. */
export function toggle(table: string, at: number): void {
  const now = hidden[table] ?? [];
  hidden = { ...hidden, [table]: now.includes(at) ? now.filter((one) => one !== at) : [...now, at] };
  try {
    localStorage.setItem('columns', JSON.stringify(hidden));
  } catch {
    // A browser that keeps nothing still hides the column on this page.
  }
  apply();
}
