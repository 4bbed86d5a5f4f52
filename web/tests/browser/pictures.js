// Compares every page with its kept picture: light, dark and on a phone. With a test clock and the
// same events a server makes the same pages; the parts that differ at each run are covered.
//
//   FLOWMETER_PICTURES=new node tests/browser/run.js pictures      makes the pictures again
//
// A picture has half the size of the window and 16 levels a colour, as WebP without loss.
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { check, open, skip, until } from './helper.js';
import { documents, seed } from './seed.js';
import { serve } from './server.js';

const FOLDER = new URL('./pictures/', import.meta.url).pathname;
const MAKER = join(FOLDER, 'chromium.txt');
const CLOCK = '2026-11-28T17:08:11Z';
const NOW = '2026-11-28T17:09:41Z';
/** The share of pixels that may differ. */
const DIFFERENT_MAX = 0.001;
/** Parts that are not the same twice: instants, and the ports and folders of this run. */
const MOVING = ['time', '.period', '.version', 'td.changed', '.cm-line:has-text("path:")', '.cm-line:has-text("url:")', 'pre.whole', 'pre.snippet'];
/** Such parts of single pages. */
const OF_PAGE = { session: ['.head > span:has(time)', '.strip'], meter: ['.head > span:has(.period)'], system: ['.figures b', '.gauge', '.gauge + p', 'dd', 'td.r'], start: ['main textarea', 'pre', 'code', '.row:has(code)'] };

/** Pages with instants of the machine's clock, whose texts are of another width on another day. */
const OF_TODAY = ['audit'];
/** The width that these get, and that of every period. */
const WIDTH = '72px';
const WIDTH_OF_PERIOD = '240px';

/** The sample pipelines with targets that take everything at once. */
const onlyFiles = (folder) => Object.fromEntries(Object.entries(documents('', folder)).map(([name, text]) => [name, text.replace(/ *- \{ name: biller.*\n/, '')]));

/** Names and addresses of the pages. */
async function addresses(api) {
  const first = async (path) => (await api(path)).items[0];
  const e = encodeURIComponent;
  const meter = (await first('meters?limit=1&userId=anna%40shop')).id;
  const record = (await first('records?limit=1')).meterMetaData.recordId;
  const [correction, group] = [(await first('corrections?limit=1&state=open')).id, (await api('corrections/groups')).items.map((one) => one.groupId).sort()[0]];
  const delivery = (await first('deliveries?limit=1')).id;
  const session = (await api('sessions')).items.find((one) => one.pipeline === 'llm-usage').sessionId;
  return {
    overview: '/', events: '/events', search: '/events?order=list&range=30d', trace: '/events/exact-0', sessions: '/sessions', session: `/sessions/${session}`,
    pipelines: '/pipelines', live: '/pipelines/llm-usage/live?node=usage', document: '/pipelines/llm-usage/document', versions: '/pipelines/llm-usage/versions', test: '/pipelines/llm-usage/test', targets: '/pipelines/llm-usage/targets',
    types: '/meter-types', usage: '/meter-types/LLM%20tokens/usage?groupBy=data.model', definition: '/meter-types/LLM%20tokens/definition', periods: '/meter-types/LLM%20tokens/periods',
    meters: '/meters', meter: `/meters/${meter}/period`, history: `/meters/${meter}/history`, records: '/records', record: `/records/${record}/record`, explain: `/records/${record}/explain`,
    corrections: '/corrections', parked: '/corrections?state=all', group: `/corrections/group/${group}`, correction: `/corrections/${e(correction)}`,
    deliveries: '/deliveries', target: '/deliveries/target/llm-usage/archive', delivery: `/deliveries/${e(delivery)}`, reconcile: '/deliveries/reconcile',
    notifications: '/notifications', keys: '/keys', audit: '/audit', settings: '/settings', system: '/system', start: '/start', missing: '/nothing-here', none: '/meters?user=nobody-at-all',
  };
}

/** Makes a picture small, and compares it with the kept one. Runs in the browser. */
async function reduce({ png, kept }) {
  const load = async (data) => createImageBitmap(await (await fetch(data)).blob());
  const image = await load(`data:image/png;base64,${png}`);
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [Math.round(image.width / 2), Math.round(image.height / 2)];
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.imageSmoothingQuality = 'high';
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let at = 0; at < pixels.data.length; at++) if (at % 4 < 3) pixels.data[at] = Math.round(pixels.data[at] / 17) * 17;
  context.putImageData(pixels, 0, 0);
  const webp = canvas.toDataURL('image/webp', 1).split(',')[1];
  if (!kept) return { webp, share: 1 };
  const old = await load(`data:image/webp;base64,${kept}`);
  if (old.width !== canvas.width || old.height !== canvas.height) return { webp, share: 1 };
  context.drawImage(old, 0, 0);
  const before = context.getImageData(0, 0, canvas.width, canvas.height).data;
  let different = 0;
  // One level of difference is the rounding of an edge.
  for (let at = 0; at < before.length; at += 4) if ([0, 1, 2].some((color) => Math.abs(before[at + color] - pixels.data[at + color]) > 17)) different++;
  return { webp, share: different / (before.length / 4) };
}

/** The pages of one size; a desk is drawn in both themes. */
async function walk(world, base, all, size, take) {
  const one = await open(world.browser, { base, size });
  for (const [name, path] of Object.entries(all)) {
    await one.go(path);
    await one.settled(300);
    const parts = { '.period': WIDTH_OF_PERIOD, ...(OF_TODAY.includes(name) ? { time: WIDTH } : {}) };
    const fix = (all) => {
      for (const [what, width] of Object.entries(all)) for (const part of document.querySelectorAll(what)) Object.assign(part.style, { display: 'inline-block', width, overflow: 'hidden', whiteSpace: 'nowrap', verticalAlign: 'bottom' });
    };
    await one.page.evaluate(fix, parts);
    for (const theme of size === 'desk' ? ['light', 'dark'] : ['light']) {
      await one.page.evaluate((chosen) => {
        document.documentElement.dataset.theme = chosen;
        document.activeElement?.blur();
      }, theme);
      const shot = async () => (await one.page.screenshot({ animations: 'disabled', caret: 'hide', mask: [...MOVING, ...(OF_PAGE[name] ?? [])].map((what) => one.page.locator(what)), maskColor: '#888888' })).toString('base64');
      await take(`${name}-${size === 'desk' ? theme : size}`, await shot(), async () => {
        // Numbers of the stream may come a moment after the page.
        await one.page.waitForTimeout(1500);
        return shot();
      });
    }
  }
  await one.close();
}

export default async function pictures(world) {
  const isNew = process.env.FLOWMETER_PICTURES === 'new';
  const version = world.browser.version();
  const maker = existsSync(MAKER) ? readFileSync(MAKER, 'utf8').trim() : 'none';
  if (!isNew && maker !== version) {
    skip('every page beside its kept picture', `the pictures were made by Chromium ${maker}, and fonts differ in ${version}; FLOWMETER_PICTURES=new makes them again`);
    return;
  }
  const server = await serve('pictures', { clock: CLOCK, settings: ['tracing.level=warn'], documents: onlyFiles });
  const api = async (path) => (await fetch(`${server.base}/api/v1/${path}`)).json();
  await seed(server.base, {}, { now: Date.parse(CLOCK), apart: true });
  // The numbers of the last second have every event: what a page shows of rates depends on no race.
  await new Promise((ready) => setTimeout(ready, 2500));
  // Periods that have ended are closed when the clock moves.
  const moved = await fetch(`${server.base}/api/v1/clock`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ to: NOW }) });
  check('the clock is moved', moved.ok, String(moved.status));
  await until(async () => (await api('deliveries/targets')).items, (items) => items.length === 2 && items.every((one) => one.records > 0 && one.pending + one.sent + one.retrying === 0), 60);
  // Groups are there a moment after their events.
  await until(() => api('corrections/groups'), (all) => all.items.length === 2, 30);
  const desk = await world.browser.newPage();
  const names = new Set();
  if (isNew) {
    rmSync(FOLDER, { recursive: true, force: true });
    mkdirSync(FOLDER, { recursive: true });
  }
  await walkAll(world, server.base, await addresses(api), async (name, png, again) => {
    names.add(`${name}.webp`);
    const file = join(FOLDER, `${name}.webp`);
    const kept = !isNew && existsSync(file) ? readFileSync(file).toString('base64') : '';
    let { webp, share } = await desk.evaluate(reduce, { png, kept });
    if (isNew || share > DIFFERENT_MAX) ({ webp, share } = await desk.evaluate(reduce, { png: await again(), kept }));
    if (isNew) writeFileSync(file, Buffer.from(webp, 'base64'));
    else if (!check(`picture ${name}: as it was kept`, share <= DIFFERENT_MAX, kept ? `${(share * 100).toFixed(2)} % of the pixels differ; see ${join(tmpdir(), `${name}.webp`)}` : 'there is no kept picture')) writeFileSync(join(tmpdir(), `${name}.webp`), Buffer.from(webp, 'base64'));
  });
  if (isNew) writeFileSync(MAKER, `${version}\n`);
  const stale = readdirSync(FOLDER).filter((name) => name.endsWith('.webp') && !names.has(name));
  check('every kept picture is of a page', !stale.length, stale.join(' '));
  await desk.close();
  await server.stop();
}

async function walkAll(world, base, all, take) {
  await Promise.all([walk(world, base, all, 'desk', take), walk(world, base, all, 'phone', take)]);
}
