// Attempts of a delivery. Servers before the list of attempts send a number and the last answer only.
import { pixel } from './num';
import type { Json } from './json';

export interface Attempt {
  at: string;
  ms: Json;
  status: Json;
  answer: string;
  accepted: boolean | null;
}

const text = (value: Json): string => (value === null || value === undefined ? '' : typeof value === 'string' ? value : JSON.stringify(value, (_, one) => (one && typeof one === 'object' && 'text' in one ? one.text : one)));

/** Returns the attempts of a delivery, the newest first; empty if the server keeps none. */
export function attemptsOf(one: Json): Attempt[] {
  const list = [one?.attempts, one?.attemptLog, one?.lastAttempts, one?.history].find((value) => Array.isArray(value)) as Json[] | undefined;
  const read = (item: Json): Attempt => ({
    at: item.at ?? item.startedAt, ms: item.ms ?? item.durationMs ?? null, status: item.status ?? item.code ?? null, answer: text(item.answer ?? item.error),
    accepted: item.accepted ?? (typeof item.status === 'number' ? item.status < 400 && item.status > 0 : null),
  });
  return (list ?? []).map(read).sort((a, b) => Date.parse(b.at) - Date.parse(a.at));
}

/** Returns how often a delivery was tried; none if the server does not say. */
export function attemptCount(one: Json): Json {
  if (Array.isArray(one?.attempts)) return one.attemptCount ?? one.attempts.length;
  return one?.attemptCount ?? one?.attempts ?? null;
}

/** Returns the pauses between attempts in milliseconds, for the timeline; the newest first. */
export function pauses(list: Attempt[]): number[] {
  return list.slice(0, -1).map((one, at) => Math.max(0, Date.parse(one.at) - Date.parse(list[at + 1].at) - pixel(list[at + 1].ms ?? 0)));
}
