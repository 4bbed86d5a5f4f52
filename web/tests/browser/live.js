// Live numbers: eight tabs of one browser over HTTP/1.1 are all live, and stay so when the first
// one closes, and after a restart of the server.
import { check, open, until, wait } from './helper.js';
import { flow, seed } from './seed.js';
import { serve } from './server.js';

const PATHS = ['/', '/pipelines', '/', '/deliveries', '/pipelines/default/live', '/', '/sessions', '/'];

export default async function live(world) {
  const server = await serve('live', { settings: ['tracing.level=error'] });
  await seed(server.base);
  const stop = flow(server.base, {}, 20);
  const first = await open(world.browser, { base: server.base });
  const tabs = [first];
  for (let at = 1; at < 8; at++) {
    const one = await open(world.browser, { base: server.base, context: first.context });
    tabs.push(one);
  }
  for (const [at, one] of tabs.entries()) await one.go(PATHS[at]);
  const number = (one) => one.page.evaluate(() => document.querySelector('.term.lead b')?.textContent ?? document.querySelector('main td.r [data-value]')?.textContent ?? document.querySelector('main .big')?.textContent ?? '');
  const overviews = tabs.filter((_, at) => PATHS[at] === '/');
  await until(async () => (await Promise.all(overviews.map(number))).every((text) => /\d/.test(text)), Boolean, 15);
  const before = await Promise.all(overviews.map(number));
  await until(async () => (await Promise.all(overviews.map(number))).every((text, at) => text !== before[at]), Boolean, 12);
  const after = await Promise.all(overviews.map(number));
  check('eight tabs are live', after.every((text, at) => text !== before[at]), `${before} to ${after}`);
  const holders = await first.page.evaluate(async () => (await navigator.locks.query()).held.filter((lock) => lock.name.startsWith('flowmeter-live')).length);
  check('one tab holds the stream', holders === 1, String(holders));
  // A tab asks something while all are live: no connection is missing.
  const quick = Date.now();
  const status = await tabs[7].page.evaluate(async () => (await fetch('/api/v1/pipelines')).status);
  check('requests find a connection', status === 200 && Date.now() - quick < 5_000, `${status} after ${Date.now() - quick} ms`);

  // The tab with the stream closes; another takes over.
  await tabs[0].page.close();
  const rest = overviews.slice(1);
  const then = await Promise.all(rest.map(number));
  await until(async () => (await Promise.all(rest.map(number))).every((text, at) => text !== then[at]), Boolean, 12);
  const later = await Promise.all(rest.map(number));
  check('another tab takes the stream over', later.every((text, at) => text !== then[at]), `${then} to ${later}`);

  // Pause in one tab freezes that tab alone.
  await rest[0].page.keyboard.press('p');
  await wait(200);
  const frozen = await number(rest[0]);
  await wait(2_500);
  check('a paused tab is frozen', (await number(rest[0])) === frozen);
  check('the other tabs continue', (await number(rest[1])) !== later[1]);
  for (const one of tabs.slice(2, 7)) await one.page.close();

  // A restart of the server: a quiet bar, then live again.
  stop();
  const last = tabs[7];
  const port = new URL(server.base).port;
  await server.stop();
  await last.page.waitForSelector('text=reconnecting', { timeout: 15_000 });
  check('a broken stream is said quietly, with the time', /Live until .*reconnecting/.test(await last.main()));
  const again = await serve('live', { settings: ['tracing.level=error'], fresh: server.folder, listen: `127.0.0.1:${port}` });
  const more = flow(again.base, {}, 20);
  await last.page.waitForFunction(() => !document.body.textContent.includes('reconnecting'), null, { timeout: 20_000 });
  check('after a restart the page is live again', true);
  more();

  // Events as they come: rows arrive, and a list that is read does not move.
  const reader = await open(world.browser, { base: again.base });
  const third = flow(again.base, {}, 20);
  await reader.go('/events');
  await reader.page.waitForSelector('.tail tr[tabindex]');
  await reader.page.hover('.tail tbody tr >> nth=3');
  await wait(300);
  const top = await reader.page.locator('.tail tbody tr').first().innerText();
  await reader.page.waitForSelector('text=/\\d+ new/', { timeout: 8_000 });
  check('a list that is read does not move; new rows gather', (await reader.page.locator('.tail tbody tr').first().innerText()) === top);
  await reader.page.mouse.move(10, 10);
  await until(() => reader.page.locator('.tail tbody tr').first().innerText(), (text) => text !== top, 8);
  check('they come in afterwards', (await reader.page.locator('.tail tbody tr').first().innerText()) !== top);
  // A refusal of the server is shown, and not an empty list.
  await reader.page.route('**/api/v1/events?*', (route) => route.fulfill({ status: 403, contentType: 'application/problem+json', body: '{"title":"Not allowed","detail":"the key has no scope read","code":"scope_missing"}' }));
  await reader.go('/events');
  await reader.page.waitForSelector('main [role=alert]');
  check('a refusal of events is shown with a way to try again', /the key has no scope read[^]*Retry/.test(await reader.main()), (await reader.main()).slice(0, 300));
  await reader.page.unroute('**/api/v1/events?*');
  await reader.page.click('main [role=alert] button:has-text("Retry")');
  await reader.page.waitForSelector('.tail tr[tabindex]');
  check('events come after another try', true);
  third();
  await reader.close();
  await first.context.close();
  await again.stop();
}
