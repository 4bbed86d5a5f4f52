// The budget of the dashboard, in bytes after gzip. A build that is over it fails.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

const KB = 1024;
const BOUNDS = { first: 80 * KB, css: 10 * KB, font: 50 * KB, editor: 150 * KB, all: 350 * KB };

/** Returns the files of the first page: the module of index.html and its static imports. */
function first(build, files) {
  const wanted = new Set();
  const take = (name) => {
    if (wanted.has(name) || !files.has(name)) return;
    wanted.add(name);
    const text = readFileSync(join(build, 'assets', name), 'utf8');
    // Only static imports load at once; pages are imported when they are opened.
    for (const [, found] of text.matchAll(/(?:^|[;}])import(?:[^"'()]*from)?["']\.\/([^"']+)["']/g)) take(found);
  };
  const html = readFileSync(join(build, 'index.html'), 'utf8');
  for (const [, name] of html.matchAll(/(?:src|href)="\/assets\/([^"]+)"/g)) take(name);
  return [...wanted];
}

/** Returns a line for each part with its size.
 * @throws when a part is over its bound. */
export function measure(build) {
  const names = readdirSync(join(build, 'assets'));
  const size = (name) => {
    const bytes = readFileSync(join(build, 'assets', name));
    return name.endsWith('.woff2') ? bytes.length : gzipSync(bytes, { level: 9 }).length;
  };
  const sum = (list) => list.reduce((total, name) => total + size(name), 0);
  const begin = first(build, new Set(names));
  const found = {
    first: sum(begin.filter((name) => name.endsWith('.js'))),
    css: sum(begin.filter((name) => name.endsWith('.css'))),
    font: sum(names.filter((name) => name.endsWith('.woff2'))),
    editor: sum(names.filter((name) => /^Editor-.*\.js$/.test(name))),
    all: sum(names),
  };
  const over = Object.keys(BOUNDS).filter((name) => found[name] > BOUNDS[name]);
  const lines = Object.keys(BOUNDS).map((name) => `${name}: ${(found[name] / KB).toFixed(1)} of ${BOUNDS[name] / KB} KB${over.includes(name) ? ', over the budget' : ''}`);
  if (over.length) throw new Error(`the dashboard is over its budget\n${lines.join('\n')}`);
  return lines;
}
