// Numbers of up to 38 digits, 2^53 + 1, 1E+2 and -0: as the API sends them on every page, in copies,
// in CSV files, and when an event is edited and sent back.
import { readFileSync } from 'node:fs';
import { check, open, skip, until } from './helper.js';
import { EXACT } from './seed.js';

/** How the server writes a value after it was counted: without exponent and without a sign of zero. */
const counted = (text) => ({ '1E+2': '100', '-0': '0' })[text] ?? text;
const grouped = (text) => {
  const [whole, part] = text.split('.');
  return whole.replace(/\B(?=(\d{3})+$)/g, ',') + (part ? `.${part}` : '');
};

export default async function exactness(world) {
  const one = await open(world.browser, { base: world.base });
  const { page, main, go, settled } = one;
  await one.context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: world.base }).catch(() => undefined);

  for (const [at, text] of EXACT.entries()) {
    await go(`/events/exact-${at}`);
    const body = await page.locator('pre[aria-label="event"]').last().innerText();
    check(`${text}: the body of a trace is as it was sent`, new RegExp(`"tokens":\\s*${text.replace(/[.+]/g, '\\$&')}\\b`).test(body), body.slice(0, 300));
    const table = await page.locator('table', { hasText: 'Meter type' }).first().innerText();
    check(`${text}: the trace counts it with every digit`, [grouped(counted(text)), text.replace('-', '−')].some((known) => table.includes(known)), table);
    await go(`/meters?user=digits-${at}`);
    const value = await page.locator('tr', { hasText: 'LLM tokens' }).locator('[data-value]').first();
    check(`${text}: the list of meters`, (await value.getAttribute('data-value')) === counted(text) && (await value.innerText()).startsWith(grouped(counted(text))), await value.innerText());
    const href = await page.locator('tr', { hasText: 'LLM tokens' }).locator('a').first().getAttribute('href');
    await go(href.replace('/period', '/record'));
    const raw = await (await fetch(`${world.base}/api/v1/meters/${href.split('/')[2]}`)).text();
    const shown = await page.locator('pre[aria-label="record"]').innerText();
    check(`${text}: the record is the API's bytes`, shown.replace(/\s/g, '') === raw.replace(/\s/g, ''), shown.slice(0, 200));
    await page.click('[aria-label="Copy record"]');
    const copied = await page.evaluate(() => navigator.clipboard.readText()).catch(() => null);
    if (copied === null) skip(`${text}: a copy has every digit`, 'the clipboard cannot be read');
    else check(`${text}: a copy has every digit`, copied === raw, copied.slice(0, 200));
    await go(`/meter-types/LLM%20tokens/usage?user=digits-${at}&range=7d`);
    check(`${text}: the usage table`, (await page.locator('table[aria-label="Windows"]').innerText()).includes(grouped(counted(text))), (await main()).slice(0, 300));
  }

  // The file has every digit of the table.
  await go('/meter-types/LLM%20tokens/usage?user=digits-0&range=7d');
  const [file] = await Promise.all([page.waitForEvent('download'), page.click('button:has-text("CSV")')]);
  const csv = readFileSync(await file.path(), 'utf8');
  check('a CSV file has every digit', csv.includes(EXACT[0]), csv.slice(0, 300));
  check('the name of a file has the namespace', file.suggestedFilename().startsWith('default-'), file.suggestedFilename());

  // Edit a parked event: what is not touched goes back digit by digit.
  const parked = await until(async () => (await (await fetch(`${world.base}/api/v1/corrections?state=open&order=desc&limit=200`)).json()).items.find((item) => item.event?.id === 'park-digits'), Boolean, 15);
  await go(`/corrections/${encodeURIComponent(parked.id)}`);
  await page.waitForSelector('.editor');
  const sent = page.waitForRequest((request) => request.url().includes('/correct') && request.method() === 'POST');
  await page.locator('.editor').click();
  await page.keyboard.press('Control+Home');
  const lines = await page.evaluate(() => [...document.querySelector('.editor').shadowRoot.querySelectorAll('.cm-line')].map((line) => line.textContent));
  const at = lines.findIndex((line) => line.includes('"subject"'));
  for (let line = 0; line < at; line++) await page.keyboard.press('ArrowDown');
  await page.keyboard.press('End');
  await page.keyboard.press('ArrowLeft');
  await page.keyboard.press('ArrowLeft');
  await page.keyboard.type('digits-edited');
  await page.waitForSelector('text=It would count.', { timeout: 10_000 });
  await page.click('button:has-text("Send corrected")');
  const body = (await sent).postData();
  for (const text of EXACT.slice(0, 4)) check(`${text}: is sent back as it came`, new RegExp(`:\\s*${text.replace(/[.+]/g, '\\$&')}[,\\s}]`).test(body), body.slice(0, 400));
  await settled();
  await go('/meters?user=digits-edited');
  check('the corrected event counts with every digit', (await main()).includes('1,842.00000000000000025'), (await main()).slice(0, 300));
  await one.close();
}
