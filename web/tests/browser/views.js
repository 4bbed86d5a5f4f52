// What a reader relies on while looking around: Back undoes a filter and asks before text is lost, a
// pause freezes the page, the timeline of a session ends with the newest status, problems can be fixed
// at their line.
import { check, open, until, wait } from './helper.js';
import { documents, event, post } from './seed.js';
import { biller, serve } from './server.js';

export default async function views(world) {
  const target = await biller();
  const server = await serve('views', { settings: ['tracing.level=warn'], documents: (folder) => documents(target.address, folder) });
  const { base } = server;
  const api = async (path) => (await fetch(`${base}/api/v1/${path}`)).json();
  await post(base, [...Array.from({ length: 6 }, (_, at) => event({ id: `e-${at}`, subject: `user-${at % 2}` })), event({ id: 'lost', subject: '' })]);
  const one = await open(world.browser, { base });
  const { page, main, go } = one;
  const address = () => page.evaluate(() => location.pathname + location.search);

  // Filters: what was entered can be undone, letter by letter it cannot.
  await go('/meters');
  const filter = page.locator('input[placeholder="User begins with"]');
  for (const text of ['user-0', 'user-1']) {
    await filter.fill(text);
    await page.keyboard.press('Enter');
    await page.waitForFunction((wanted) => location.search === `?prefix=${wanted}`, text, { timeout: 5_000 });
  }
  await page.goBack();
  check('Back undoes the last filter', (await address()) === '/meters?prefix=user-0', await address());
  await page.goBack();
  check('and the one before', (await address()) === '/meters', await address());

  // Text that would be lost: Back asks first, and stays.
  await until(() => api('corrections?limit=1'), (found) => found.items.length, 30);
  await go('/corrections?event=lost&state=all');
  await page.locator('tr[data-row] a').first().click();
  await page.waitForFunction(() => /^\/corrections\/./.test(location.pathname), null, { timeout: 10_000 });
  const editor = page.locator('.cm-content').first();
  await editor.click();
  await page.keyboard.press('Control+End');
  await page.keyboard.type(' ');
  const asked = [];
  page.on('dialog', (dialog) => { asked.push(dialog.message()); dialog.dismiss(); });
  await page.goBack().catch(() => undefined);
  await wait(500);
  check('Back asks before text is lost', asked.length === 1 && /lost/.test(asked[0]), asked.join(' | '));
  check('and the page stays', (await address()).startsWith('/corrections/'), await address());
  await page.keyboard.press('Control+z');

  // A pause freezes the number of a meter.
  const meter = (await api('meters?userId=user-0&limit=1')).items[0];
  await go(`/meters/${meter.id}/period`);
  const value = () => page.locator('.value b').first().innerText();
  const before = await value();
  await page.click('button:has-text("Live")');
  await post(base, [event({ id: 'later', subject: 'user-0' })]);
  await until(() => api(`meters/${meter.id}`), (now) => String(now.meterMetaData.eventCount) !== String(meter.meterMetaData.eventCount), 30);
  await wait(6_000);
  check('a paused page does not move', (await value()) === before, `${before}, then ${await value()}`);
  await page.click('button:has-text("Paused")');
  const moved = await until(value, (now) => now !== before, 15).catch(() => before);
  check('it moves again', moved !== before, moved);

  // A period has both dates.
  check('a period has both dates', /period \d+ \w+ (\d+ )?\d\d:\d\d – (\d+ \w+ \d{4} )?\d\d:\d\d/.test(await main()), (await main()).slice(0, 200));

  // The timeline of a session that was paused very often: the newest status is there, narrow bars are merged.
  const session = (await api('sessions?pipeline=llm-usage&type=NORMAL&limit=1')).items[0].sessionId;
  for (let at = 0; at < 130; at++) await fetch(`${base}/api/v1/sessions/${session}/${at % 2 ? 'resume' : 'pause'}`, { method: 'POST' });
  await fetch(`${base}/api/v1/sessions/${session}/pause`, { method: 'POST' });
  await go(`/sessions/${session}`);
  await page.waitForSelector('.strip [role="listitem"]');
  const bars = page.locator('.strip [role="listitem"]');
  const last = await bars.last().getAttribute('title');
  check('the timeline ends with the newest status', last.startsWith('PAUSED'), last);
  const narrow = await bars.evaluateAll((all) => all.filter((bar) => bar.getBoundingClientRect().width < 4).length);
  const merged = await bars.count();
  check('bars are wide enough to be seen', narrow === 0 && merged < 133, `${merged} bars, ${narrow} too narrow`);
  await page.click('button[aria-label="Zoom in"]');
  await page.click('button[aria-label="Zoom in"]');
  check('a zoom parts them', (await bars.count()) > merged, `${merged}, then ${await bars.count()}`);
  check('the newest events come first', (await page.locator('table tbody tr .chip, table tbody tr').last().isVisible()) && /Paused/.test(await page.locator('section:has-text("Events of the session") tbody tr').first().innerText()));
  await page.click('a:has-text("Configuration then")');
  await page.waitForSelector('pre >> text=llm-usage');
  check('the configuration of that time is there', (await address()).includes('tab=configuration'));

  // A misspelt field is fixed at its line.
  await go('/pipelines/llm-usage/document');
  await page.locator('.cm-content').first().click();
  await page.keyboard.press('Control+End');
  await page.keyboard.type('\nmeterTyps: []');
  await page.click('button:has-text("Fix")', { timeout: 10_000 });
  await wait(600);
  const text = await page.locator('.cm-content').first().innerText();
  check('a problem is fixed by its advice', !text.includes('meterTyps'), text.slice(-200));
  // A letter over the whole text: the editor writes it without breaking the content policy.
  await page.locator('.cm-content').first().click();
  await page.keyboard.press('Control+a');
  await page.keyboard.type('x');
  await wait(600);
  check('a letter replaces the whole text', (await page.locator('.cm-content').first().innerText()).trim() === 'x');
  check('no error on the way', !one.troubles.filter((trouble) => !/422/.test(trouble)).length, one.troubles.slice(0, 3).join(' | '));
  await one.close();
  await server.stop();
  target.close();
}
