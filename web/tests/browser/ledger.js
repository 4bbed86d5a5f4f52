// Numbers that must add up: periods with their revisions, usage by group with the rest, files equal
// to the API, counts of a flow, and the records of two versions.
import { readFileSync } from 'node:fs';
import { check, open, until } from './helper.js';
import { documents, EXACT, event, post } from './seed.js';
import { biller, serve } from './server.js';

const grouped = (text) => text.replace(/^\d+/, (whole) => whole.replace(/\B(?=(\d{3})+$)/g, ','));

export default async function ledger(world) {
  const target = await biller();
  target.refuse = false;
  const server = await serve('ledger', { settings: ['tracing.level=warn'], documents: (folder) => documents(target.address, folder) });
  const { base } = server;
  const api = async (path) => (await fetch(`${base}/api/v1/${path}`)).json();
  const hour = 3_600_000;
  const models = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
  const events = Array.from({ length: 40 }, (_, at) => event({ id: `p-${at}`, subject: 'anna@shop', model: models[at % 8], tokens: at % 8 ? String(10 * (at + 1)) : EXACT[0], at: Date.now() - (1 + (at % 5)) * hour }));
  await post(base, events);
  await until(() => api('records?limit=100&meterType=Requests'), (all) => all.items.length >= 4, 60);
  // An event of a period that is closed: its record gets a revision.
  await post(base, [event({ id: 'late-1', subject: 'anna@shop', at: Date.now() - 3 * hour })]);
  const meter = (await api('meters?userId=anna%40shop&meterType=Requests&limit=1')).items[0];
  const periods = (await until(() => api(`meters/${meter.id}/periods`), (all) => all.items.some((period) => period.revisions.length > 1), 60)).items;
  const one = await open(world.browser, { base });
  const { page, main, go } = one;

  await go(`/meters/${meter.id}/history`);
  const rows = await page.locator('table[aria-label="Periods"] tbody tr').evaluateAll((all) => all.map((row) => [row.cells[1].innerText.trim(), row.cells[2].querySelector('[data-value]').dataset.value, row.cells[0].innerText.includes('earlier')]));
  check('every period and every revision is a row', rows.length === periods.reduce((sum, period) => sum + (period.open ? 1 : period.revisions.length), 0), JSON.stringify(rows));
  const newest = rows.filter(([, , isEarlier]) => !isEarlier);
  const sum = newest.reduce((all, [, value]) => all + BigInt(value), 0n);
  const total = (await api('meter-types/Requests/query?subject=anna%40shop&total=true')).total.value;
  check('periods add up to the usage', sum === BigInt(total) && sum === 41n, `${sum} of ${total}`);
  const amended = periods.find((period) => period.revisions.length > 1);
  check('a late event makes a revision with its delta', rows.some(([revision]) => revision === 'r1') && amended.revisions[0].delta === 1, JSON.stringify(amended));

  const record = amended.revisions[0].recordId;
  await go(`/records/${record}/history`);
  const text = await page.locator('table[aria-label="Revisions"]').innerText();
  check('the history of a record has all revisions', ['r1', 'r0', record].every((part) => text.includes(part)), text);
  await go(`/records/${record}/explain`);
  await page.waitForSelector('text=The recount is equal to the record', { timeout: 20_000 }).catch(() => undefined);
  check('the revision is recounted', (await main()).includes('The recount is equal to the record'), (await main()).slice(0, 300));

  // Six groups and the rest, with the total of the server; the file has every group.
  await go('/meter-types/LLM%20tokens/usage?groupBy=data.model&range=7d&window=MONTH');
  const legend = (await page.locator('.legend span').allInnerTexts()).map((name) => name.trim());
  check('the chart has six groups and the rest', legend.length === 7 && legend[6] === 'other', legend.join(' '));
  const asked = await page.evaluate(() => performance.getEntriesByType('resource').map((one) => one.name).filter((name) => name.includes('/query?')).pop());
  const answer = await (await fetch(asked)).text();
  const whole = /"total":\{"value":([\d.]+)/.exec(answer)[1];
  check('the total has every digit of the server', (await main()).includes(grouped(whole)), whole);
  const values = await page.locator('table[aria-label="Windows"] [data-value]').evaluateAll((all) => all.map((cell) => cell.dataset.value));
  check('the table has the digits of the server', values.length >= 7 && values.every((value) => answer.includes(`"value":${value},`)), values.join(' '));
  const [file] = await Promise.all([page.waitForEvent('download'), page.click('button:has-text("CSV")')]);
  const csv = readFileSync(await file.path(), 'utf8');
  const same = await (await fetch(asked.replace(/&top=6|&total=true/g, ''), { headers: { accept: 'text/csv' } })).text();
  check('the file is byte for byte that of the API, with every group', csv === same && models.every((name) => csv.includes(`,${name},`)), csv.slice(0, 300));
  await page.selectOption('select[aria-label="Groups"]', 'all');
  await page.waitForFunction(() => document.querySelectorAll('table[aria-label="Windows"] tbody tr').length >= 8 && !document.querySelector('table[aria-label="Windows"]').innerText.includes('other, together'), null, { timeout: 15_000 }).catch(() => undefined);
  check('the table may have all groups', !(await page.locator('table[aria-label="Windows"]').innerText()).includes('other, together') && page.url().includes('top=all'));
  await page.fill('input[aria-label="User"]', 'ann');
  await page.waitForSelector('datalist#users option', { state: 'attached', timeout: 15_000 }).catch(() => undefined);
  check('users are suggested by prefix', (await page.locator('datalist#users option').first().getAttribute('value')) === 'anna@shop');

  // What enters a branch leaves by its outputs.
  await go('/pipelines/llm-usage/live?node=by-kind');
  await page.waitForSelector('dl.lines .sub', { timeout: 15_000 });
  const lines = Object.fromEntries(await page.locator('dl.lines div').evaluateAll((all) => all.map((line) => [line.querySelector('dt').innerText, line.querySelector('dd').innerText])));
  const counts = (await api('pipelines/llm-usage/graph')).edges.filter((edge) => edge.from === 'operator:by-kind').map((edge) => edge.count);
  check('the outputs of a branch add up to what came in', counts.reduce((a, b) => a + b, 0) === 41 && lines.In === '41' && lines['to default'] === '41' && lines['to storage'] === '0', JSON.stringify(lines));

  // A test step by step, beside an older version.
  const { document } = await api('pipelines/llm-usage');
  const put = await fetch(`${base}/api/v1/pipelines/llm-usage`, { method: 'PUT', headers: { 'content-type': 'application/yaml', 'x-flowmeter-reason': 'twice%20as%20much' }, body: document.replace('value: data.tokens', "value: 'data.tokens * 2'") });
  check('a second version is saved', put.ok, await put.text());
  await go('/pipelines/llm-usage/test?sample=paste');
  await page.fill('label:has-text("Events") textarea', `[${event({ id: 't-1', subject: 'anna@shop', tokens: EXACT[0] })},${event({ id: 't-2', subject: '' })}]`);
  await page.locator('label:has-text("beside") select').selectOption('1');
  await page.click('button:has-text("Run test")');
  await page.waitForSelector('table[aria-label="Records"]', { timeout: 30_000 });
  const result = await main();
  check('a test shows where an event is parked and why', /no_user: /.test(result) && result.includes('t-2'), result.slice(0, 600));
  const compared = await page.locator('table[aria-label="Records"]').innerText();
  check('records of two versions are beside each other with every digit', compared.includes('3,684.0000000000000005') && compared.includes(grouped(EXACT[0])) && compared.includes('Version 1'), compared);
  await page.locator('.events button', { hasText: 't-1' }).click();
  check('each step is named with its outcome', (await page.locator('.step').allInnerTexts()).some((step) => step.includes('usage') && step.includes('counted')));
  await go('/audit?action=pipeline');
  check('the audit has the reason of a header', (await main()).includes('twice as much'), (await main()).slice(0, 300));
  check('no error on the way', !one.troubles.length, one.troubles.slice(0, 3).join(' | '));
  await one.close();
  await server.stop();
  target.close();
}
