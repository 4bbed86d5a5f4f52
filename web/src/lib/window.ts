// The rows of a long table that are in the document: those near the part that is seen.

/** Lists up to this length are whole in the document. */
export const WHOLE = 150;
const AROUND = 16;

export interface Slice {
  first: number;
  last: number;
}

/** Returns the rows to draw of `count`, for a table whose first row is `above` pixels above the window. */
export function slice(count: number, above: number, height: number, row: number): Slice {
  if (count <= WHOLE || row <= 0) return { first: 0, last: count };
  const first = Math.max(0, Math.min(count, Math.floor(above / row)) - AROUND);
  const last = Math.min(count, Math.ceil((above + height) / row) + AROUND);
  return { first, last: Math.max(last, first) };
}
