// Proves the dashboard in a real browser against a real server.
//
//   FLOWMETER_BIN=/path/to/flowmeter node tests/browser/run.js [pages questions …]
//
// Serves web/build if it is there, else what the binary has embedded. Needs a Chromium of the
// system (or CHROMIUM=/path); without one it says so and ends with 0.
import { spawnSync } from 'node:child_process';
import { check, chromium, proof, result, until } from './helper.js';
import { binary, biller, clean, serve } from './server.js';
import { documents, flow, seed } from './seed.js';

// Proofs of one lane share the sample data or the processor; the lanes run at the same time.
const LANES = [['questions', 'acts', 'exactness', 'keyboard', 'views'], ['types', 'work', 'ledger', 'security', 'namespaces', 'zones', 'versions', 'live']];
const LAST = ['pages', 'pictures'];
if (!chromium || !binary) {
  console.log(`SKIPPED: the browser tests need ${chromium ? 'a built flowmeter (cargo build, or FLOWMETER_BIN=/path)' : 'a Chromium (CHROMIUM=/path)'}`);
  process.exit(0);
}
const wanted = process.argv.slice(2);
const chosen = (names) => names.filter((name) => !wanted.length || wanted.includes(name));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => clean().finally(() => process.exit(1)));
process.on('unhandledRejection', (why) => check('no promise is left alone', false, String(why.stack ?? why).slice(0, 400)));
const began = Date.now();
const { chromium: engine } = await import('playwright-core');
let browser;
let stop = () => undefined;
let target;
try {
  target = await biller();
  const server = await serve('world', { settings: ['notifications.allow_private=true', 'tracing.level=warn'], documents: (folder) => documents(target.address, folder) });
  await seed(server.base);
  stop = flow(server.base);
  const api = async (path) => (await fetch(`${server.base}/api/v1/${path}`)).json();
  await until(() => api('records?limit=1'), (all) => all.items?.length, 40);
  await until(() => api('corrections/groups'), (all) => all.items?.length, 20);
  browser = await engine.launch({ executablePath: chromium, args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--no-first-run'] });
  const world = { browser, base: server.base, server, target, api };
  const prove = async (names) => {
    for (const name of chosen(names)) {
      const from = Date.now();
      try {
        const { default: run } = await import(`./${name}.js`);
        await proof.run(name, () => run(world));
      } catch (why) {
        proof.run(name, () => check(name, false, String(why.stack ?? why).split('\n').slice(0, 9).join(' ')));
      }
      console.log(`${name} in ${Math.round((Date.now() - from) / 100) / 10} s`);
    }
  };
  await Promise.all(LANES.map(prove));
  await prove(LAST);
} catch (why) {
  check('the tests', false, String(why.stack ?? why));
} finally {
  stop();
  await browser?.close();
  target?.close();
  await clean();
}
console.log(`${result.passed} passed, ${result.failures.length} failed, ${result.skipped} skipped, ${Math.round((Date.now() - began) / 1000)} s`);
// A machine that is busy with something else may be too slow for a page: what failed is tried twice more.
const tries = Number(process.env.FLOWMETER_BROWSER_TRIES ?? 2);
const again = [...result.proofs].filter((name) => [...LANES.flat(), ...LAST].includes(name));
if (result.failures.length && again.length === result.proofs.size && tries > 0) {
  console.log(`once more: ${again.join(' ')}`);
  const second = spawnSync(process.execPath, [process.argv[1], ...again], { stdio: 'inherit', env: { ...process.env, FLOWMETER_BROWSER_TRIES: String(tries - 1) } });
  process.exit(second.status ?? 1);
}
process.exit(result.failures.length ? 1 : 0);
