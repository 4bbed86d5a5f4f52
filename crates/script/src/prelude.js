// Builds what a script sees: exact decimals, a clock that stands at the receipt of the event, no
// randomness, no code from text. Everything is frozen, so that no event leaves a trace that
// another one could see. Returns the functions that the host needs.
(function (native) {
  'use strict';
  const { defineProperty, getOwnPropertyDescriptor, getPrototypeOf, create, freeze } = Object;
  const hidden = (object, name, value) =>
    defineProperty(object, name, { value, enumerable: false, configurable: true, writable: true });

  // Exact decimals.
  const texts = new WeakMap();
  const getText = texts.get.bind(texts), setText = texts.set.bind(texts), hasText = texts.has.bind(texts);
  const make = (text) => {
    native.madeDecimal();
    const decimal = create(Decimal.prototype);
    setText(decimal, text);
    return decimal;
  };
  // The primitive value of an object that holds one, as JSON.stringify takes it.
  const unboxed = (value) => {
    if (value instanceof Number) return Number(value);
    if (value instanceof String) return String(value);
    if (value instanceof Boolean) return valueOfBoolean(value);
    return undefined;
  };
  const valueOfBoolean = (value) => Boolean.prototype.valueOf.call(value);
  const textOf = (value) => {
    if (typeof value === 'object' && value !== null && hasText(value)) return getText(value);
    if (typeof value === 'number' && Number.isFinite(value)) return native.canonical(native.numberText(value));
    if (typeof value === 'bigint') return native.canonical(value.toString());
    if (typeof value === 'string') return native.canonical(value);
    throw new TypeError('expected a Decimal, a number, or a number as text');
  };
  function Decimal(value) { return make(textOf(value)); }
  const own = (value) => {
    if (typeof value !== 'object' || value === null || !hasText(value)) throw new TypeError('not a Decimal');
    return getText(value);
  };
  Decimal.prototype = {
    add(other) { return make(native.add(own(this), textOf(other))); },
    sub(other) { return make(native.sub(own(this), textOf(other))); },
    mul(other) { return make(native.mul(own(this), textOf(other))); },
    div(other, places = 18, rounding = 'half_even') {
      return make(native.div(own(this), textOf(other), places, String(rounding)));
    },
    cmp(other) { return native.cmp(own(this), textOf(other)); },
    toString() { return own(this); },
    toJSON() { return own(this); },
    valueOf() { throw new TypeError('a Decimal is no number: use add, sub, mul, div and cmp'); },
    [Symbol.toPrimitive](hint) {
      if (hint === 'string') return own(this);
      throw new TypeError('a Decimal is no number: use add, sub, mul, div and cmp');
    },
  };
  for (const name of Object.keys(Decimal.prototype)) hidden(Decimal.prototype, name, Decimal.prototype[name]);
  hidden(Decimal.prototype, 'constructor', Decimal);
  hidden(globalThis, 'Decimal', Decimal);

  // The clock stands at the receipt of the event; the zone is UTC.
  let now = 0;
  const RealDate = Date;
  const parse = (text) => {
    // A date alone is UTC already; an offset stands behind a time of day, a zone behind anything.
    const isDate = /^[+-]?\d{4,6}(?:-\d\d(?:-\d\d)?)?$/.test(text);
    const isZoned = /\d:\d\d(?::\d\d(?:[.,]\d+)?)?\s*(?:[AP]M)?\s*(?:Z|[+-]\d\d:?\d\d)|\b(?:GMT|UTC|[ECMP][SD]T)\b/i.test(text);
    if (isDate || isZoned) return RealDate.parse(text);
    const utc = RealDate.parse(text + 'Z');
    return Number.isNaN(utc) ? RealDate.parse(text + ' UTC') : utc;
  };
  function FixedDate(...parts) {
    if (new.target === undefined) return new RealDate(now).toString();
    let time = now;
    if (parts.length === 1) {
      let value = parts[0] instanceof RealDate ? parts[0].getTime() : parts[0];
      if (typeof value === 'object' && value !== null) value = value.valueOf();
      if (typeof value === 'object' && value !== null) value = String(value);
      time = typeof value === 'string' ? parse(value) : value;
    } else if (parts.length > 1) {
      time = RealDate.UTC(...parts);
    }
    return Reflect.construct(RealDate, [time], new.target);
  }
  FixedDate.prototype = RealDate.prototype;
  hidden(RealDate.prototype, 'constructor', FixedDate);
  hidden(FixedDate, 'now', () => now);
  hidden(FixedDate, 'parse', (text) => parse(String(text)));
  hidden(FixedDate, 'UTC', RealDate.UTC);
  hidden(globalThis, 'Date', FixedDate);
  for (const name of ['FullYear', 'Month', 'Date', 'Day', 'Hours', 'Minutes', 'Seconds', 'Milliseconds']) {
    for (const verb of ['get', 'set']) {
      const utc = RealDate.prototype[`${verb}UTC${name}`];
      if (utc) hidden(RealDate.prototype, verb + name, function (...parts) { return utc.apply(this, parts); });
    }
  }
  delete RealDate.prototype.getYear;
  delete RealDate.prototype.setYear;
  const two = (number) => String(number).padStart(2, '0');
  const dates = {
    getTimezoneOffset() { return 0; },
    toDateString() { const p = this.toUTCString().split(' '); return `${p[0].slice(0, 3)} ${p[2]} ${p[1]} ${p[3]}`; },
    toTimeString() { return `${this.toUTCString().split(' ')[4]} GMT+0000 (Coordinated Universal Time)`; },
    toString() { return Number.isNaN(this.getTime()) ? 'Invalid Date' : `${this.toDateString()} ${this.toTimeString()}`; },
    toLocaleDateString() { return `${this.getUTCMonth() + 1}/${this.getUTCDate()}/${this.getUTCFullYear()}`; },
    toLocaleTimeString() {
      const hour = this.getUTCHours();
      return `${hour % 12 || 12}:${two(this.getUTCMinutes())}:${two(this.getUTCSeconds())} ${hour < 12 ? 'AM' : 'PM'}`;
    },
    toLocaleString() { return `${this.toLocaleDateString()}, ${this.toLocaleTimeString()}`; },
  };
  for (const name of Object.keys(dates)) hidden(RealDate.prototype, name, dates[name]);

  // Locale functions behave as `en`.
  hidden(Number.prototype, 'toLocaleString', function () {
    const value = this.valueOf();
    if (!Number.isFinite(value)) return String(value);
    const [whole, part = ''] = Math.abs(value).toFixed(3).split('.');
    const fraction = part.replace(/0+$/, '');
    const grouped = whole.replace(/\B(?=(\d{3})+(?!\d))/g, ',');
    return `${value < 0 ? '-' : ''}${grouped}${fraction ? `.${fraction}` : ''}`;
  });

  // No randomness, no code from text, nothing that depends on the collector of garbage.
  const refuse = (what) => () => { throw new TypeError(`${what} is not available in a script`); };
  hidden(Math, 'random', refuse('Math.random'));
  const makers = [function () {}, function* () {}, async function () {}, async function* () {}];
  for (const maker of makers) hidden(getPrototypeOf(maker), 'constructor', refuse('code from text'));
  hidden(globalThis, 'Function', refuse('code from text'));
  hidden(globalThis, 'eval', refuse('eval'));
  hidden(globalThis, 'crypto', new Proxy({}, { get: refuse('crypto') }));
  delete Error.stackTraceLimit;
  delete Error.prepareStackTrace;
  for (const name of ['WeakRef', 'FinalizationRegistry', 'Atomics', 'SharedArrayBuffer', 'performance', 'queueMicrotask']) {
    delete globalThis[name];
  }

  // The context of an event.
  let key, keyText = '[]';
  const context = {
    get key() { return key ??= freeze(native.read(keyText)); },
    get receivedAt() { return now; },
    get operator() { return native.operator(); },
    state: freeze({
      get(name) { const text = native.stateGet(String(name)); return text === undefined ? undefined : native.read(text); },
      set(name, value) { native.stateSet(String(name), native.write(value)); },
      remove(name) { native.stateRemove(String(name)); },
      getAll() { return native.read(native.stateAll()); },
    }),
    count(name, n = 1) { native.count(String(name), n); },
    fail(text) { native.fail(String(text)); throw new Error(String(text)); },
  };

  // A frozen property cannot be set on an object that inherits it, which `this.name = …` in a
  // class of errors needs. So data of these prototypes become accessors that set an own property.
  const settable = (prototype) => {
    for (const name of Reflect.ownKeys(prototype)) {
      const property = getOwnPropertyDescriptor(prototype, name);
      if (!('value' in property) || !property.configurable) continue;
      const { value, enumerable } = property;
      defineProperty(prototype, name, {
        enumerable,
        configurable: true,
        get() { return value; },
        set(other) {
          if (this === prototype) throw new TypeError(`${String(name)} is frozen`);
          defineProperty(this, name, { value: other, enumerable: true, configurable: true, writable: true });
        },
      });
    }
  };
  [Object, Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError, AggregateError].forEach(
    (constructor) => settable(constructor.prototype));

  const seen = new Set();
  const freezeAll = (root) => {
    const left = [root];
    while (left.length > 0) {
      const value = left.pop();
      if ((typeof value !== 'object' && typeof value !== 'function') || value === null || seen.has(value)) continue;
      seen.add(value);
      for (const name of Reflect.ownKeys(value)) {
        const property = getOwnPropertyDescriptor(value, name);
        left.push(property.value, property.get, property.set);
      }
      left.push(getPrototypeOf(value));
      if (!ArrayBuffer.isView(value)) freeze(value);
    }
  };
  const helpers = typeof Iterator === 'function' && [].values().map
    ? [[].values().map((x) => x), Iterator.from({ next() {} })] : [];
  [globalThis, context, ...makers, [][Symbol.iterator](), new Map().keys(), new Set().keys(), ''[Symbol.iterator](), 'a'.matchAll(/a/g), ...helpers].forEach(freezeAll);

  return {
    make,
    prototype: Decimal.prototype,
    plain: Object.prototype,
    textOf: getText,
    unboxed,
    context,
    begin(at, keys) { now = at; key = undefined; keyText = keys; },
  };
})
