// The keyboard alone: each key that the help names, focus that is seen, dialogs that give it back.
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
  const range = () => (new URL(page.url()).searchParams.get('range') ?? '').split('..').map(Date.parse);
  const [, back] = range();
  check('[ moves the range back', range().length === 2 && back < Date.now() - 3_000_000, page.url());
  await page.keyboard.press(']');
  await page.waitForFunction((old) => Date.parse((new URL(location.href).searchParams.get('range') ?? '').split('..')[1]) > old, back);
  check('] moves it forward again', Math.abs(range()[0] - back) < 1_000, page.url());
  await page.keyboard.press('y');
  await page.waitForSelector('text=/Link copied|not allowed/');
  check('Y copies the link', true);
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
  // Both keys before the event `close` of the first one: the browser sends it later.
  await page.evaluate(async () => {
    document.querySelector('dialog[open]').requestClose();
    await Promise.resolve();
    document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'k', ctrlKey: true, bubbles: true }));
  });
  await page.waitForTimeout(300);
  check('Ctrl K right after Escape searches', (await page.locator('dialog[open] input').count()) === 1);
  await page.keyboard.press('Escape');
  await page.waitForSelector('dialog[open]', { state: 'detached' });
  await page.keyboard.press('Control+k');
  await page.waitForSelector('dialog[open] input');
  check('Ctrl K searches', true);
  await page.keyboard.press('Escape');
  await page.waitForSelector('dialog[open]', { state: 'detached' });
  await corrections(one);
  await writing(one);
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

/** X, R and E in the list of parked events. */
async function corrections({ page, go, settled }) {
  await go('/corrections?state=open&reason=no_user');
  const row = page.locator('tr[data-row]').first();
  await row.focus();
  await page.keyboard.press('x');
  check('X selects the row', (await row.getAttribute('aria-selected')) === 'true');
  await page.keyboard.press('r');
  await page.waitForSelector('dialog[open]');
  check('R asks to send the selection again', (await page.innerText('dialog[open]')).includes('selected events'), await page.innerText('dialog[open]'));
  await page.keyboard.press('Escape');
  await page.waitForFunction(() => !document.querySelector('dialog[open]'));
  await row.focus();
  await page.keyboard.press('e');
  await settled();
  check('E opens the parked event', /^\/corrections\/[^/?]+$/.test(new URL(page.url()).pathname), page.url());
}

/** F8 in the editor, and Ctrl Enter where one runs or sends. */
async function writing({ page, go, settled }) {
  const caret = () => page.evaluate(() => document.querySelector('.editor').shadowRoot.querySelector('.cm-activeLine')?.textContent ?? '');
  await go('/pipelines/mobile-data/document');
  await page.waitForSelector('text=No problems');
  await page.locator('.editor').click();
  await page.keyboard.press('Control+End');
  await page.keyboard.type('vaule: 1');
  await page.waitForSelector('button.problem');
  await page.keyboard.press('Control+Home');
  const top = await caret();
  await page.keyboard.press('F8');
  await page.waitForFunction((old) => document.querySelector('.editor').shadowRoot.querySelector('.cm-activeLine')?.textContent !== old, top, { timeout: 5_000 });
  check('F8 goes to the problem', (await caret()).includes('vaule'), await caret());
  await page.evaluate(() => sessionStorage.clear());
  page.once('dialog', (asked) => asked.accept());
  await go('/start');
  await page.locator('main textarea').focus();
  await page.keyboard.press('Control+Enter');
  await page.waitForSelector('li.lit');
  check('Ctrl Enter sends', true);
  await settled();
}
