// Namespaces: a key sees one; signing in to another keeps the page and drops its objects.
import { join } from 'node:path';
import { check, open } from './helper.js';
import { makeKey, signIn } from './security.js';
import { event, post } from './seed.js';
import { serve } from './server.js';

export default async function namespaces(world) {
  // A first start in one namespace, a second in the other: each with its own key.
  const [begin, beta] = [makeKey(), makeKey()];
  const settings = (name) => ['auth.required=true', 'auth.bootstrap_key=${env:TEST_KEY}', `namespace.default=${name}`];
  const first = await serve('two', { settings: settings('alpha'), env: { TEST_KEY: begin } });
  const headers = { authorization: `Bearer ${begin}` };
  await post(first.base, [event({ id: 'secret-of-alpha', subject: 'only@alpha' })], headers);
  const made = await fetch(`${first.base}/api/v1/keys`, { method: 'POST', headers: { ...headers, 'content-type': 'application/json' }, body: '{"name":"of-alpha","scopes":["admin"]}' });
  const alpha = (await made.json()).secret;
  await first.stop();
  const server = await serve('two', { settings: settings('beta'), env: { TEST_KEY: beta }, fresh: first.folder });
  const one = await open(world.browser, { base: server.base });
  const { page, main } = one;
  await page.goto(`${server.base}/meters?user=only%40alpha&range=24h`);
  await signIn(one, alpha);
  await page.waitForSelector('nav.side');
  await one.settled();
  check('the namespace is in the shell', (await page.innerText('nav.side .ns')).includes('alpha'));
  check('the namespace is in the title', (await page.title()).includes('alpha'));

  await page.click('nav.side .ns');
  check('the menu says who is signed in', (await page.innerText('nav.side .drop')).includes('Signed in as'));
  await page.click('text=Sign in to another…');
  await page.fill('dialog[open] input[type=password]', beta);
  await Promise.all([page.waitForURL((url) => !url.search.includes('user=')), page.click('dialog[open] button.primary')]);
  await page.waitForSelector('nav.side');
  await one.settled();
  check('switching keeps the page and drops its objects', page.url() === `${server.base}/meters?range=24h`, page.url());
  check('the other namespace is in the shell', (await page.innerText('nav.side .ns')).includes('beta'));
  check('nothing of the namespace before is shown', !(await page.content()).includes('only@alpha'));
  await page.keyboard.press('Control+k');
  await page.waitForSelector('dialog[open] input');
  await page.keyboard.type('secret-of-alpha');
  await page.waitForSelector('text=/Nothing (else )?has this id here/');
  check('a search finds nothing of the namespace before', true);
  await page.keyboard.press('Escape');
  await one.go('/events?order=list&range=7d');
  check('events of the namespace before are not listed', !(await main()).includes('secret-of-alpha'));

  // Where the server keeps both sign-ins, the menu lists them and one click switches.
  const session = await page.evaluate(async () => (await fetch('/ui/session')).json());
  if (session.others?.length) {
    await page.click('nav.side .ns');
    await Promise.all([page.waitForNavigation(), page.click('.drop .item:has-text("alpha")')]);
    await page.waitForSelector('nav.side');
    check('one click switches back', (await page.innerText('nav.side .ns')).includes('alpha'));
  } else {
    // The answer of a server that keeps both, as the browser would have it.
    await page.route('**/ui/session', (route) => {
      if (route.request().method() === 'PUT') return route.fulfill({ status: 200, contentType: 'application/json', body: JSON.stringify(session) });
      return route.fulfill({ status: 200, contentType: 'application/json', body: JSON.stringify({ ...session, others: [{ namespace: 'alpha', name: 'bootstrap' }] }) });
    });
    await one.go('/meters?user=x');
    await page.click('nav.side .ns');
    check('the menu lists the namespaces of this browser', (await page.innerText('nav.side .drop')).includes('alpha'));
    const asked = page.waitForRequest((request) => request.url().endsWith('/ui/session') && request.method() === 'PUT');
    await page.click('nav.side .drop .item:has-text("alpha")');
    check('switching names the namespace', JSON.parse((await asked).postData()).namespace === 'alpha');
    await page.waitForURL((url) => url.pathname === '/meters' && !url.search);
    check('switching keeps the page', true);
  }
  await one.close();
  await server.stop();
}
