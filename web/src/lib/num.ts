// Numbers for people. Digits are text: grouped, never rounded.
import { Dec, type Num } from './json';
import { prefs } from './prefs.svelte';

const MARKS: Record<string, [string, string]> = { comma: [',', '.'], space: ['\u202f', ','], none: ['', '.'] };

/** The number as it was sent. */
export function plain(value: Num | string | null | undefined): string {
  return value === null || value === undefined ? '' : String(value);
}

/** Every digit, in groups of three, with a true minus. */
export function full(value: Num | string | null | undefined): string {
  if (value === null || value === undefined) return '–';
  const text = String(value);
  const parts = /^(-?)(\d+)(?:\.(\d+))?((?:[eE][+-]?\d+)?)$/.exec(text);
  if (!parts) return text;
  const [group, point] = MARKS[prefs.grouping] ?? MARKS.comma;
  const whole = parts[2].replace(/\B(?=(\d{3})+$)/g, group);
  return (parts[1] ? '−' : '') + whole + (parts[3] === undefined ? '' : point + parts[3]) + parts[4];
}

/** A short form where space forces it: cut, never rounded up. */
export function short(value: Num | string | null | undefined): string {
  if (value === null || value === undefined) return '–';
  const text = String(value);
  const parts = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text);
  if (!parts || parts[2].length <= 4) return full(text.length > 9 ? text.slice(0, 9) : text);
  const digits = parts[2];
  const power = Math.min(4, Math.floor((digits.length - 1) / 3));
  const lead = digits.slice(0, digits.length - power * 3);
  const rest = lead.length < 3 ? digits.slice(lead.length, lead.length + 1).replace(/0$/, '') : '';
  const point = (MARKS[prefs.grouping] ?? MARKS.comma)[1];
  return `${parts[1] ? '−' : ''}${lead}${rest ? point + rest : ''} ${['', 'k', 'M', 'G', 'T'][power]}`;
}

/** Adds decimals exactly. */
export function add(values: (Num | string | null)[]): string {
  let places = 0;
  const parts = values.map((value) => {
    const found = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(plain(value) || '0');
    if (!found) return { digits: 0n, scale: 0 };
    const exponent = parseInt(found[4] ?? '0', 10);
    const scale = (found[3]?.length ?? 0) - exponent;
    places = Math.max(places, scale);
    return { digits: BigInt(found[1] + found[2] + (found[3] ?? '')), scale };
  });
  const sum = parts.reduce((sum, part) => sum + part.digits * 10n ** BigInt(places - part.scale), 0n);
  const negative = sum < 0n;
  const digits = (negative ? -sum : sum).toString().padStart(places + 1, '0');
  const whole = places ? digits.slice(0, -places) : digits;
  const part = places ? digits.slice(-places).replace(/0+$/, '') : '';
  return `${negative ? '-' : ''}${whole}${part ? `.${part}` : ''}`;
}

/** A share in percent with two places, cut. Whole numbers only. */
export function percent(part: Num | string, whole: Num | string): string {
  const [a, b] = [BigInt(plain(part).split('.')[0] || '0'), BigInt(plain(whole).split('.')[0] || '0')];
  if (b === 0n) return '';
  const hundredths = ((a * 10000n) / b).toString().padStart(3, '0');
  const point = (MARKS[prefs.grouping] ?? MARKS.comma)[1];
  return `${hundredths.slice(0, -2)}${point}${hundredths.slice(-2)} %`;
}

/** For drawing only: pixels may round. */
export function pixel(value: Num | string | null | undefined): number {
  return value === null || value === undefined ? 0 : parseFloat(String(value));
}

/** Bytes in a unit that people read. */
export function bytes(value: Num | null | undefined): string {
  if (value === null || value === undefined) return '–';
  let number = pixel(value);
  for (const unit of ['B', 'KiB', 'MiB', 'GiB', 'TiB']) {
    if (number < 1024 || unit === 'TiB') return `${number < 10 && unit !== 'B' ? Math.floor(number * 10) / 10 : Math.floor(number)} ${unit}`;
    number /= 1024;
  }
  return '';
}

export function isZero(value: Num | null | undefined): boolean {
  return value === null || value === undefined || /^-?0*(\.0*)?$/.test(plain(value));
}

/** A cell of a CSV file. Text that a spreadsheet would run gets an apostrophe. */
export function csvCell(value: unknown): string {
  const text = value === null || value === undefined ? '' : String(value);
  const isNumber = value instanceof Dec || typeof value === 'number' || /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(text);
  const safe = /^[=+\-@\t\r]/.test(text) && !isNumber ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
