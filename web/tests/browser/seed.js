// Sample data: three pipelines, events of the last days, some that cannot be counted, and values
// with up to 38 digits. The same at every run, but for the time.
import { createHash } from 'node:crypto';

/** Numbers that a page could spoil, as they are sent. */
export const EXACT = ['1842.00000000000000025', '9007199254740993', '1E+2', '-0', '12345678901234567890.123456789012345678', '0.000000000000000001'];
/** A user whose name is long, right-to-left, and looks like markup. */
export const ODD = '<script>alert(1)</script> عميل 🧾/%:' + 'x'.repeat(120);

const uuid = (name) => {
  const h = createHash('sha256').update(name).digest('hex');
  return `${h.slice(0, 8)}-${h.slice(8, 12)}-4${h.slice(13, 16)}-8${h.slice(17, 20)}-${h.slice(20, 32)}`;
};

export const documents = (address, folder) => ({
  'llm-usage': `pipeline: llm-usage
description: Tokens and storage per customer and model
source: { http: {} }
operators:
  - id: mine
    filter: { when: 'source == "/gateway-eu-1" || source == "/gateway-eu-2"' }
  - id: once
    dedupe: { key: [source, id], window: 32d }
  - id: only-ok
    filter: { when: 'data.status == "ok"' }
  - id: by-kind
    branch: { routes: [{ name: storage, when: 'type == "storage"' }] }
  - id: storage
    from: by-kind.storage
    meter:
      key: ${uuid('storage')}
      rules: [{ name: bytes, category: storage, value: data.bytes }]
  - id: usage
    from: by-kind.default
    meter:
      key: ${uuid('usage')}
      rules:
        - { name: tokens, category: llm, value: data.tokens, groupBy: [[data.model]] }
meterTypes:
  - { name: LLM tokens, category: llm, unit: tokens, resetSchedule: monthly, timezone: Europe/Oslo }
  - { name: Requests, category: llm, unit: requests, aggregation: increment, resetSchedule: hourly, timezone: Europe/Oslo }
  - { name: Storage, category: storage, unit: bytes, resetSchedule: daily, timezone: UTC }
targets:
  - { name: archive, file: { path: '${folder}/llm-usage.ndjson' } }
  - { name: biller, webhook: { url: '${address}' } }
`,
  'mobile-data': `pipeline: mobile-data
description: Megabytes per subscriber, by cell
source: { http: {} }
operators:
  - id: mine
    filter: { when: 'source == "/packet-core"' }
  - id: volume
    meter:
      key: ${uuid('volume')}
      rules: [{ name: megabytes, category: data, value: data.mb, groupBy: [[data.cell]] }]
meterTypes:
  - { name: Mobile data, category: data, unit: MB, resetSchedule: daily, timezone: Asia/Kolkata }
  - { name: 'Energy, kWh', category: power, unit: kWh, resetSchedule: hourly, timezone: America/Sao_Paulo }
targets:
  - { name: warehouse, file: { path: '${folder}/mobile-data.ndjson' } }
`,
});

let random = 42;
const next = (below) => {
  random = (random * 1103515245 + 12345) % 2147483648;
  return Math.floor((random / 2147483648) * below);
};
const MODELS = ['m-large', 'm-small', 'm-code', 'm-embed', 'm-vision', 'm-audio', 'm-old', 'm-tiny'];
let number = 0;

/** One event as JSON text; numbers are written as given. */
export function event({ id = `e-${++number}`, source = '/gateway-eu-1', type = 'llm.completion', subject = 'anna@shop', at = Date.now(), tokens = '120', model = 'm-large', extra = '' } = {}) {
  return `{"specversion":"1.0","id":${JSON.stringify(id)},"source":"${source}","type":"${type}","subject":${JSON.stringify(subject)},"time":"${new Date(at).toISOString()}","data":{"status":"ok","model":"${model}","tokens":${tokens}${extra}}}`;
}

function sample(at) {
  const kind = next(20);
  const subject = ['anna@shop', 'bergen-ai', 'contoso', `user-${100 + next(30)}`][next(4)];
  if (kind < 4) return `{"specversion":"1.0","id":"e-${++number}","source":"/packet-core","type":"cdr","subject":"+47900000${10 + next(40)}","time":"${new Date(at).toISOString()}","data":{"mb":${next(90)}.${next(900) + 100},"cell":"cell-${next(12)}"}}`;
  if (kind < 6) return `{"specversion":"1.0","id":"e-${++number}","source":"/gateway-eu-1","type":"storage","subject":"${subject}","time":"${new Date(at).toISOString()}","data":{"status":"ok","bytes":${next(90000)}}}`;
  if (kind < 7) return event({ at, subject, source: '/gateway-eu-2', extra: ',"note":"slow"' }).replace('"ok"', '"error"');
  return event({ at, subject, tokens: String(20 + next(4000)), model: MODELS[next(MODELS.length)], source: `/gateway-eu-${1 + next(2)}` });
}

/** Sends events as a batch and waits until they are counted. */
export async function post(base, events, headers = {}) {
  const answer = await fetch(`${base}/api/v1/events?wait=counted&partial=true`, { method: 'POST', headers: { 'content-type': 'application/cloudevents-batch+json', ...headers }, body: `[${events.join(',')}]` });
  if (!answer.ok && answer.status !== 207) throw new Error(`events were answered with ${answer.status}: ${await answer.text()}`);
}

/** Sends the events of the ten days before an instant. With `apart` they are the same in every process, whatever samples were made before. */
export async function seed(base, headers = {}, { now = Date.now(), apart = false } = {}) {
  const kept = [random, number];
  if (apart) [random, number] = [42, 0];
  const all = samples(now);
  if (apart) [random, number] = kept;
  await post(base, all, headers);
}

function samples(now) {
  const all = [];
  for (let at = 0; at < 1500; at++) all.push(sample(now - next(9 * 86_400_000)));
  for (let at = 0; at < 300; at++) all.push(sample(now - next(50 * 60_000)));
  const twice = event({ id: 'twice', at: now - 60_000 });
  all.push(twice, twice);
  // In the month that a meter shows, also in its first hours.
  const month = (at) => new Date(at).toLocaleString('en', { timeZone: 'Europe/Oslo', month: 'short' });
  const recent = (hours) => (month(now - hours * 3_600_000) === month(now) ? now - hours * 3_600_000 : now);
  for (const [at, tokens] of EXACT.entries()) all.push(event({ id: `exact-${at}`, subject: `digits-${at}`, tokens, at: recent(2) }));
  all.push(event({ id: 'odd', subject: ODD, at: recent(3) }));
  for (let at = 0; at < 12; at++) all.push(event({ id: `no-user-${at}`, subject: '', source: '/gateway-eu-2', at: now }));
  for (let at = 0; at < 3; at++) all.push(event({ id: `words-${at}`, tokens: '"12,5"', at: now }));
  all.push(event({ id: 'park-digits', subject: '', source: '/gateway-eu-2', tokens: EXACT[0], extra: `,"big":${EXACT[1]},"power":${EXACT[2]},"minus":${EXACT[3]}`, at: now }));
  return all;
}

/** Sends some events a second until it is stopped. */
export function flow(base, headers = {}, each = 10) {
  const timer = setInterval(() => post(base, Array.from({ length: each }, () => sample(Date.now() - next(20_000))), headers).catch(() => undefined), 1000);
  return () => clearInterval(timer);
}
