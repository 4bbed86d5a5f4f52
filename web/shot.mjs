import { chromium } from 'playwright-core';
const base = process.env.BASE ?? 'http://127.0.0.1:8890';
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
const jobs = process.argv.slice(2).map((a) => a.split('@'));
for (const [path, theme = 'light', size = 'desk', name = 'x', act] of jobs) {
  const viewport = { desk: { width: 1440, height: 1100 }, phone: { width: 390, height: 844 }, tablet: { width: 900, height: 1100 } }[size];
  const context = await browser.newContext({ viewport, colorScheme: theme, timezoneId: 'Europe/Oslo', deviceScaleFactor: 1, isMobile: size === 'phone', hasTouch: size === 'phone' });
  const page = await context.newPage();
  page.on('console', (m) => { if (['error', 'warning'].includes(m.type())) console.log(path, m.type(), m.text().slice(0, 300)); });
  page.on('pageerror', (e) => console.log(path, 'PAGEERROR', e.stack?.slice(0, 500)));
  await page.goto(base + path);
  await page.waitForTimeout(1600);
  if (act) { try { await eval(`(async()=>{${act}})()`); } catch (e) { console.log('act', e.message.slice(0, 300)); } await page.waitForTimeout(800); }
  await page.screenshot({ path: `/tmp/fmdemo/${name}.png` });
  await context.close();
}
await browser.close();
