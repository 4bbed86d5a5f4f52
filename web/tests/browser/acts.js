// Acts: what they say before, one act for a double click, the entry of the audit, and refusals that
// explain who was first.
import { check, open, until } from './helper.js';
import { event, post } from './seed.js';

export default async function acts(world) {
  const one = await open(world.browser, { base: world.base });
  const { page, main, go, settled } = one;

  // A bulk act names its selector, count and moment, is rehearsed, and is one act for two clicks.
  await post(world.base, Array.from({ length: 4 }, (_, at) => event({ id: `bulk-${at}`, subject: '', source: '/gateway-eu-1' })));
  const group = await until(async () => (await world.api('corrections/groups')).items.find((item) => item.source === '/gateway-eu-1' && item.reason === 'no_user' && item.open >= 4), Boolean, 40);
  await go(`/corrections/group/${group.groupId}`);
  await page.click('button:has-text("Change field…")');
  const dialog = page.locator('dialog[open]');
  await page.waitForSelector('dialog[open] >> text=/as of/');
  check('a bulk act names its number and moment', /\d+ open events that match no_user at usage, as of/.test((await dialog.innerText()).replace(/\s+/g, ' ')), await dialog.innerText());
  check('a bulk act names the namespace', (await dialog.innerText()).includes('default'));
  await dialog.locator('input').nth(1).fill('bulk@test');
  await dialog.locator('button:has-text("Rehearse")').click();
  await page.waitForSelector('dialog[open] >> text=/would count/');
  check('a bulk act is rehearsed first', /would count/.test(await dialog.innerText()));
  await dialog.locator('input[placeholder="Kept in the audit"]').fill('users were missing');
  const jobs = [];
  page.on('request', (request) => request.method() === 'POST' && request.url().endsWith('/corrections/jobs') && request.postData().includes('"dryRun":false') && jobs.push(request.headers()['idempotency-key']));
  await dialog.locator('button.primary').dblclick();
  await page.waitForFunction(() => !document.querySelector('dialog[open]'));
  check('a double click is one act', jobs.length === 1 && /^[0-9a-f]{32}/.test(jobs[0]), JSON.stringify(jobs));
  await go('/meters?user=bulk%40test');
  check('the events count for the user that was set', (await until(async () => { await page.reload(); await settled(); return main(); }, (text) => text.includes('LLM tokens'), 10)).includes('LLM tokens'));
  await go('/audit?action=correction');
  check('the audit has the act with its reason', (await main()).includes('users were missing'), (await main()).slice(0, 300));

  // A destructive act wants its name typed.
  await go('/corrections?state=open&reason=bad_value');
  await page.locator('tr[data-row]').first().focus();
  await page.keyboard.press('x');
  check('X selects the row', (await page.locator('tr[aria-selected=true]').count()) === 1);
  await page.click('button:has-text("Discard…")');
  check('discarding many wants the number typed', await page.locator('dialog[open] button.danger').isDisabled());
  await page.keyboard.press('Escape');

  // Two people save the same pipeline: the second sees who was first and keeps the draft.
  await go('/pipelines/mobile-data/document');
  await page.waitForSelector('text=No problems');
  await page.locator('.editor').click();
  await page.keyboard.press('Control+End');
  await page.keyboard.type('# mine');
  await page.waitForSelector('button:has-text("Save version"):not(:disabled)');
  const known = await world.api('pipelines/mobile-data');
  const other = await fetch(`${world.base}/api/v1/pipelines/mobile-data`, { method: 'PUT', headers: { 'content-type': 'application/yaml' }, body: `${known.document}# theirs\n` });
  check('another person saves meanwhile', other.ok, String(other.status));
  await page.click('button:has-text("Save version")');
  await page.waitForSelector('dialog[open] .diff, dialog[open] .same');
  await page.click('dialog[open] button.primary');
  await page.waitForSelector('dialog[open] [role=alert]');
  const said = await page.innerText('dialog[open]');
  check('412 says which version was first and compares', said.includes(`Version ${known.version + 1} was saved meanwhile`) && said.includes('# theirs'), said.slice(0, 300));
  await page.keyboard.press('Escape');
  const draft = await page.evaluate(() => document.querySelector('.editor').shadowRoot.textContent);
  check('the draft is kept', draft.includes('# mine'), draft.slice(-60));
  page.on('dialog', (asked) => asked.accept());
  await page.evaluate(() => sessionStorage.clear());

  // Acts of a session: only those that its status allows; pause and resume leave their entries.
  await go('/pipelines/mobile-data/live');
  check('a running session offers no resume', (await page.locator('button:has-text("Resume")').count()) === 0);
  await page.click('button:has-text("Pause")');
  await page.waitForSelector('button:has-text("Resume")');
  await page.click('button:has-text("Resume")');
  await page.waitForSelector('.acts button:has-text("Pause")');
  const entries = (await world.api('audit?action=session')).items.map((entry) => entry.action);
  check('pause and resume are in the audit', entries.includes('session.pause') && entries.includes('session.resume'), entries.join(' '));
  // A button without a dialog takes a reason too.
  await page.click('button[aria-label="Pause with a reason"]');
  check('the field of the reason has the focus', await page.evaluate(() => document.activeElement?.matches('.drop input')));
  const box = await page.locator('.drop').boundingBox();
  check('the field is inside the window', box.x >= 0 && box.x + box.width <= 1440, JSON.stringify(box));
  await page.keyboard.type('the cells change tonight');
  await page.keyboard.press('Enter');
  await page.waitForSelector('button:has-text("Resume")');
  const paused = (await world.api('audit?action=session.pause&limit=1')).items[0];
  check('the reason of a plain act is in the audit', paused.reason === 'the cells change tonight', JSON.stringify(paused));
  await page.click('button:has-text("Resume")');
  await page.waitForSelector('.acts button:has-text("Pause")');
  await page.click('button:has-text("Cancel…")');
  check('cancelling wants the session typed', await page.locator('dialog[open] button.danger').isDisabled());
  check('cancelling says what is lost', /stay counted/.test(await page.innerText('dialog[open]')));
  await page.keyboard.press('Escape');

  // A notification by the form: the sentence, the preview, and its delivery.
  await go('/notifications');
  await page.click('text=New notification');
  await page.fill('dialog[open] input >> nth=0', 'paused');
  await page.waitForSelector('dialog[open] >> text=/of the newest/');
  check('the form says what it means', (await page.innerText('dialog[open]')).includes('sessionStatus is one of FAILED, TESTING_FAILED'), (await page.innerText('dialog[open]')).slice(0, 500));
  await page.selectOption('dialog[open] select[aria-label="Kind of channel"]', 'log');
  await page.click('dialog[open] button.primary');
  await page.waitForFunction(() => !document.querySelector('dialog[open]'));
  await settled();
  check('the notification is listed', (await main()).includes('paused'));
  await one.close();
}
