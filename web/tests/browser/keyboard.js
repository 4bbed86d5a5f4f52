// The keyboard alone: every key that the help names, focus that is seen, dialogs that give it back.
import { check, open } from './helper.js';

export default async function keyboard(world) {
  const one = await open(world.browser, { base: world.base });
  const { page, go, settled } = one;
  const path = () => new URL(page.url()).pathname;
  await go('/');
  await page.keyboard.press('Tab');
  check('the first stop skips to the content', (await page.evaluate(() => document.activeElement?.textContent)) === 'Skip to content');
  await page.keyboard.press('Enter');
  check('skipping moves the focus', (await page.evaluate(() => document.activeElement?.id)) === 'main');
  for (const [key, wanted] of [['e', '/events'], ['s', '/sessions'], ['p', '/pipelines'], ['t', '/meter-types'], ['m', '/meters'], ['r', '/records'], ['c', '/corrections'], ['d', '/deliveries'], ['n', '/notifications'], ['o', '/']]) {
    await page.keyboard.press('g');
    await page.keyboard.press(key);
    await settled(60);
    check(`G ${key.toUpperCase()} opens ${wanted}`, path() === wanted, page.url());
    check(`G ${key.toUpperCase()} moves the focus to the heading`, (await page.evaluate(() => document.activeElement?.tagName)) === 'H1');
  }
  await go('/meters');
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  await page.keyboard.press('k');
  check('J and K move between rows', (await page.evaluate(() => [...document.querySelectorAll('tr[data-row]')].indexOf(document.activeElement))) === 0);
  const seen = await page.evaluate(() => { const box = document.activeElement.getBoundingClientRect(); return box.top >= 56 && box.bottom <= innerHeight; });
  check('the row with the focus is not behind a bar', seen);
  await page.keyboard.press('Enter');
  await settled();
  check('Enter opens the row', /^\/meters\/[0-9a-f-]+/.test(path()), page.url());
  await page.keyboard.press('.');
  await page.waitForSelector('.drop');
  check('. opens the acts of the object', (await page.locator('.drop').innerText()).includes('Copy id'));
  check('the focus is in the menu', await page.evaluate(() => !!document.activeElement?.closest('.drop')));
  await page.keyboard.press('Escape');
  check('Escape closes the menu and gives the focus back', (await page.locator('.drop').count()) === 0 && (await page.evaluate(() => document.activeElement?.id)) === 'object-acts');
  await go('/');
  await page.keyboard.press('p');
  check('P pauses', (await page.innerText('header')).includes('Paused'));
  const before = await page.locator('.term.lead b').innerText();
  await page.waitForTimeout(2_200);
  check('a paused page does not move', (await page.locator('.term.lead b').innerText()) === before);
  await page.keyboard.press('p');
  await page.waitForFunction((old) => document.querySelector('.term.lead b')?.textContent !== old, before, { timeout: 8_000 });
  check('P again continues', true);
  await page.keyboard.press('[');
  check('[ moves the range back', decodeURIComponent(page.url()).includes('range=') && page.url().includes('..'), page.url());
  await go('/');
  await page.keyboard.press('?');
  check('? names the keys', (await page.innerText('dialog[open]')).includes('Ctrl K'));
  await page.keyboard.press('Escape');
  await page.waitForSelector('dialog[open]', { state: 'detached' });
  // The page learns of the closed dialog a moment later.
  await page.waitForTimeout(300);
  await page.keyboard.press('/');
  await page.waitForSelector('dialog[open] input');
  check('/ searches', true);
  await page.keyboard.type('zzzz-nothing');
  await page.waitForSelector('text=/Nothing (else )?has this id here/');
  check('a search without hits says so', true);
  await page.keyboard.press('Escape');
  // A dialog holds the focus and gives it back.
  await go('/deliveries/target/llm-usage/biller');
  await page.locator('button', { hasText: 'Resend…' }).focus();
  await page.keyboard.press('Enter');
  await page.waitForSelector('dialog[open]');
  check('a dialog takes the focus', await page.evaluate(() => !!document.activeElement?.closest('dialog')));
  await page.keyboard.press('Escape');
  await page.waitForFunction(() => !document.querySelector('dialog[open]'));
  check('a closed dialog gives the focus back', (await page.evaluate(() => document.activeElement?.textContent ?? '')).includes('Resend'));
  // Values of a chart by arrow keys.
  await go('/');
  await page.locator('main svg[role=img][tabindex="0"]').first().focus();
  await page.keyboard.press('ArrowLeft');
  check('arrow keys read the values of a chart', (await page.locator('.tip[role=status]').count()) === 1);
  // Single keys can be switched off.
  await go('/settings');
  await page.selectOption('label:has-text("Single keys") select', 'off');
  await page.locator('h1').focus();
  await page.keyboard.press('g');
  await page.keyboard.press('e');
  check('single keys are off if one wants', path() === '/settings', page.url());
  await page.evaluate(() => localStorage.clear());
  await one.close();
}
