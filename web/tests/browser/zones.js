// Times in zones whose clocks change: chart, table, tooltip and picker agree with the server.
import { check, open } from './helper.js';
import { documents, event, post } from './seed.js';
import { serve } from './server.js';

/** Days on which the clock changes, and the hours that they have. */
const NIGHTS = [['Europe/Oslo', '2026-03-29', 23], ['Europe/Oslo', '2025-10-26', 25]];

/** A day on which the clock changes, on a server whose clock is at its noon. */
async function night(world, [zone, day, hours]) {
  const server = await serve(`night-${day}`, { clock: `${day}T13:00:00Z`, documents: (folder) => ({ 'llm-usage': documents('http://127.0.0.1:1/', folder)['llm-usage'].split('targets:')[0] }) });
  const noon = Date.parse(`${day}T11:00:00Z`);
  // Local 02:30 comes twice in autumn and never in spring; events come in each hour around it.
  const events = Array.from({ length: 14 }, (_, hour) => event({ id: `night-${hour}`, subject: 'owl', at: noon - hour * 3_600_000, tokens: '7' }));
  await post(server.base, events);
  const one = await open(world.browser, { base: server.base, zone: 'America/Sao_Paulo' });
  const span = `from=${new Date(noon - 36 * 3_600_000).toISOString()}&to=${new Date(noon + 2 * 3_600_000).toISOString()}`;
  await one.go(`/meter-types/LLM%20tokens/usage?range=7d&window=DAY&user=owl&zone=Asia/Kolkata`);
  const table = await one.page.locator('table[aria-label="Windows"]').innerText().catch(() => '');
  check(`${zone} ${day}: a day of ${hours} hours says so`, table.includes(`a day of ${hours} hours`), table || (await one.main()).slice(0, 300));
  await one.go(`/meter-types/LLM%20tokens/usage?${span}&window=HOUR&user=owl&zone=Asia/Kolkata`);
  const rows = await one.page.locator('table[aria-label="Windows"] tbody tr').allInnerTexts();
  const answer = await (await fetch(`${server.base}/api/v1/meter-types/LLM%20tokens/query?${span}&windowSize=HOUR&windowTimeZone=${zone}&subject=owl`)).json();
  check(`${zone} ${day}: the table has the windows of the server`, rows.length === answer.data.length && rows.length > 0, `${rows.length} rows, ${answer.data.length} windows`);
  check(`${zone} ${day}: rows have the offset of their own hour`, rows.some((row) => row.includes('+01:00')) && rows.some((row) => row.includes('+02:00')), rows.join(' | '));
  await one.page.click('text=Values as a table');
  const values = await one.page.locator('table[aria-label="Values of the chart"] tbody tr').count();
  check(`${zone} ${day}: the chart has the same windows`, values === rows.length, `${values} and ${rows.length}`);
  await one.close();
  await server.stop();
}

export default async function zones(world) {
  await Promise.all(NIGHTS.map((one) => night(world, one)));
  // The zone of the browser, of the page and of the meter type are three.
  const one = await open(world.browser, { base: world.base, zone: 'America/Sao_Paulo' });
  const { page, main, go } = one;
  await go('/?zone=Asia/Kolkata');
  check('the zone of the page is shown', (await page.innerText('header')).includes('Asia/Kolkata') && (await page.innerText('header')).includes('UTC+5:30'), await page.innerText('header'));
  const stamp = await page.evaluate(() => document.querySelector('main time')?.getAttribute('title') ?? '');
  check('a tooltip has the zone of the page and UTC', /Asia\/Kolkata/.test(stamp) && /UTC/.test(stamp), stamp);
  const ticks = await page.locator('svg .tick').allTextContents();
  const now = new Intl.DateTimeFormat('en-GB', { timeZone: 'Asia/Kolkata', hour: '2-digit', hourCycle: 'h23' });
  const hoursNow = [0, 1, 2].map((back) => now.format(Date.now() - back * 3_600_000).slice(0, 2));
  check('the axis of the chart is in the zone of the page', ticks.some((text) => text.includes(':')) && ticks.filter((text) => text.includes(':')).every((text) => hoursNow.includes(text.slice(0, 2))), ticks.join(' '));
  // Periods are in the zone of the meter type, named where it is another.
  await go('/meters?type=Mobile%20data&zone=UTC');
  check('periods are in the zone of their meter type', (await main()).includes('Asia/Kolkata'), (await main()).slice(0, 300));
  await go('/meter-types/Energy%2C%20kWh/periods?zone=UTC');
  check('America/Sao_Paulo: boundaries have its offset', (await main()).includes('-03:00'), (await main()).slice(0, 300));
  await go('/meter-types/LLM%20tokens/periods?zone=UTC');
  const next = await page.locator('table[aria-label="Boundaries"]').innerText();
  check('Europe/Oslo: boundaries change their offset and say so', next.includes('+02:00') && next.includes('+01:00') && next.includes('the clock changes'), next);
  const closing = (await world.api('closings')).items.find((item) => item.meterType === 'LLM tokens');
  const first = await page.locator('table[aria-label="Boundaries"] time').first().getAttribute('datetime');
  check('the first boundary is that of the server', Date.parse(first) === Date.parse(closing.periodEnd), `${first} and ${closing.periodEnd}`);
  // The picker reads the clock of the page.
  await go('/events?order=list&zone=Asia/Kolkata');
  await page.click('header .menu button:has(.range)');
  await page.fill('.exact input >> nth=0', '5 Jan 2026 00:00');
  await page.fill('.exact input >> nth=1', '2026-01-06');
  await page.click('text=Use this range');
  check('a picked range is in the zone of the page', decodeURIComponent(page.url()).includes('2026-01-04T18:30:00.000Z..2026-01-05T18:30:00.000Z'), page.url());
  await one.close();
  await reader(world);
}

/** The reader's clock and week: on pages and in the calendar, not in copies and addresses. */
async function reader(world) {
  const one = await open(world.browser, { base: world.base, zone: 'Europe/Oslo' });
  const { page, main, go } = one;
  await go('/settings');
  await page.selectOption('label:has-text("Clock") select', '12');
  await page.selectOption('label:has-text("Weeks begin on") select', 'sunday');
  await go('/');
  const ticks = await page.locator('svg .tick').allTextContents();
  check('the axis of a chart has the 12 hour clock', ticks.some((text) => /^\d{1,2}:\d\d\s[AP]M$/.test(text)), ticks.join(' '));
  await go('/audit');
  check('times have the 12 hour clock', /\d:\d\d:\d\d\s[AP]M/.test(await main()), (await main()).slice(0, 300));
  await go('/events?order=list');
  await page.click('header .menu button:has(.range)');
  await page.fill('.exact input >> nth=0', '5 Jan 2026 6:30 pm');
  await page.click('.exact button[aria-label="To: calendar"]');
  check('the weeks of a calendar begin as chosen', (await page.locator('.exact .days').innerText()).trim().startsWith('Su'));
  await page.keyboard.press('Escape');
  await page.fill('.exact input >> nth=1', '6 Jan 2026 12:00 am');
  await page.click('text=Use this range');
  check('a time with AM or PM is read', decodeURIComponent(page.url()).includes('2026-01-05T17:30:00.000Z..2026-01-05T23:00:00.000Z'), page.url());
  await go('/meter-types/LLM%20tokens/usage');
  await page.selectOption('select[aria-label="Time"]', 'week-sunday');
  check('the address names the first day of the week', page.url().includes('range=week-sunday'), page.url());
  await one.close();
}
