// Opens every page of the dashboard in a real browser and checks it: no error in the console, no
// report of the content policy, no request to another origin, no accessibility violation, no
// sideways scrolling; then walks through the questions that people come with.
//
//   cargo build && cargo xtask browser
//
// Needs a Chromium of the system (or CHROMIUM=/path). Without one it says so and ends with 0.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';

const root = new URL('../..', import.meta.url).pathname;
const places = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome', '/usr/bin/google-chrome-stable'];
const chromium = places.find((path) => path && existsSync(path));
const binary = [process.env.FLOWMETER_BIN, join(root, 'target/debug/flowmeter'), join(root, 'target/release/flowmeter')].find((path) => path && existsSync(path));
if (!chromium || !binary) {
  console.log(`SKIPPED: the browser tests need ${chromium ? 'a built flowmeter (cargo build)' : 'a Chromium (CHROMIUM=/path)'}`);
  process.exit(0);
}
const { chromium: engine } = await import('playwright-core');
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const folder = mkdtempSync(join(tmpdir(), 'flowmeter-browser-'));
const children = [];
let passed = 0;
const failures = [];

function check(what, ok, detail = '') {
  if (ok) passed++;
  else {
    failures.push(`${what}: ${detail}`);
    console.log(`FAILED ${what}: ${detail}`);
  }
}

/** Starts a server and waits for the address of its dashboard. */
function start(name, args, env = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(binary, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    children.push(child);
    let out = '';
    const look = (chunk) => {
      out += chunk;
      const found = /dashboard: (http\S+?)\/?\s/.exec(out);
      if (found) resolve(found[1]);
    };
    child.stdout.on('data', look);
    child.stderr.on('data', (chunk) => (out += chunk));
    child.on('exit', (code) => reject(new Error(`${name} ended with ${code}: ${out}`)));
  });
}

const SIZES = { desk: { width: 1440, height: 1000 }, tablet: { width: 900, height: 1100 }, phone: { width: 390, height: 844 } };

async function open(browser, { theme = 'light', size = 'desk' } = {}) {
  const context = await browser.newContext({ viewport: SIZES[size], colorScheme: theme, timezoneId: 'Europe/Oslo', hasTouch: size === 'phone', isMobile: size === 'phone', reducedMotion: 'reduce' });
  const page = await context.newPage();
  const troubles = [];
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && troubles.push(message.text()));
  page.on('pageerror', (why) => troubles.push(String(why)));
  page.on('request', (request) => {
    const origin = new URL(request.url()).origin;
    if (!['blob:', 'null'].includes(origin) && !origin.startsWith('http://127.0.0.1')) troubles.push(`a request to ${origin}`);
  });
  return { context, page, troubles };
}

async function settled(page) {
  await page.waitForSelector('h1', { timeout: 15_000 });
  await page.waitForFunction(() => !document.querySelector('[aria-busy="true"]'), null, { timeout: 10_000 }).catch(() => undefined);
  await page.waitForTimeout(500);
}

async function inspect(page, troubles, name) {
  const result = await page.evaluate(async (source) => {
    // The policy forbids inline scripts; the checker comes in through the debugger.
    if (!window.axe) (0, eval)(source);
    return window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] });
  }, axe).catch(async () => {
    await page.addInitScript(axe);
    await page.reload();
    await settled(page);
    return page.evaluate(() => window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] }));
  });
  const violations = result.violations.map((one) => `${one.id} (${one.nodes.length}): ${one.nodes[0].target} ${one.nodes[0].failureSummary?.split('\n')[1] ?? ''}`);
  check(`${name}: accessible`, !violations.length, violations.join(' | '));
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  check(`${name}: no sideways scrolling`, wide <= 0, `${wide} px`);
  check(`${name}: clean console`, !troubles.length, troubles.slice(0, 3).join(' | '));
}

async function pages(browser, base) {
  const get = async (path) => (await fetch(`${base}/api/v1/${path}`)).json();
  const [meter, record, delivery, group, correction, session] = await Promise.all([
    get('meters?limit=1').then((all) => all.items[0]?.id),
    get('records?limit=1').then((all) => all.items[0]?.meterMetaData.recordId),
    get('deliveries?limit=1').then((all) => all.items[0]?.id),
    get('corrections/groups').then((all) => all.items[0]?.groupId),
    get('corrections?limit=1').then((all) => all.items[0]?.id),
    get('sessions?limit=1').then((all) => all.items[0]?.sessionId),
  ]);
  const event = (await get('events?limit=1&order=desc')).items[0];
  const all = ['/', '/events', `/events/${encodeURIComponent(event.id)}`, '/sessions', `/sessions/${session}`, '/pipelines', '/pipelines/llm-usage/live?node=usage', '/pipelines/llm-usage/document', '/pipelines/llm-usage/versions',
    '/pipelines/llm-usage/test', '/pipelines/llm-usage/sessions', '/pipelines/llm-usage/targets', '/meter-types', '/meter-types/LLM%20tokens/usage?groupBy=data.model', '/meter-types/LLM%20tokens/definition', '/meters', `/meters/${meter}/period`,
    `/meters/${meter}/history`, `/meters/${meter}/record`, '/records', `/records/${record}/record`, `/records/${record}/explain`, '/corrections', `/corrections/group/${group}`, `/corrections/${encodeURIComponent(correction)}`, '/deliveries',
    '/deliveries/target/llm-usage/biller', `/deliveries/${encodeURIComponent(delivery)}`, '/deliveries/reconcile', '/notifications', '/keys', '/audit', '/settings', '/system', '/start', '/nothing-here', '/events/no-such-event', '/meters/00000000-0000-0000-0000-000000000000/period'];
  const looks = process.env.QUICK ? [['light', 'desk']] : [['light', 'desk'], ['dark', 'desk'], ['light', 'phone'], ['dark', 'tablet']];
  for (const [theme, size] of looks) {
    const { context, page, troubles } = await open(browser, { theme, size });
    await page.addInitScript(axe);
    for (const path of all) {
      troubles.length = 0;
      await page.goto(base + path);
      await settled(page);
      // A page about something that is not there answers 404, which a browser notes.
      const expected = troubles.filter((text) => !/status of 404/.test(text));
      await inspect(page, expected, `${path} ${theme} ${size}`);
    }
    await context.close();
  }
}

async function questions(browser, base) {
  const { context, page, troubles } = await open(browser);
  await page.goto(base);
  await settled(page);
  const text = () => page.innerText('main');
  check('1 is anything lost?', (await text()).includes('Adds up exactly'));

  const id = `exact-${randomBytes(4).toString('hex')}`;
  const value = '1842.00000000000000025';
  const sent = `{"specversion":"1.0","id":"${id}","source":"/gateway-eu-1","type":"llm.completion","subject":"digits@test","data":{"status":"ok","model":"m-large","tokens":${value}}}`;
  const answer = await fetch(`${base}/api/v1/events?wait=counted`, { method: 'POST', headers: { 'content-type': 'application/cloudevents+json' }, body: sent });
  check('an event is counted', answer.ok, String(answer.status));

  await page.keyboard.press('Control+k');
  await page.keyboard.type(id);
  await page.waitForTimeout(700);
  await page.keyboard.press('Enter');
  await settled(page);
  check('8 did my event arrive, did it count?', (await text()).includes('Counted in'), page.url());
  check('its value keeps every digit', (await text()).includes('1,842.00000000000000025'));
  check('its body is as it was sent', (await page.locator('pre').last().innerText()).includes(value));

  await page.keyboard.press('Control+k');
  await page.keyboard.type('digits@t');
  await page.waitForTimeout(900);
  await page.keyboard.press('Enter');
  await settled(page);
  check('5 what has this customer used?', page.url().includes('/meters?user=') && (await text()).includes('LLM tokens'), page.url());
  const cell = await page.locator('tr', { hasText: 'LLM tokens' }).locator('[data-value]').first().getAttribute('data-value');
  check('a meter shows every digit', cell === value, String(cell));

  await page.goBack();
  await settled(page);
  check('Back returns to the trace', page.url().includes(`/events/${id}`), page.url());

  await page.goto(`${base}/deliveries/target/llm-usage/biller`);
  await settled(page);
  await page.click('text=Resend…');
  const dialog = page.locator('dialog[open]');
  check('3 an act says what it will do', (await dialog.innerText()).includes('same keys'));
  await page.keyboard.press('Escape');
  check('Escape closes the dialog', (await page.locator('dialog[open]').count()) === 0);

  await page.goto(`${base}/corrections`);
  await settled(page);
  await page.locator('tbody tr a').first().click();
  await settled(page);
  await page.click('text=Send again…');
  await page.waitForTimeout(1500);
  check('4 a bulk act names its number and moment', /as of/.test(await page.locator('dialog[open]').innerText()));
  await page.keyboard.press('Escape');

  await page.goto(`${base}/pipelines/llm-usage/document`);
  await settled(page);
  await page.waitForTimeout(800);
  check('9 the document has no problems', (await text()).includes('No problems'));
  await page.locator('.editor').click();
  await page.keyboard.press('Control+End');
  await page.keyboard.type('\nvaule: 1');
  await page.waitForTimeout(1500);
  check('a problem is shown at its line', /Line \d+/.test(await text()), (await text()).slice(0, 300));

  await page.goto(`${base}/start`);
  await settled(page);
  await page.click('text=Send it');
  await page.waitForTimeout(1500);
  check('10 how do I send the first event?', (await text()).includes('durable on disk'));
  // A document with a problem is answered with 422, which a browser notes.
  const unexpected = troubles.filter((text) => !/status of 422/.test(text));
  check('no error on the way', !unexpected.length, unexpected.join(' | '));
  await context.close();
}

async function signIn(browser) {
  const key = `fm_${randomBytes(8).toString('hex')}_${randomBytes(32).toString('hex')}`;
  const base = await start('a server with keys', ['serve', '--listen', '127.0.0.1:0', '--data', join(folder, 'keys'), '--set', 'auth.required=true', '--set', 'auth.bootstrap_key=${env:TEST_KEY}'], { TEST_KEY: key });
  const { context, page, troubles } = await open(browser);
  await page.addInitScript(axe);
  await page.goto(`${base}/pipelines?x=1`);
  await page.waitForSelector('input[type=password]');
  await inspect(page, troubles, 'sign-in');
  await page.fill('input[type=password]', `fm_${'0'.repeat(16)}_${'0'.repeat(64)}`);
  await page.click('button:has-text("Sign in")');
  await page.waitForSelector('[role=alert]');
  check('a wrong key is refused with a reason', (await page.innerText('[role=alert]')).includes('key'));
  await page.fill('input[type=password]', key);
  await page.click('button:has-text("Sign in")');
  await page.waitForSelector('nav.side');
  check('the page that was asked for is shown', page.url().endsWith('/pipelines?x=1'), page.url());
  const cookies = await context.cookies();
  check('the cookie is out of reach of scripts', cookies.length === 1 && cookies[0].httpOnly && cookies[0].sameSite === 'Strict', JSON.stringify(cookies.map((one) => one.name)));
  const kept = await page.evaluate(() => JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + document.cookie + location.href);
  check('no key and no cookie is kept in the page', !kept.includes(key.slice(20)) && !kept.includes(cookies[0].value));
  const status = await page.evaluate(async () => (await fetch('/api/v1/keys', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"name":"x","scopes":["read"]}' })).status);
  check('a change without the token is refused', status === 403, String(status));
  const cross = await fetch(`${base}/api/v1/keys`, { method: 'POST', headers: { cookie: `${cookies[0].name}=${cookies[0].value}`, origin: 'http://127.0.0.1:1', 'content-type': 'application/json' }, body: '{"name":"x","scopes":["read"]}' });
  check('another origin is refused', cross.status === 403, String(cross.status));

  await page.goto(`${base}/keys`);
  await settled(page);
  await page.click('text=New key');
  await page.fill('dialog[open] input >> nth=0', 'a reader');
  await page.click('dialog[open] button:has-text("Make key")');
  await page.waitForSelector('text=The secret, shown once');
  const secret = await page.innerText('dialog[open] pre');
  check('a new key is shown once', /^fm_[0-9a-f]{16}_[0-9a-f]{64}$/.test(secret));
  await context.close();

  const reader = await open(browser);
  await reader.page.goto(base);
  await reader.page.fill('input[type=password]', secret);
  await reader.page.click('button:has-text("Sign in")');
  await reader.page.waitForSelector('nav.side');
  check('what a key may not do is not shown', (await reader.page.locator('nav.side >> text=Audit').count()) === 0);
  await reader.page.goto(`${base}/audit`);
  await settled(reader.page);
  check('a page without the scope says which one is missing', (await reader.page.innerText('main')).includes('scope admin'));
  await reader.context.clearCookies();
  await reader.page.goto(`${base}/sessions`);
  await reader.page.waitForSelector('input[type=password]');
  check('without the cookie the sign-in is shown', true);
  await reader.context.close();
}

let browser;
try {
  browser = await engine.launch({ executablePath: chromium, args: ['--no-sandbox'] });
  // With BASE, a server that is there already (and has the pipelines of the demo) is looked at.
  const base = process.env.BASE ?? await start('the demo', ['demo', '--listen', '127.0.0.1:0', '--data', join(folder, 'demo')]);
  // Until the first periods have closed there is no record to look at.
  for (let tries = 0; tries < 90; tries++) {
    const found = await (await fetch(`${base}/api/v1/records?limit=1`)).json();
    const parked = await (await fetch(`${base}/api/v1/corrections/groups`)).json();
    if (found.items.length && parked.items.length) break;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  if (!process.env.ONLY_PAGES) {
    await questions(browser, base);
    await signIn(browser);
  }
  await pages(browser, base);
} catch (why) {
  failures.push(String(why.stack ?? why));
  console.log(why);
} finally {
  await browser?.close();
  for (const child of children) child.kill('SIGTERM');
  await Promise.all(children.map((child) => child.exitCode !== null || new Promise((resolve) => child.once('exit', resolve))));
  rmSync(folder, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failures.length} failed`);
process.exit(failures.length ? 1 : 0);
