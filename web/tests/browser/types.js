// The types of the API's answers are those of the document that the server serves.
import { readFileSync } from 'node:fs';
import { FILE, generate, read } from '../../scripts/types.js';
import { check } from './helper.js';

export default async function types(world) {
  const made = (await generate(await read(world.base))).split('\n');
  const kept = readFileSync(FILE, 'utf8').split('\n');
  const at = made.findIndex((line, number) => line !== kept[number]);
  const place = at < 0 ? made.length : at;
  check('the generated types are those of the server (npm run types)', made.join('\n') === kept.join('\n'), `line ${place + 1}: ${kept[place] ?? 'the end'}; the server has ${made[place] ?? 'the end'}`);
}
