// Counts of a pipeline's steps: what came in, left, and by which output.
import type { GraphEdge, OperatorCounts } from './api-types';
import { pixel } from './num';

/** Returns how many events went along an edge: by an output, or all that left its operator. */
export function along(edge: Pick<GraphEdge, 'count' | 'output'>, count: Partial<OperatorCounts> | null | undefined): number | null {
  return (edge.output ? count?.outputs?.[edge.output] : count?.out) ?? edge.count ?? null;
}

/** Returns the number of events that left the flow at an operator: neither passed on nor parked. Events that it made passed on, too. */
export function left(count: Pick<OperatorCounts, 'in' | 'out' | 'errors'> & Partial<Pick<OperatorCounts, 'derived'>> | null | undefined): number {
  return count ? Math.max(0, pixel(count.in) + pixel(count.derived ?? 0) - pixel(count.out) - pixel(count.errors)) : 0;
}

const EXITS: Record<string, string> = { dedupe: 'duplicate', meter: 'unmatched', split: 'split', script: 'split or filtered', accumulate: 'absorbed', correlate: 'absorbed' };


/** Names the reason for which events leave at an operator of this kind. */
export function leftAs(what: string): string {
  return EXITS[what] ?? 'filtered';
}
