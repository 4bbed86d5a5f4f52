// JSON that keeps the text of every number: a digit that was sent is a digit that is shown.

/** A number as it was written. Short integers are numbers of JavaScript; everything else is this. */
export class Dec {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
  toString(): string {
    return this.text;
  }
  toJSON(): string {
    return this.text;
  }
}

export type Num = number | Dec;
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Json = any;

const SHORT = /^(0|-?[1-9]\d{0,14})$/;

/** Parses JSON; numbers that JavaScript might change become `Dec`. */
export function parse(text: string): Json {
  let at = 0;
  const fail = (): never => {
    throw new SyntaxError(`not JSON at character ${at}`);
  };
  const blank = () => {
    let c = text.charCodeAt(at);
    while (c === 32 || c === 10 || c === 13 || c === 9) c = text.charCodeAt(++at);
  };
  const string = (): string => {
    const start = at++;
    let plain = true;
    for (;;) {
      const c = text.charCodeAt(at);
      if (c === 34) break;
      if (c === 92) {
        plain = false;
        at++;
      }
      if (at >= text.length) fail();
      at++;
    }
    at++;
    return plain ? text.slice(start + 1, at - 1) : (JSON.parse(text.slice(start, at)) as string);
  };
  const value = (): Json => {
    blank();
    const c = text[at];
    if (c === '{') {
      at++;
      const object: Record<string, Json> = {};
      blank();
      if (text[at] === '}') {
        at++;
        return object;
      }
      for (;;) {
        blank();
        if (text[at] !== '"') fail();
        const name = string();
        blank();
        if (text[at++] !== ':') fail();
        const member = value();
        if (name === '__proto__') Object.defineProperty(object, name, { value: member, enumerable: true });
        else object[name] = member;
        blank();
        const next = text[at++];
        if (next === '}') return object;
        if (next !== ',') fail();
      }
    }
    if (c === '[') {
      at++;
      const list: Json[] = [];
      blank();
      if (text[at] === ']') {
        at++;
        return list;
      }
      for (;;) {
        list.push(value());
        blank();
        const next = text[at++];
        if (next === ']') return list;
        if (next !== ',') fail();
      }
    }
    if (c === '"') return string();
    const word = /[^\s,\]}]+/y;
    word.lastIndex = at;
    const found = word.exec(text)?.[0] ?? fail();
    at += found.length;
    if (found === 'true') return true;
    if (found === 'false') return false;
    if (found === 'null') return null;
    if (SHORT.test(found)) return JSON.parse(found);
    if (/^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(found)) return new Dec(found);
    return fail();
  };
  const result = value();
  blank();
  if (at < text.length) fail();
  return result;
}

/** Writes a value as JSON, numbers as they came. */
export function write(value: Json, indent = ''): string {
  const pad = (depth: string) => (indent ? `\n${depth}` : '');
  const inner = (value: Json, depth: string): string => {
    if (value instanceof Dec) return value.text;
    if (Array.isArray(value)) {
      if (!value.length) return '[]';
      const items = value.map((item) => pad(depth + indent) + inner(item, depth + indent));
      return `[${items.join(',')}${pad(depth)}]`;
    }
    if (value !== null && typeof value === 'object') {
      const names = Object.keys(value).filter((name) => value[name] !== undefined);
      if (!names.length) return '{}';
      const space = indent ? ' ' : '';
      const members = names.map((name) => `${pad(depth + indent)}${JSON.stringify(name)}:${space}${inner(value[name], depth + indent)}`);
      return `{${members.join(',')}${pad(depth)}}`;
    }
    return JSON.stringify(value) ?? 'null';
  };
  return inner(value, '');
}

export interface Token {
  kind: 'key' | 'text' | 'number' | 'word' | 'mark' | 'blank';
  text: string;
}

/** Splits JSON text into tokens and indents it. Values stay byte for byte. */
export function tokens(raw: string): Token[] {
  const out: Token[] = [];
  const scan = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;
  const found = raw.match(scan) ?? [];
  let depth = 0;
  const line = () => out.push({ kind: 'blank', text: `\n${'  '.repeat(depth)}` });
  found.forEach((text, at) => {
    const next = found[at + 1];
    if (text === '{' || text === '[') {
      out.push({ kind: 'mark', text });
      if (next !== '}' && next !== ']') {
        depth++;
        line();
      }
    } else if (text === '}' || text === ']') {
      const before = found[at - 1];
      if (before !== '{' && before !== '[') {
        depth = Math.max(0, depth - 1);
        line();
      }
      out.push({ kind: 'mark', text });
    } else if (text === ',') {
      out.push({ kind: 'mark', text });
      line();
    } else if (text === ':') {
      out.push({ kind: 'mark', text: ': ' });
    } else if (text.startsWith('"')) {
      out.push({ kind: next === ':' ? 'key' : 'text', text });
    } else {
      out.push({ kind: /^[-\d]/.test(text) ? 'number' : 'word', text });
    }
  });
  return out;
}

/** Indents JSON text; values stay byte for byte. */
export function pretty(raw: string): string {
  return tokens(raw).map((token) => token.text).join('');
}

/** Returns the text of a top-level member as it was sent; empty if there is none. */
export function rawMember(raw: string, name: string): string {
  const scan = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;
  let depth = 0;
  let key = '';
  let start = -1;
  for (let found = scan.exec(raw); found; found = scan.exec(raw)) {
    const text = found[0];
    if (start >= 0 && depth === 1 && (text === ',' || text === '}')) return raw.slice(start, found.index).trim();
    if (text === '{' || text === '[') depth++;
    else if (text === '}' || text === ']') depth--;
    else if (depth === 1 && text.startsWith('"') && start < 0) key = text;
    else if (depth === 1 && text === ':' && key === JSON.stringify(name)) start = scan.lastIndex;
  }
  return '';
}
