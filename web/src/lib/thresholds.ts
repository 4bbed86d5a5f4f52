// Thresholds of a meter, for its gauge.
import type { Meter } from './api-types';
import { full, pixel } from './num';

export interface Mark {
  name: string;
  /** The place on the scale; pixels may round. */
  at: number;
  text: string;
}

/** Returns the thresholds with their values; one in percent is a share of the capacity. */
export function marksOf(meter: Pick<Meter, 'capacity' | 'thresholds'> | null): Mark[] {
  return (meter?.thresholds ?? []).map((one) => {
    const name = one.name ?? 'threshold';
    if (one.percentOfCapacity === undefined) return { name, at: pixel(one.value), text: full(one.value) };
    return { name, at: (pixel(one.percentOfCapacity) * pixel(meter?.capacity)) / 100, text: `${full(one.percentOfCapacity)} % of the capacity` };
  });
}
