// By hand: the dashboard with much data. Fills a server with a million meters, ten million events and
// a million parked events in 5,000 groups, then measures how soon each page shows its first row, and
// what ten open browsers cost the server while it counts.
//
//   FLOWMETER_BIN=/path/to/release/flowmeter node tests/browser/sizes.js
//   EVENTS=1000000 USERS=20000 PARKED=100000 … for a smaller one; FOLDER=/path keeps the data for a second run
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { promisify } from 'node:util';
import { chromium, open, wait } from './helper.js';
import { binary, clean, serve } from './server.js';

const number = (name, usual) => BigInt(process.env[name] ?? usual);
const EVENTS = number('EVENTS', 10_000_000);
const USERS = number('USERS', 200_000);
const PARKED = number('PARKED', 1_000_000);
const GROUPS = 5_000n;
const LOAD = Number(process.env.LOAD ?? 2_000_000);
const document = readFileSync(new URL('../../../benches/ingest.yaml', import.meta.url), 'utf8');
const run = promisify(execFile);
const agent = new Agent({ keepAlive: true, maxSockets: 8 });

function post(base, body) {
  return new Promise((resolve, reject) => {
    const asked = request(`${base}/api/v1/events`, { method: 'POST', agent, headers: { 'content-type': 'application/cloudevents-batch+json' } }, (answer) => {
      answer.resume();
      answer.on('end', () => (answer.statusCode < 300 ? resolve() : reject(new Error(`events were refused: ${answer.statusCode}`))));
    });
    asked.on('error', reject);
    asked.end(body);
  });
}

/** Events without a subject, each source a group of its own. */
async function park(base) {
  let next = 0n;
  const sender = async () => {
    while (next < PARKED) {
      const rows = [];
      for (let inBatch = 0; inBatch < 500 && next < PARKED; inBatch++, next++)
        rows.push(`{"specversion":"1.0","id":"p-${next}","source":"/source-${next % GROUPS}","type":"type-1","time":"2026-11-01T10:00:00Z","data":{"value":1}}`);
      await post(base, `[${rows.join(',')}]`);
    }
  };
  await Promise.all(Array.from({ length: 8 }, sender));
}

/** Events that are not sent yet, also not by an earlier run in the same folder. */
let next = 0;
async function load(base, events) {
  const of = ['--url', base, '--events', String(events), '--first', String(next), '--users', String(USERS)];
  next += Number(events);
  return JSON.parse((await run(binary, ['bench', 'ingest', ...of])).stdout);
}

/** How many events have a verdict. */
async function settled(server) {
  const text = await (await fetch(`${server.base}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line.startsWith('flowmeter_count_events_total'));
  return lines.reduce((all, line) => all + Number.parseInt(line.split(' ').at(-1), 10), 0);
}

/** Waits until as many events as were sent have a verdict. */
async function counted(server, sent) {
  while ((await settled(server)) < sent) await wait(50);
}

/** Seconds of CPU that the server has used. */
function cpu(server) {
  const fields = readFileSync(`/proc/${server.pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number.parseInt(fields[11], 10) + Number.parseInt(fields[12], 10)) / 100;
}

/** Milliseconds from the address to the first row: of a browser that has the page's files, the worst of three. */
async function first(one, base, path, row) {
  let worst = 0;
  for (let round = 0; round < 3; round++) {
    await one.page.goto('about:blank');
    const began = performance.now();
    await one.page.goto(base + path, { waitUntil: 'commit' });
    await one.page.waitForSelector(row, { timeout: 60_000 }).catch(async (why) => { throw new Error(`${path}: ${why.message}: ${(await one.main()).slice(0, 300)}`); });
    worst = Math.max(worst, performance.now() - began);
  }
  return Math.round(worst);
}

const usual = 'main tbody tr';
const pages = async (base) => {
  const get = async (path) => (await fetch(`${base}/api/v1/${path}`)).json();
  const meter = (await get('meters?limit=1')).items[0];
  const group = (await get('corrections/groups')).items[0];
  return [
    ['/', '.term.lead b'], ['/events?order=list', usual], ['/events?order=list&verdict=parked', usual], [`/events?order=list&subject=${meter.userId}`, usual], ['/sessions', usual], ['/pipelines', usual],
    ['/meter-types', usual], ['/meters', usual], [`/meters?user=${meter.userId}`, usual], [`/meters/${meter.id}/period`, 'main nav.tabs a'],
    ['/corrections', usual], ['/corrections?reason=no_user', usual], [`/corrections/group/${group.groupId}`, usual], ['/meter-types/Usage%200/usage', usual], ['/audit', usual],
  ];
};

/** CPU microseconds of the server for an event of a load. */
async function cost(server, events) {
  const before = await settled(server);
  const from = cpu(server);
  await load(server.base, events);
  await counted(server, before + events);
  return ((cpu(server) - from) * 1e6) / events;
}

async function browsers(engine, base) {
  const paths = ['/', '/events', '/meters', '/corrections', '/pipelines/bench-ingest/live', '/', '/events?verdict=parked', '/deliveries', '/meter-types/Usage%200/usage', '/'];
  return Promise.all(paths.map(async (path) => {
    const one = await open(engine, { base });
    await one.page.goto(base + path);
    return one;
  }));
}

if (!chromium || !binary) {
  console.log('SKIPPED: this needs a Chromium and a built flowmeter');
  process.exit(0);
}
const kept = process.env.FOLDER ? { fresh: process.env.FOLDER } : {};
const isFilled = !!process.env.FOLDER && existsSync(process.env.FOLDER);
const server = await serve('sizes', { settings: ['tracing.level=warn'], documents: () => ({ ingest: document }), ...kept });
try {
  if (!isFilled) {
    const began = Date.now();
    console.log(`events: ${(await load(server.base, EVENTS)).eventsPerSecond} a second`);
    await park(server.base);
    await counted(server, Number(EVENTS + PARKED));
    console.log(`filled in ${Math.round((Date.now() - began) / 1000)} s`);
  }
  next = await settled(server);
  await wait(2_000);
  const overview = await (await fetch(`${server.base}/api/v1/overview?from=2020-01-01T00:00:00Z`)).json();
  console.log(JSON.stringify({ totals: overview.totals, meters: overview.meters, corrections: overview.corrections }));
  const engine = await (await import('playwright-core')).chromium.launch({ executablePath: chromium, args: ['--no-sandbox', '--disable-gpu'] });
  const one = await open(engine, { base: server.base });
  for (const [path, row] of await pages(server.base)) console.log(`${String(await first(one, server.base, path, row)).padStart(6)} ms  ${path}`);
  await one.close();
  for (let round = 0; round < 3; round++) {
    const alone = await cost(server, LOAD);
    const opened = await browsers(engine, server.base);
    await wait(5_000);
    const beside = await cost(server, LOAD);
    await Promise.all(opened.map((each) => each.close()));
    console.log(`CPU of the server for an event: ${alone.toFixed(3)} µs alone, ${beside.toFixed(3)} µs with ten browsers`);
  }
  await engine.close();
} finally {
  if (kept.fresh) await server.stop();
  await clean();
}
