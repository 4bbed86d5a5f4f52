// What this browser prefers. Nothing secret is kept here.

type Theme = 'auto' | 'light' | 'dark';

function stored(name: string, otherwise: string): string {
  try {
    return localStorage.getItem(name) ?? otherwise;
  } catch {
    return otherwise;
  }
}

class Prefs {
  theme = $state<Theme>(stored('theme', 'auto') as Theme);
  grouping = $state(stored('grouping', 'comma'));
  density = $state(stored('density', 'normal'));
  keys = $state(stored('keys', 'on'));
  /** `24` or `12` hours. */
  clock = $state(stored('clock', '24'));
  /** The first day of a week: `monday`, `sunday` or `saturday`. */
  week = $state(stored('week', 'monday'));
  zone = $state(stored('zone', Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC'));
  range = $state('1h');

  set(name: 'theme' | 'grouping' | 'density' | 'zone' | 'keys' | 'clock' | 'week', value: string): void {
    (this as Record<string, unknown>)[name] = value;
    try {
      localStorage.setItem(name, value);
    } catch {
      // A browser that keeps nothing still shows everything.
    }
    this.apply();
  }

  apply(): void {
    const dark = this.theme === 'dark' || (this.theme === 'auto' && matchMedia('(prefers-color-scheme: dark)').matches);
    document.documentElement.dataset.theme = dark ? 'dark' : 'light';
    document.documentElement.dataset.density = this.density;
  }
}

export const prefs = new Prefs();
