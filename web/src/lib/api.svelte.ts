// The API: JSON with every digit, problems as values that a page can show.
import type { BrowserSession, Scope } from './api-types';
import { parse, write, type Json } from './json';
import { setServerTime } from './time';

export class Problem extends Error {
  status: number;
  title: string;
  detail: string;
  code: string;
  remedy: string;
  requestId: string;
  retryAfter: number;
  body: Json;
  constructor(status: number, body: Json, requestId: string, retryAfter: number) {
    super(body?.detail ?? body?.title ?? `status ${status}`);
    this.status = status;
    this.title = body?.title ?? (status ? `The server answered ${status}` : 'The server cannot be reached');
    this.detail = body?.detail ?? '';
    this.code = body?.code ?? '';
    this.remedy = body?.remedy ?? '';
    this.requestId = requestId;
    this.retryAfter = retryAfter;
    this.body = body;
  }
}

class Me {
  session = $state<BrowserSession | null>(null);
  /** Signed out in the middle of something: the page stays, the sign-in is over it. */
  expired = $state(false);

  can(scope: string): boolean {
    return !!this.session?.scopes.includes(scope as Scope);
  }
}

export const me = new Me();

interface Options {
  method?: string;
  body?: Json;
  text?: string;
  kind?: string;
  headers?: Record<string, string>;
  key?: string;
  /** Kept in the audit. */
  reason?: string;
  signal?: AbortSignal;
}

export interface Answer<T = Json> {
  data: T;
  raw: string;
  headers: Headers;
  status: number;
}

/** Asks the server. Returns the parsed answer and its text. */
export async function ask<T = Json>(path: string, options: Options = {}): Promise<Answer<T>> {
  const method = options.method ?? 'GET';
  const headers: Record<string, string> = { accept: 'application/json', ...options.headers };
  if (method !== 'GET' && me.session?.csrf) headers['x-flowmeter-csrf'] = me.session.csrf;
  if (options.key) headers['idempotency-key'] = options.key;
  if (options.reason?.trim()) headers['x-flowmeter-reason'] = encodeURIComponent(options.reason.trim());
  let body = options.text;
  if (options.body !== undefined) body = write(options.body);
  if (body !== undefined) headers['content-type'] = options.kind ?? 'application/json';
  let answer: Response;
  try {
    answer = await fetch(path, { method, headers, body, signal: options.signal, credentials: 'same-origin' });
  } catch (why) {
    if ((why as Error).name === 'AbortError') throw why;
    throw new Problem(0, { detail: 'The connection failed. The server may be restarting.' }, '', 0);
  }
  const raw = await answer.text();
  const isJson = (answer.headers.get('content-type') ?? '').includes('json');
  let data: Json = null;
  if (raw && isJson) data = parse(raw);
  if (!answer.ok) {
    if (answer.status === 401 && me.session?.signedIn) me.expired = true;
    const retry = parseInt(answer.headers.get('retry-after') ?? '0', 10);
    throw new Problem(answer.status, data, answer.headers.get('x-request-id') ?? '', retry || 0);
  }
  return { data, raw, headers: answer.headers, status: answer.status };
}

export async function get<T = Json>(path: string, signal?: AbortSignal): Promise<T> {
  return (await ask<T>(path, { signal })).data;
}

export async function send<T = Json>(method: string, path: string, body?: Json, key?: string, reason?: string): Promise<T> {
  return (await ask<T>(path, { method, body, key, reason })).data;
}

/** Looks who is signed in. */
export async function whoAmI(): Promise<void> {
  const session = await get<BrowserSession>('/ui/session');
  setServerTime(session.at);
  me.session = session;
  me.expired = false;
}

/** Whether the server has answered an act for good: another try is another act, with a key of its own. */
export function isSettled(why: Problem): boolean {
  return why.status >= 400 && why.status < 500 && ![408, 429].includes(why.status) && why.code !== 'in_progress';
}

/** A key for an act: the same for a double click and for a retry. */
export function actKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** A path with a query; empty values are left out. */
export function url(path: string, query: Record<string, string | number | null | undefined | string[]>): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (Array.isArray(value)) value.forEach((one) => search.append(name, one));
    else if (value !== null && value !== undefined && value !== '') search.set(name, String(value));
  }
  const text = search.toString();
  return text ? `${path}?${text}` : path;
}

export const enc = encodeURIComponent;
