// The pages, in the order of the navigation. Words of the navigation are here alone.
export interface Entry {
  name: string;
  text: string;
  href: string;
  icon: string;
  key: string;
  scope: string;
}

const entry = (name: string, text: string, href: string, icon: string, key = '', scope = 'read'): Entry => ({ name, text, href, icon, key, scope });

export const groups: { title: string; entries: Entry[] }[] = [
  {
    title: 'Watch',
    entries: [entry('overview', 'Overview', '/', 'overview', 'o'), entry('events', 'Events', '/events', 'events', 'e'), entry('sessions', 'Sessions', '/sessions', 'sessions', 's')],
  },
  {
    title: 'Metering',
    entries: [
      entry('pipelines', 'Pipelines', '/pipelines', 'pipelines', 'p'),
      entry('meter-types', 'Meter types', '/meter-types', 'types', 't'),
      entry('meters', 'Meters', '/meters', 'meters', 'm'),
      entry('records', 'Records', '/records', 'records', 'r'),
    ],
  },
  {
    title: 'Act',
    entries: [
      entry('corrections', 'Corrections', '/corrections', 'corrections', 'c'),
      entry('deliveries', 'Deliveries', '/deliveries', 'deliveries', 'd'),
      entry('notifications', 'Notifications', '/notifications', 'notifications', 'n'),
    ],
  },
  {
    title: 'Manage',
    entries: [
      entry('keys', 'Keys', '/keys', 'keys', '', 'admin'),
      entry('audit', 'Audit', '/audit', 'audit', '', 'admin'),
      entry('settings', 'Settings', '/settings', 'settings'),
      entry('system', 'System', '/system', 'system', '', 'admin'),
    ],
  },
];

export const entries: Entry[] = groups.flatMap((group) => group.entries);
