// Servers for the tests: a flowmeter on a free port with a temporary folder, and a target that can
// be set to refuse.
import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = new URL('../../..', import.meta.url).pathname;
const places = [process.env.FLOWMETER_BIN, join(root, 'target/debug/flowmeter'), join(root, 'target/release/flowmeter')];
/** The binary; none if nothing is built. */
export const binary = places.find((path) => path && existsSync(path));
const folder = mkdtempSync(join(tmpdir(), 'flowmeter-browser-'));
const children = new Set();
// A copy: building again while the proofs run changes nothing.
const dashboard = join(folder, 'dashboard');
if (existsSync(join(root, 'web/build/index.html'))) cpSync(join(root, 'web/build'), dashboard, { recursive: true });

/** The variables of this process without settings of a server. */
const clear = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('FLOWMETER_')));

/** Starts a server with the dashboard that is built, and waits for its address. */
export function serve(name, { env = {}, settings = [], listen = '127.0.0.1:0', fresh = join(folder, name), documents = null, clock = '' } = {}) {
  const args = ['serve', '--listen', listen, '--data', fresh, ...(existsSync(dashboard) ? ['--set', `dashboard.dir=${dashboard}`] : []), ...settings.flatMap((one) => ['--set', one])];
  if (clock) args.push('--test-clock', clock);
  if (documents) {
    mkdirSync(`${fresh}-in`, { recursive: true });
    for (const [file, text] of Object.entries(documents(`${fresh}-in`))) {
      writeFileSync(join(`${fresh}-in`, `${file}.yaml`), text);
      args.push('--pipeline', join(`${fresh}-in`, `${file}.yaml`));
    }
  }
  return new Promise((resolve, reject) => {
    const child = spawn(binary, args, { env: { ...clear, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    children.add(child);
    const one = { base: '', log: '', folder: fresh, pid: child.pid, stop: () => stop(child) };
    const look = (chunk) => {
      one.log += chunk;
      const found = /dashboard: (http\S+?)\/?\s/.exec(one.log);
      if (found && !one.base) {
        one.base = found[1];
        resolve(one);
      }
    };
    child.stdout.on('data', look);
    child.stderr.on('data', (chunk) => (one.log += chunk));
    child.on('exit', (code) => {
      children.delete(child);
      reject(new Error(`${name} ended with ${code}: ${one.log}`));
    });
  });
}

function stop(child) {
  if (child.exitCode !== null) return Promise.resolve();
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  return ended;
}

/** A webhook that refuses while `refuse` is set. */
export async function biller() {
  const state = { refuse: true, taken: 0, address: '', close: () => undefined };
  const server = createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      if (state.refuse) {
        response.writeHead(503, { 'content-type': 'text/plain' });
        response.end('upstream unavailable');
      } else {
        state.taken++;
        response.writeHead(204);
        response.end();
      }
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  state.address = `http://127.0.0.1:${server.address().port}/records`;
  state.close = () => server.close();
  return state;
}

/** Ends all servers and removes their folders. */
export async function clean() {
  await Promise.all([...children].map(stop));
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
