// Every page at every size and theme: accessible, no sideways scrolling, a clean console; by its
// address, after a reload and after Back.
import { check, inspect, open, SIZES } from './helper.js';
import { ODD } from './seed.js';

/** The addresses of all pages, with objects that are there. */
export async function addresses(api) {
  const [meter, record, delivery, group, correction, session, event, odd] = await Promise.all([
    api('meters?limit=1&userId=anna%40shop').then((all) => all.items[0]?.id),
    api('records?limit=1').then((all) => all.items[0]?.meterMetaData.recordId),
    api('deliveries?limit=1&order=desc').then((all) => all.items[0]?.id),
    api('corrections/groups').then((all) => all.items[0]?.groupId),
    api('corrections?limit=1&state=open').then((all) => all.items[0]?.id),
    api('sessions?limit=1').then((all) => all.items[0]?.sessionId),
    api('events?limit=1&order=desc&verdict=counted').then((all) => all.items[0]?.id),
    api(`meters?limit=1&userId=${encodeURIComponent(ODD)}`).then((all) => all.items[0]?.id),
  ]);
  const e = encodeURIComponent;
  const pipeline = ['live?node=usage', 'document', 'versions', 'test', 'sessions', 'targets'].map((tab) => `/pipelines/llm-usage/${tab}`);
  return ['/', '/events', '/events?order=list', `/events/${e(event)}`, '/sessions', `/sessions/${session}`, '/pipelines', ...pipeline, '/meter-types', '/meter-types/LLM%20tokens/usage?groupBy=data.model', '/meter-types/Energy%2C%20kWh/usage',
    '/meter-types/LLM%20tokens/definition', '/meter-types/LLM%20tokens/periods', '/meters', `/meters/${meter}/period`, `/meters/${meter}/history`, `/meters/${meter}/record`, `/meters/${odd}/period`, '/records', `/records/${record}/record`, `/records/${record}/explain`,
    `/records/${record}/deliveries`, `/records/${record}/history`, '/corrections', '/corrections?state=all', `/corrections/group/${group}`, `/corrections/${e(correction)}`, '/deliveries', '/deliveries/target/llm-usage/biller', `/deliveries/${e(delivery)}`, '/deliveries/reconcile', '/notifications', '/keys', '/audit',
    '/settings', '/system', '/start', '/nothing-here', '/events/no-such-event', '/meters/00000000-0000-0000-0000-000000000000/period', '/sessions?status=NO_SUCH', '/meters?user=nobody-at-all'];
}
/** An object or a value that is not there is answered with 404 or 400, which a browser notes. */
const ABSENT = /status of 40[04]/;

async function walk(world, all, size) {
  const one = await open(world.browser, { size, base: world.base });
  for (const path of all) {
    one.troubles.length = 0;
    await one.go(path);
    const heading = await one.page.innerText('h1');
    check(`${path} ${size}: has a heading`, heading.trim().length > 0);
    await inspect(one, `${path} light ${size}`, { expected: ABSENT });
    await one.page.evaluate(() => (document.documentElement.dataset.theme = 'dark'));
    await inspect(one, `${path} dark ${size}`, { rules: ['color-contrast', 'link-in-text-block'] });
    await one.page.evaluate(() => (document.documentElement.dataset.theme = 'light'));
    if (size !== 'desk') continue;
    for (const width of [900, 320]) {
      await one.page.setViewportSize({ width, height: 1100 });
      const wide = await one.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      check(`${path} ${width} px: no sideways scrolling`, wide <= 0, `${wide} px`);
    }
    await one.page.setViewportSize({ width: 1440, height: 1000 });
  }
  await one.close();
}

/** Colours that the browser chooses: what shows a state or a share is still drawn. */
async function forced(world) {
  const context = await world.browser.newContext({ viewport: SIZES.desk, forcedColors: 'active', timezoneId: 'Europe/Oslo' });
  const one = await open(world.browser, { base: world.base, context });
  for (const [path, what] of [['/', '.v-counted'], ['/', '.live i'], ['/', '.end .dot'], ['/system', '.gauge i']]) {
    await one.go(path);
    const colors = await one.page.locator(what).first().evaluate((node) => [getComputedStyle(node).backgroundColor, getComputedStyle(document.body).backgroundColor]);
    check(`${path} forced colours: ${what} is drawn`, colors[0] !== colors[1] && !/, 0\)$/.test(colors[0]), colors.join(' on '));
  }
  await one.go('/pipelines/llm-usage/versions');
  const lines = await one.page.locator('nav.tabs a').evaluateAll((tabs) => new Set(tabs.map((tab) => getComputedStyle(tab).borderBottomColor)).size);
  check('forced colours: the tab of the page differs from the others', lines === 2, String(lines));
  await one.close();
}

async function addressing(world, all) {
  const one = await open(world.browser, { base: world.base, theme: 'dark' });
  const { page } = one;
  check('the theme of the system is used before the first paint', (await (async () => { await one.go('/'); return page.evaluate(() => document.documentElement.dataset.theme); })()) === 'dark');
  // Reload and a clean profile show the same view.
  for (const path of ['/meters?prefix=anna', '/events?order=list&verdict=parked', '/audit?action=pipeline', '/meter-types/LLM%20tokens/usage?groupBy=data.model&window=DAY', '/records?type=Requests']) {
    await one.go(path);
    const before = (await page.locator('main table').first().innerText().catch(() => '')).split('\n')[0];
    check(`${path}: the query is shown`, page.url().endsWith(path), page.url());
    await page.reload();
    await one.settled();
    const after = (await page.locator('main table').first().innerText().catch(() => '')).split('\n')[0];
    check(`${path}: a reload shows the same view`, page.url().endsWith(path) && after === before, page.url());
  }
  // Back undoes the last navigation or choice; typing replaces.
  await one.go('/');
  await page.click('nav.side >> text=Meters');
  await one.settled();
  await page.fill('input[placeholder="User begins with"]', 'ber');
  await page.waitForFunction(() => location.search.includes('prefix=ber'));
  await page.goBack();
  await one.settled();
  check('Back after typing returns to the page before', new URL(page.url()).pathname === '/', page.url());
  await one.go('/deliveries');
  await page.selectOption('main select', 'accepted');
  await one.settled();
  await page.goBack();
  await one.settled();
  check('Back after a choice undoes the choice', page.url().endsWith('/deliveries'), page.url());
  // Names with / : % and beyond ASCII survive in addresses.
  const odd = all.find((path) => path.includes('/meters/') && path.endsWith('/period'));
  await one.go(`/meters?user=${encodeURIComponent(ODD)}`);
  check('a name with / : % and emoji is found by its address', (await one.main()).includes('🧾'), odd);
  check('markup in a name is shown as text', (await one.main()).includes('<script>'));
  await one.close();
}

export default async function pages(world) {
  const all = await addresses(world.api);
  check('every kind of object is there', !all.some((path) => /undefined/.test(path)), all.filter((path) => /undefined/.test(path)).join(' '));
  await Promise.all([walk(world, all, 'desk'), walk(world, all, 'phone').then(() => addressing(world, all)), forced(world)]);
}
