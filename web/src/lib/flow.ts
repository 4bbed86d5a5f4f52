// Counts of a pipeline's steps: what came in, left, and by which output.
import { pixel } from './num';
import type { Json } from './json';

/** Returns how many events left an operator by an output; none if the server does not count outputs. */
export function byOutput(count: Json, output: string | null | undefined): number | null {
  const outputs = count?.outputs ?? count?.outByOutput ?? null;
  if (!outputs) return null;
  const name = output ?? 'default';
  if (Array.isArray(outputs)) {
    const found = outputs.find((one) => (one.name ?? one.output ?? 'default') === name);
    return found ? pixel(found.out ?? found.count ?? 0) : null;
  }
  const found = outputs[name];
  return found === undefined ? null : pixel(found);
}

/** Returns the number of events that left the flow at an operator: neither passed on nor parked. */
export function left(count: Json): number {
  return count ? Math.max(0, pixel(count.in) - pixel(count.out) - pixel(count.errors)) : 0;
}

/** Names the reason for which events leave at an operator of this kind. */
export function leftAs(what: string): string {
  return what === 'dedupe' ? 'duplicate' : what === 'meter' ? 'unmatched' : what === 'aggregate' || what === 'join' ? 'absorbed' : 'filtered';
}
