// The attempts of a delivery, as `attemptHistory` has them: the oldest first, at most the last 20.
import type { DeliveryAttempt, DeliveryWithRecord } from './api-types';
import { pixel } from './num';

export type Attempt = DeliveryAttempt & { accepted: boolean };

/** Returns the attempts, the newest first. Only the last one can have been accepted without a status. */
export function attemptsOf(delivery: Pick<DeliveryWithRecord, 'state' | 'attemptHistory'> | null): Attempt[] {
  const held = ['accepted', 'confirmed', 'sent'].includes(delivery?.state ?? '');
  const list: DeliveryAttempt[] = [...(delivery?.attemptHistory ?? [])].reverse();
  return list.map((one, at) => ({ ...one, accepted: one.status ? one.status < 300 : at === 0 && held }));
}

/** Returns the pauses between attempts in milliseconds, the newest first. */
export function pauses(list: Attempt[]): number[] {
  return list.slice(0, -1).map((one, at) => Math.max(0, Date.parse(one.at) - Date.parse(list[at + 1].at) - pixel(list[at + 1].ms ?? 0)));
}
