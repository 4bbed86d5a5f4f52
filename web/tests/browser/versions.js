// A version that has no place for what an operator holds: the dialog asks what becomes of it.
import { check, open, until } from './helper.js';
import { post } from './seed.js';
import { serve } from './server.js';

const document = (window) => JSON.stringify({
  pipeline: 'holding', source: { http: {} },
  operators: [
    { id: 'hours', accumulate: { key: ['subject'], window: { size: window }, fields: { tokens: { sum: 'data.tokens' } } } },
    { meter: { key: '00000000-0000-4000-8000-000000000001', value: 'tokens', rules: [{}] } },
  ],
  meterTypes: [{ name: 'Tokens', resetSchedule: 'daily' }],
});

export default async function versions(world) {
  const server = await serve('versions', { clock: '2026-01-05T10:30:00Z', documents: () => ({ holding: document('1h') }) });
  const api = async (path) => (await fetch(`${server.base}/api/v1/${path}`)).json();
  const event = (id) => ({ specversion: '1.0', source: '/s', id, type: 't', subject: 'anna', time: '2026-01-05T10:10:00Z', data: { tokens: 5 } });
  const counts = async () => (await api(`sessions/${(await api('sessions')).items[0].sessionId}`)).counts.events;
  await post(server.base, [event('1'), event('2')].map((one) => JSON.stringify(one)));
  await until(counts, (events) => events.held === 2, 20);
  const { page, go, close } = await open(world.browser, { base: server.base });
  await go('/pipelines/holding/document');
  await page.waitForSelector('text=No problems');
  await page.locator('.editor').click();
  await page.keyboard.press('Control+A');
  await page.keyboard.insertText(document('2h'));
  await page.waitForSelector('button:has-text("Save version"):not(:disabled)');
  await page.click('button:has-text("Save version")');
  await page.waitForSelector('dialog[open] select');
  const asked = await page.innerText('dialog[open]');
  check('the dialog names the operator, what it holds and what changed', asked.includes('hours holds (2 events), because window changed'), asked.slice(0, 300));
  const save = page.locator('dialog[open] button.primary');
  check('without a choice the version cannot be saved', await save.isDisabled());
  await page.selectOption('dialog[open] select', 'release');
  await page.waitForSelector('dialog[open] .effects');
  check('with a choice it can', await save.isEnabled());
  await save.click();
  await page.waitForSelector('dialog[open]', { state: 'detached' });
  const after = await until(counts, (events) => events.held === 0, 20);
  check('what was held is released and counted', after.held === 0 && after.derived === 1 && after.counted === 1, JSON.stringify(after));
  check('the version is in force', (await api('pipelines/holding')).version === 2);
  await close();
  await server.stop();
}
