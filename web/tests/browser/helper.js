// Helpers of the proofs: checks that are counted, pages whose troubles are noted, and waiting until
// a page has what it asked for.
import { AsyncLocalStorage } from 'node:async_hooks';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const places = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome', '/usr/bin/google-chrome-stable'];
export const chromium = places.find((path) => path && existsSync(path));
export const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
export const SIZES = { desk: { width: 1440, height: 1000 }, tablet: { width: 900, height: 1100 }, phone: { width: 390, height: 844 } };

/** The proof that is running; proofs of two lanes run at the same time. */
export const proof = new AsyncLocalStorage();
export const result = { passed: 0, skipped: 0, failures: [], proofs: new Set() };

/** Counts a check; a failure says what was found. */
export function check(name, ok, found = '') {
  if (ok) result.passed++;
  else {
    result.failures.push(`${name}: ${found}`);
    result.proofs.add(proof.getStore() ?? name);
    console.log(`FAILED ${name}: ${found}`);
  }
  return !!ok;
}

export function skip(name, why) {
  result.skipped++;
  console.log(`skipped ${name}: ${why}`);
}

/** Opens a page of its own profile; its troubles are collected. */
export async function open(browser, { theme = 'light', size = 'desk', zone = 'Europe/Oslo', base = '', context = null } = {}) {
  const own = context ?? (await browser.newContext({ viewport: SIZES[size], colorScheme: theme, timezoneId: zone, hasTouch: size === 'phone', isMobile: size === 'phone', reducedMotion: 'reduce' }));
  const page = await own.newPage();
  const troubles = [];
  let flying = 0;
  let last = Date.now();
  const asked = new Set();
  const counts = (request) => !/eventsource|other/.test(request.resourceType());
  page.on('console', (message) => {
    if (!['error', 'warning'].includes(message.type())) return;
    troubles.push(`${message.text()} ${message.location().url ?? ''}`);
  });
  page.on('pageerror', (why) => troubles.push(String(why)));
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (!['blob:', 'data:'].includes(url.protocol) && base && url.origin !== base) troubles.push(`a request to ${url.origin}`);
    asked.add(request);
    if (counts(request)) flying++;
    last = Date.now();
  });
  const landed = (request) => {
    asked.delete(request);
    if (counts(request)) flying--;
    last = Date.now();
  };
  page.on('requestfinished', landed);
  page.on('requestfailed', landed);
  /** Waits until the page is drawn and asks nothing any more. */
  const settled = async (quiet = 120) => {
    await page.waitForSelector('h1', { timeout: 30_000 }).catch((why) => {
      throw new Error(`${why.message}; without an answer: ${[...asked].map((request) => request.url()).join(' ')}`);
    });
    const end = Date.now() + 8_000;
    while (Date.now() < end) {
      if (flying <= 0 && Date.now() - last > quiet && !(await page.$('[aria-busy="true"]'))) break;
      await page.waitForTimeout(25);
    }
  };
  const go = async (path) => {
    flying = 0;
    asked.clear();
    await page.goto(base + path, { waitUntil: 'commit' });
    await settled();
  };
  const main = () => page.innerText('main');
  return { context: own, page, troubles, settled, go, main, close: () => own.close() };
}

/** Checks accessibility, width and console of the page as it is. */
export async function inspect(one, name, { expected = /^$/, rules = null } = {}) {
  const { page, troubles } = one;
  const found = await page.evaluate(async ({ source, only }) => {
    // The policy forbids inline scripts; the checker is brought in by the debugger.
    if (!window.axe) (0, eval)(source);
    const what = only ? { type: 'rule', values: only } : { type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22a', 'wcag22aa'] };
    // Rows of a list are alike; the first ones stand for the others.
    const all = await window.axe.run({ include: [['html']], exclude: [['tbody tr:nth-child(n+13)'], ['.tick']] }, { runOnly: what, resultTypes: ['violations'] });
    return all.violations.map((one) => `${one.id} (${one.nodes.length}): ${one.nodes[0].target} ${one.nodes[0].failureSummary?.split('\n')[1] ?? ''}`);
  }, { source: axe, only: rules });
  check(`${name}: accessible`, !found.length, found.join(' | '));
  if (rules) return;
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  check(`${name}: no sideways scrolling`, wide <= 0, `${wide} px`);
  const unexpected = troubles.filter((text) => !expected.test(text));
  check(`${name}: clean console, no other origin`, !unexpected.length, unexpected.slice(0, 3).join(' | '));
}

/** Counts clicks, and seconds until the answer is read. */
export function stopwatch() {
  const began = Date.now();
  let clicks = 0;
  let end = 0;
  return { click: () => clicks++, clicks: () => clicks, stop: () => (end = Date.now()), seconds: () => ((end || Date.now()) - began) / 1000 };
}

/** Searches in the palette and opens the first hit; counts as one click. */
export async function palette(one, text) {
  await one.page.keyboard.press('Control+k');
  await one.page.waitForSelector('dialog[open] input');
  await one.page.keyboard.type(text);
  await one.page.keyboard.press('Enter');
  await one.page.waitForFunction(() => !document.querySelector('dialog[open]'), null, { timeout: 10_000 });
  await one.settled();
}

export const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks until the answer fits, at most some seconds. */
export async function until(ask, fits, seconds = 30) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const found = await ask();
    if (fits(found) || Date.now() > end) return found;
    await wait(250);
  }
}
