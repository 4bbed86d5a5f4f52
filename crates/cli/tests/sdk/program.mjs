// Every call of OpenMeter's JavaScript client, against Flowmeter; prints `ok` at the end.
import { deepStrictEqual as check } from 'node:assert'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

// The package is installed beside the build, not beside this file.
const found = createRequire(process.env.SDK_HOME + '/package.json').resolve('@openmeter/sdk')
const { OpenMeter } = await import(pathToFileURL(found))

const openmeter = new OpenMeter({ baseUrl: process.env.OPENMETER_URL, apiKey: 'om_test' })
const at = new Date('2024-01-01T00:00:00.123Z')
const day = 24 * 3600 * 1000
const event = (number, more = {}) => ({
  id: `js-${number}`, source: 'my-app', type: 'completion', subject: 'customer-1', time: at,
  data: { tokens: number, model: 'gpt-4o' }, ...more,
})

const meter = await openmeter.meters.create({
  slug: 'js_tokens', name: 'Tokens', aggregation: 'SUM', eventType: 'completion', valueProperty: '$.tokens',
  groupBy: { model: '$.model' },
})
check(meter.slug, 'js_tokens')
check((await openmeter.meters.list()).map((known) => known.slug), ['js_tokens'])
check((await openmeter.meters.get('js_tokens')).id, meter.id)

await openmeter.events.ingest(event(101))
await openmeter.events.ingest({ type: 'completion', subject: 'customer-2', data: { tokens: 1 } })
await openmeter.events.ingest([event(102, { time: new Date(at.getTime() + day) }), event(103, { data: { tokens: 103, model: 'o1' } })])

const all = await openmeter.meters.query('js_tokens')
check(all.data.map((row) => row.value), [307])

const rows = await openmeter.meters.query('js_tokens', {
  from: new Date(at.getTime() - day), to: new Date(at.getTime() + 3 * day), windowSize: 'DAY',
  windowTimeZone: 'America/New_York', subject: ['customer-1', 'customer-2'], groupBy: ['model'],
  filterGroupBy: { model: 'gpt-4o' },
})
check(rows.data.map((row) => [row.windowStart.toISOString(), row.subject, row.groupBy, row.value]), [
  ['2023-12-31T05:00:00.000Z', 'customer-1', { model: 'gpt-4o' }, 101],
  ['2024-01-01T05:00:00.000Z', 'customer-1', { model: 'gpt-4o' }, 102],
])

const events = await openmeter.events.list()
// By event time, the newest first: the event without a time came just now.
check(events[1].event.id, 'js-102')
check(events[0].event.time instanceof Date, true)

await openmeter.meters.delete('js_tokens')
check(await openmeter.meters.list(), [])
console.log('ok')
