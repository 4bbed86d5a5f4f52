// Work on many things at once: jobs over corrections and deliveries with their progress and their
// end, exports, samples; each act with its reason in the audit.
import { readFileSync } from 'node:fs';
import { check, open, until } from './helper.js';
import { documents, event, post } from './seed.js';
import { biller, serve } from './server.js';

/** A reason that only survives if it is percent-encoded. */
const WHY = 'prøve 🧾, 100 %';
const MANY = 6000;

export default async function work(world) {
  const target = await biller();
  const server = await serve('work', { settings: ['tracing.level=warn'], documents: (folder) => documents(target.address, folder) });
  const { base } = server;
  const api = async (path) => (await fetch(`${base}/api/v1/${path}`)).json();
  const audit = async (action) => (await api(`audit?action=${action}`)).items[0] ?? {};
  const hour = 3_600_000;
  await post(base, Array.from({ length: 12 }, (_, at) => event({ id: `old-${at}`, subject: `user-${at % 3}`, at: Date.now() - (2 + at) * hour })));
  await post(base, Array.from({ length: MANY }, (_, at) => event({ id: `lost-${at}`, subject: '' })));
  await until(() => api('records?limit=1'), (all) => all.items.length, 60);
  const one = await open(world.browser, { base });
  const { page, main, go, settled } = one;
  const dialog = page.locator('dialog[open]');
  const act = async (verb, reason = WHY) => {
    await dialog.locator('input[placeholder="Kept in the audit"]').fill(reason);
    await dialog.locator(`button:has-text("${verb}"):not(:disabled)`).click();
    await page.waitForFunction(() => !document.querySelector('dialog[open]'), null, { timeout: 20_000 });
  };
  const ended = () => until(async () => (await api('jobs')).items[0], (job) => job && !['running', 'canceling'].includes(job.state), 60);

  // A long job shows its progress and stops; what is done stays done.
  const group = await until(async () => (await api('corrections/groups')).items[0], (found) => found?.open === MANY, 60);
  await go(`/corrections/group/${group.groupId}`);
  await page.click('button:has-text("Change field…")');
  await page.waitForSelector('dialog[open] >> text=/as of/');
  await dialog.locator('label:has-text("Value") input').fill('found@shop');
  await act('Send events again');
  const cancel = page.locator('section[aria-label^="Job"] button:has-text("Cancel")');
  await cancel.click({ timeout: 10_000 }).then(() => act('Cancel the job'), () => undefined);
  const job = await ended();
  const done = `${job.done} of ${job.matched}, ${job.state}`;
  check('a canceled job stops', job.state === 'canceled' && job.done < job.matched, done);
  await page.waitForSelector('section[aria-label^="Job"] >> text=Canceled', { timeout: 10_000 }).catch(() => undefined);
  check('the page shows how far it came', (await main()).includes(`${job.done.toLocaleString('en')} of ${job.matched.toLocaleString('en')}`), `${done}: ${(await main()).slice(0, 300)}`);
  check('the reason of a cancel is in the audit', (await audit('job.cancel')).reason === WHY, JSON.stringify(await audit('job.cancel')));
  // Groups follow what is settled a moment later.
  const openOnes = async () => (await api('corrections/groups')).items.find((found) => found.groupId === group.groupId).open;
  const left = await until(openOnes, (open) => open === MANY - job.done, 10).catch(openOnes);
  check('what was done stays done, the rest is open', job.byOutcome && left === MANY - job.done, `${left} open, ${done}`);
  check('a job has its reason in the audit', (await audit('correction.job')).reason === WHY && (await audit('correction.job')).object === job.jobId, JSON.stringify(await audit('correction.job')));

  // One event by its id, settled by whom.
  await go('/corrections?event=lost-1&state=all');
  check('the queue is searched by event id', (await page.locator('tr[data-row]').count()) === 1, (await main()).slice(0, 300));
  const lost = (await api('corrections?limit=1&order=desc')).items[0];
  await go(`/corrections/${encodeURIComponent(lost.id)}`);
  await page.click('button:has-text("Discard…")');
  await act('Discard event');
  check('discarding one keeps its reason', (await audit('correction.discard')).reason === WHY, JSON.stringify(await audit('correction')));
  await go('/corrections?by=local');
  check('the queue is searched by who settled', (await page.locator('tr[data-row]').count()) > 0, (await main()).slice(0, 300));

  // The attempts of a delivery, skipping it for a reason, and resending the others as a job.
  const tried = await until(async () => (await api('deliveries?target=biller&state=retrying&limit=1')).items[0], (found) => found?.attempts >= 2, 60);
  await go(`/deliveries/${encodeURIComponent(tried.id)}`);
  const known = await api(`deliveries/${encodeURIComponent(tried.id)}`);
  const shown = await page.locator('ol.line li').count();
  check('every attempt is listed with its status', shown >= 2 && Math.abs(shown - known.attemptHistory.length) <= 1 && (await main()).includes('status 503'), `${shown}: ${(await main()).slice(0, 300)}`);
  await page.click('button:has-text("Skip…")');
  check('a record is not skipped without a reason', await dialog.locator('button.danger').isDisabled());
  await act('Skip record');
  check('a skip is in the audit with its reason', JSON.stringify(await audit('delivery.skip')).includes(WHY), JSON.stringify(await audit('delivery')));
  target.refuse = false;
  await go('/deliveries/target/llm-usage/biller');
  await page.click('button:has-text("Resend…")');
  await page.waitForSelector('dialog[open] >> text=/as of/');
  await dialog.locator('select').selectOption('skipped');
  await page.waitForFunction(() => /^1 skipped/.test(document.querySelector('dialog[open] .body')?.innerText ?? ''), null, { timeout: 10_000 }).catch(() => undefined);
  check('a resend counts first', (await dialog.innerText()).includes('1 skipped records'), await dialog.innerText());
  await act('Resend records');
  const resent = await ended();
  check('the skipped record is sent again by a job', resent.kind === 'deliveries' && resent.done === 1 && (await audit('delivery.job')).reason === WHY, JSON.stringify(resent));

  // An export: its number first, then the file, equal to the server's.
  await go('/records?user=user-1');
  await page.click('button:has-text("Export all…")');
  const matched = (await (await fetch(`${base}/api/v1/exports`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"selector":{"filter":{"userId":"user-1"}},"dryRun":true}' })).json()).matched;
  await page.waitForFunction((number) => document.querySelector('dialog[open] .body b')?.textContent === String(number), matched, { timeout: 15_000 }).catch(() => undefined);
  check('an export says how many records match', (await dialog.innerText()).includes(`${matched} records match`), await dialog.innerText());
  await act('Start the export');
  const link = page.locator('a:has-text("Download")').first();
  await link.waitFor({ timeout: 30_000 });
  const exported = await ended();
  const [file] = await Promise.all([page.waitForEvent('download'), link.click()]);
  const text = readFileSync(await file.path(), 'utf8');
  check('the file is that of the job', text === (await (await fetch(base + exported.file)).text()) && text.trim().split('\n').length === matched + 1, text.slice(0, 200));
  check('an export is in the audit with its reason', (await audit('export.job')).reason === WHY);

  // A sample of a notification: its attempt at once.
  await fetch(`${base}/api/v1/notifications`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"name":"changes","eventType":"meter.session.status","channels":[{"type":"log","level":"warn"}]}' });
  await go('/notifications');
  await page.click('button:has-text("Send a sample")');
  await page.waitForSelector('dialog[open] >> text=Accepted', { timeout: 15_000 }).catch(() => undefined);
  check('a sample shows its attempt', /Accepted/.test(await dialog.innerText()) && /log/.test(await dialog.innerText()) && (await audit('notification.sample')).object === 'changes', await dialog.innerText().catch(() => ''));
  await page.keyboard.press('Escape');

  // A meter is deleted for a reason; the audit shows it with its request, and as a table of the server.
  await go(`/meters/${(await api('meters?userId=user-2&limit=1')).items[0].id}/period`);
  await page.click('button:has-text("Delete…")');
  await dialog.locator('label:has-text("to confirm") input').fill('user-2');
  await act('Delete meter');
  await go('/audit?action=meter');
  await page.locator('tr[data-row] button').first().click();
  await settled();
  const entry = await audit('meter');
  check('an entry shows reason and request', entry.reason === WHY && (await main()).includes(WHY) && (await main()).includes(entry.requestId), (await main()).slice(0, 400));
  const [table] = await Promise.all([page.waitForEvent('download'), page.click('main button:has-text("CSV")')]);
  check('the audit as CSV is that of the server', readFileSync(await table.path(), 'utf8') === (await (await fetch(`${base}/api/v1/audit?action=meter`, { headers: { accept: 'text/csv' } })).text()));
  check('no error on the way', !one.troubles.length, one.troubles.slice(0, 3).join(' | '));
  await one.close();
  await server.stop();
  target.close();
}
