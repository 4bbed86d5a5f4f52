// Which component shows an address. Pages are loaded at the first visit.
import type { Component } from 'svelte';
import { entries } from './nav';
import Overview from '../pages/Overview.svelte';
import Missing from '../pages/Missing.svelte';

type Page = Component<Record<string, never>>;
export interface Shown {
  page: Page | null;
  load: (() => Promise<{ default: Page }>) | null;
  crumbs: [string, string][];
}

const L = {
  events: () => import('../pages/Events.svelte'),
  trace: () => import('../pages/Trace.svelte'),
  sessions: () => import('../pages/Sessions.svelte'),
  session: () => import('../pages/OneSession.svelte'),
  pipelines: () => import('../pages/Pipelines.svelte'),
  pipeline: () => import('../pages/OnePipeline.svelte'),
  types: () => import('../pages/MeterTypes.svelte'),
  type: () => import('../pages/OneType.svelte'),
  meters: () => import('../pages/Meters.svelte'),
  meter: () => import('../pages/OneMeter.svelte'),
  records: () => import('../pages/Records.svelte'),
  record: () => import('../pages/OneRecord.svelte'),
  corrections: () => import('../pages/Corrections.svelte'),
  group: () => import('../pages/Group.svelte'),
  correction: () => import('../pages/OneCorrection.svelte'),
  deliveries: () => import('../pages/Deliveries.svelte'),
  target: () => import('../pages/OneTarget.svelte'),
  delivery: () => import('../pages/OneDelivery.svelte'),
  reconcile: () => import('../pages/Reconcile.svelte'),
  notifications: () => import('../pages/Notifications.svelte'),
  notice: () => import('../pages/OneNotice.svelte'),
  keys: () => import('../pages/Keys.svelte'),
  audit: () => import('../pages/Audit.svelte'),
  settings: () => import('../pages/Settings.svelte'),
  system: () => import('../pages/System.svelte'),
  start: () => import('../pages/Start.svelte'),
};
type Name = keyof typeof L;
const LISTS: Record<string, [Name, Name | null]> = {
  events: ['events', 'trace'], sessions: ['sessions', 'session'], pipelines: ['pipelines', 'pipeline'], 'meter-types': ['types', 'type'],
  meters: ['meters', 'meter'], records: ['records', 'record'], corrections: ['corrections', 'correction'], deliveries: ['deliveries', 'delivery'],
  notifications: ['notifications', null], keys: ['keys', null], audit: ['audit', null], settings: ['settings', null], system: ['system', null], start: ['start', null],
};

const shown = (name: Name, crumbs: [string, string][]): Shown => ({ page: null, load: L[name] as Shown['load'], crumbs });

/** Finds the page of an address and the way to it. */
export function pageOf(parts: string[]): Shown {
  const [a, b, c, d] = parts;
  if (!a) return { page: Overview as Page, load: null, crumbs: [['Overview', '/']] };
  const text = entries.find((one) => one.name === a)?.text ?? (a === 'start' ? 'Send a first event' : a);
  const root: [string, string] = [text, `/${a}`];
  if (a === 'corrections' && b === 'group' && c) return shown('group', [root, ['Group', '']]);
  if (a === 'deliveries' && b === 'target' && c && d) return shown('target', [root, [d, '']]);
  if (a === 'deliveries' && b === 'reconcile') return shown('reconcile', [root, ['Reconcile', '']]);
  if (a === 'notifications' && b === 'history' && c) return shown('notice', [root, ['Delivery', '']]);
  const known = Object.hasOwn(LISTS, a) ? LISTS[a] : null;
  if (!known) return { page: Missing as Page, load: null, crumbs: [['Not found', '']] };
  if (b && known[1]) return shown(known[1], [root, [b, '']]);
  return shown(known[0], b ? [root, [b, '']] : [root]);
}
