// By hand: an hour of events as they come. The memory of the page must stay flat.
//
//   FLOWMETER_BIN=/path/to/release/flowmeter node tests/browser/hour.js
//   MINUTES=60 RATE=10000 are the usual values.
import { chromium, open, wait } from './helper.js';
import { event, post } from './seed.js';
import { binary, clean, serve } from './server.js';

const whole = (name, usual) => Number.parseInt(process.env[name] ?? usual, 10);
const MINUTES = whole('MINUTES', 60);
const RATE = whole('RATE', 10_000);
const BATCHES = 10;

if (!chromium || !binary) {
  console.log('SKIPPED: this needs a Chromium and a built flowmeter');
  process.exit(0);
}
const server = await serve('hour', { settings: ['tracing.level=warn', 'event_store.enabled=false'] });
let sent = 0;
let stopped = false;
async function send() {
  let due = Date.now();
  while (!stopped) {
    const rows = Array.from({ length: RATE / BATCHES }, (_, at) => event({ id: `h-${sent + at}`, subject: `user-${(sent + at) % 1_000}` }));
    await post(server.base, rows);
    sent += rows.length;
    due += 1_000 / BATCHES;
    await wait(Math.max(0, due - Date.now()));
  }
}
const engine = await (await import('playwright-core')).chromium.launch({ executablePath: chromium, args: ['--no-sandbox', '--disable-gpu'] });
try {
  const pages = [];
  for (const path of ['/events', '/']) {
    const one = await open(engine, { base: server.base });
    await one.go(path);
    const devtools = await one.context.newCDPSession(one.page);
    await devtools.send('HeapProfiler.enable');
    await devtools.send('Performance.enable');
    pages.push({ path, one, devtools });
  }
  const sending = send();
  const began = Date.now();
  for (let minute = 0; minute <= MINUTES; minute += 5) {
    await wait(Math.max(0, began + minute * 60_000 + 30_000 - Date.now()));
    for (const { path, devtools } of pages) {
      await devtools.send('HeapProfiler.collectGarbage');
      const found = Object.fromEntries((await devtools.send('Performance.getMetrics')).metrics.map((one) => [one.name, one.value]));
      console.log(`${String(minute).padStart(3)} min  ${path.padEnd(8)} heap ${(found.JSHeapUsedSize / 1e6).toFixed(2)} MB, ${found.Nodes} nodes, ${found.JSEventListeners} listeners, ${((found.TaskDuration / ((Date.now() - began) / 1000)) * 1000).toFixed(0)} ms of the main thread a second, ${sent} events`);
    }
  }
  for (const { path, one } of pages) if (one.troubles.length) console.log(`${path}: ${one.troubles.slice(0, 3).join(' | ')}`);
  stopped = true;
  await sending;
} finally {
  stopped = true;
  await engine.close();
  await clean();
}
