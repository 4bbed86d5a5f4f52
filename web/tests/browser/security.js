// Sign-in, and what a browser must not do: keys in storage, inline scripts, changes from elsewhere;
// a revoked key, a missing scope, an end of the session while one edits.
import { randomBytes } from 'node:crypto';
import { check, inspect, open } from './helper.js';
import { serve } from './server.js';

export const makeKey = () => `fm_${randomBytes(8).toString('hex')}_${randomBytes(32).toString('hex')}`;

/** Signs a page in. */
export async function signIn(one, key) {
  await one.page.waitForSelector('input[type=password]');
  await one.page.fill('input[type=password]', key);
  await one.page.click('button:has-text("Sign in")');
}

export default async function security(world) {
  const key = makeKey();
  const server = await serve('keys', { settings: ['auth.required=true', 'auth.bootstrap_key=${env:TEST_KEY}', 'namespace.default=alpha'], env: { TEST_KEY: key } });
  const { base } = server;
  const one = await open(world.browser, { base });
  const { page, context, troubles, main, go } = one;
  await page.goto(`${base}/pipelines?x=1`);
  await page.waitForSelector('input[type=password]');
  await inspect(one, 'sign-in');
  await signIn(one, `fm_${'0'.repeat(16)}_${'0'.repeat(64)}`);
  await page.waitForSelector('[role=alert]');
  check('a wrong key is refused with a reason', (await page.innerText('[role=alert]')).includes('key'));
  await signIn(one, key);
  await page.waitForSelector('nav.side');
  check('the page that was asked for is shown', page.url().endsWith('/pipelines?x=1'), page.url());

  const cookies = await context.cookies();
  check('the cookie is out of reach of scripts', cookies.length === 1 && cookies[0].httpOnly && cookies[0].sameSite === 'Strict', JSON.stringify(cookies.map((cookie) => cookie.name)));
  const kept = await page.evaluate(() => JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + document.cookie + location.href + document.documentElement.outerHTML);
  check('no key and no cookie is in storage, address or page', !kept.includes(key.slice(20)) && !kept.includes(cookies[0].value));
  check('no key and no cookie is in the log of the server', !server.log.includes(key.slice(20)) && !server.log.includes(cookies[0].value));
  const html = await (await fetch(base)).text();
  check('index.html has no inline script or style', !/<script(?![^>]*src=)[^>]*>|<style|style=/.test(html), html.slice(0, 300));
  const policy = (await fetch(base)).headers.get('content-security-policy') ?? '';
  check('the policy allows scripts and styles of this server only', /script-src 'self'/.test(policy) && !/unsafe/.test(policy), policy);
  const isBlocked = await page.evaluate(() => {
    const script = document.createElement('script');
    try {
      script.textContent = 'window.wasRun = true';
      document.head.append(script);
    } catch { /* Trusted types refuse it before the policy does. */ }
    return window.wasRun !== true;
  });
  check('an inline script does not run', isBlocked);
  troubles.length = 0;
  const status = await page.evaluate(async () => (await fetch('/api/v1/keys', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"name":"x","scopes":["read"]}' })).status);
  check('a change without the token is refused', status === 403, String(status));
  const cross = await fetch(`${base}/api/v1/keys`, { method: 'POST', headers: { cookie: `${cookies[0].name}=${cookies[0].value}`, origin: 'http://127.0.0.1:1', 'content-type': 'application/json' }, body: '{"name":"x","scopes":["read"]}' });
  check('another origin is refused', cross.status === 403, String(cross.status));

  await go('/keys');
  await page.click('text=New key');
  await page.fill('dialog[open] input >> nth=0', 'a reader');
  await page.fill('dialog[open] input[placeholder="Kept in the audit"]', 'for the auditor');
  await page.click('dialog[open] button:has-text("Make key")');
  await page.waitForSelector('text=The secret, shown once');
  const secret = await page.innerText('dialog[open] pre');
  check('a new key is shown once', /^fm_[0-9a-f]{16}_[0-9a-f]{64}$/.test(secret));
  await page.click('dialog[open] button:has-text("Copy secret")');
  await page.click('dialog[open] footer button');
  await page.waitForFunction(() => !document.querySelector('dialog[open]'));

  const newest = await page.evaluate(async () => (await (await fetch('/api/v1/audit?action=key&limit=1')).json()).items[0]);
  check('the audit says who, why and by which way', newest.action === 'key.create' && newest.via === 'browser' && newest.reason === 'for the auditor', JSON.stringify(newest));

  const reader = await open(world.browser, { base });
  await reader.page.goto(base);
  await signIn(reader, secret);
  await reader.page.waitForSelector('nav.side');
  check('pages that a key may not see are not shown', (await reader.page.locator('nav.side >> text=Audit').count()) === 0);
  for (const path of ['/keys', '/audit', '/settings', '/system']) {
    await reader.go(path);
    const text = await reader.main();
    check(`${path} without the scope says which one is missing and who grants it`, text.includes('scope admin') && text.includes('Keys'), text.slice(0, 200));
  }
  await reader.go('/pipelines');
  check('acts that a key may not do are not shown', (await reader.page.locator('button:has-text("New pipeline")').count()) === 0);

  // An edit outlives the end of the session: the sign-in is over the page, the text is kept.
  await go('/pipelines/default/document');
  await page.waitForSelector('.editor');
  await page.locator('.editor').click();
  await page.keyboard.press('Control+End');
  await page.keyboard.type('# kept text');
  await page.waitForSelector('text=No problems');
  await context.clearCookies();
  await page.keyboard.type('!');
  await page.waitForSelector('dialog[open] input[type=password]', { timeout: 15_000 });
  await signIn(one, key);
  await page.waitForFunction(() => !document.querySelector('dialog[open]'));
  const lines = await page.evaluate(() => document.querySelector('.editor')?.shadowRoot?.querySelector('.cm-content')?.textContent ?? '');
  check('text that was typed is kept over a sign-in', lines.includes('# kept text'), lines.slice(-100));

  // A revoked key ends the session at the next request.
  await page.evaluate(() => sessionStorage.clear());
  await page.goto('about:blank');
  await go('/keys');
  await page.locator('tr', { hasText: 'a reader' }).locator('button:has-text("Revoke…")').click();
  await page.fill('dialog[open] label:has-text("to confirm") input', 'a reader');
  await page.click('dialog[open] button:has-text("Revoke key")');
  await page.waitForFunction(() => !document.querySelector('dialog[open]'));
  await reader.page.goto(`${base}/sessions`);
  await reader.page.waitForSelector('input[type=password]', { timeout: 10_000 });
  check('a revoked key is signed out at once', true);
  await reader.close();
  await one.close();
  await server.stop();
}
