// The notices of the libraries that are in the built dashboard: their licences ask for them.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Returns the folder of the package that a module is from; none if it is ours. */
function packageOf(module) {
  const found = /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(module.replaceAll('\\', '/').replace(/^\0/, '').split('?')[0]);
  return found?.[0];
}

function notice(folder) {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const file = readdirSync(folder).find((one) => /^licen[cs]e/i.test(one));
  if (!file) throw new Error(`${name} has no file of its licence`);
  return `${name} ${version}, ${license}\n\n${readFileSync(join(folder, file), 'utf8').trim()}\n`;
}

/** A plugin of Vite that adds `licences.txt`. */
export function licences() {
  return {
    name: 'licences',
    generateBundle(_, bundle) {
      const modules = Object.values(bundle).flatMap((chunk) => chunk.moduleIds ?? []);
      const folders = [...new Set(modules.map(packageOf).filter(Boolean))].sort();
      this.emitFile({ type: 'asset', fileName: 'licences.txt', source: `${folders.map(notice).join(`\n${'-'.repeat(72)}\n\n`)}` });
    },
  };
}
