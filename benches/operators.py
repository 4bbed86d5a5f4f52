"""The cost of operators: a job with an operator beside the same job without it, in one run.

Each job runs over N and over 3 N events; the CPU time of one event is the difference divided by 2 N,
so starting, reading a table and writing records that do not grow with events are not in it. The best
of some runs counts. Time is the kernel's, over all threads; each run has two threads.

usage: operators.py FLOWMETER FOLDER [--events N] [--only NAME,...] [--repeat R] [--keys N] [--before FLOWMETER]
"""

import argparse
import os
import random
import subprocess
import sys

from shapes import METER_KEY, timed

METER = f"meter: {{ key: {METER_KEY}, user: subject, rules: [{{ value: data.n, groupBy: [[data.model]] }}] }}"
TYPES = "meterTypes: [{ name: N, resetSchedule: monthly, flushEmpty: false }]"
SCRIPT = """function step(event) {
          event.data.model = event.data.model.toLowerCase();
          event.data.tokens = event.data.n + event.data.units;
          return event;
        }"""

# Name: what is measured for one of, the operator, tables.
OPERATORS = {
    "enrich": (
        "an event, a table of {keys} rows",
        "enrich: { table: plans, on: { customer: data.customer }, set: { data.plan: plan } }",
        "tables: [{{ name: plans, key: [customer], rowsMax: 10000000, file: {{ path: '{table}' }} }}]",
    ),
    "currency": (
        "an event",
        "currency: { table: rates, amount: data.n, from: data.currency, to: { value: EUR }, base: EUR, set: data.eur }",
        "tables: [{{ name: rates, key: [currency, date], file: {{ path: '{rates}' }} }}]",
    ),
    "split": ("a parent of 5 children", "split: { path: data.lines, into: data.line }", ""),
    "accumulate": (
        "an event, {keys} keys",
        "accumulate: { key: [data.customer], window: { schedule: monthly }, fields: { data.n: { sum: data.n } }, keep: [subject, data.model] }",
        "",
    ),
    "aggregate": (
        "an event, {keys} keys",
        "aggregate: { key: [data.customer], schedule: monthly, fields: { data.sum: { sum: data.n } } }",
        "",
    ),
    "rate": (
        "an event, {keys} keys",
        "rate: { quantity: data.n, set: data.amount, key: [data.customer], schedule: monthly, "
        "price: { model: graduated, tiers: [{ upTo: 1000, unit: 0 }, { unit: '0.01' }] } }",
        "",
    ),
    "script": ("an event, three lines", "script:\n      code: |\n        " + SCRIPT, ""),
}


def make(folder, events, keys, lines):
    """Makes events of users and customers in no order; with `lines`, each has a list of five."""
    path = os.path.join(folder, f"operators-{events}-{keys}-{lines}.ndjson")
    if os.path.exists(path):
        return path
    chance = random.Random(7)
    with open(path, "w") as file:
        for number in range(events):
            n = chance.randrange(1, 8000)
            minute = number * 40_000 // events
            part = ', "lines": [1, 2, 3, 4, 5]' if lines else ""
            file.write(
                f'{{"id": "{number}", "source": "s", "subject": "user-{chance.randrange(10_000)}", '
                f'"time": "2026-01-{1 + minute // 1440:02}T{minute // 60 % 24:02}:{minute % 60:02}:00Z", '
                f'"data": {{"customer": "c{chance.randrange(keys)}", "model": "M{n % 5}", "currency": "USD", '
                f'"n": {n}, "units": {n % 7}{part}}}}}\n'
            )
    return path


def tables(folder, keys):
    """Makes a table of customers and one of rates."""
    table, rates = os.path.join(folder, f"plans-{keys}.csv"), os.path.join(folder, "rates.csv")
    if not os.path.exists(table):
        with open(table, "w") as file:
            file.write("customer,plan\n")
            file.writelines(f"c{number},plan-{number % 9}\n" for number in range(keys))
    with open(rates, "w") as file:
        file.write("currency,date,rate\n")
        file.writelines(f"USD,2026-01-{day:02},1.0{day:02}\n" for day in range(1, 32))
    return table, rates


def cost(flowmeter, options, name, operator, declared, lines):
    """Returns the CPU seconds of one event of a job."""
    used = []
    for events in (options.events, 3 * options.events):
        path = make(options.folder, events, options.keys, lines)
        text = [f"pipeline: {name}", f"source: {{ file: {{ path: '{path}' }} }}", "dedupe: off", declared, "operators:"]
        text += [f"  - {operator}"] if operator else []
        document = os.path.join(options.folder, "operators.yaml")
        with open(document, "w") as file:
            file.write("\n".join([*text, f"  - {METER}", TYPES]) + "\n")
        output = os.path.join(options.folder, "operators.out.ndjson")
        command = [flowmeter, "run", document, "--as-of", "2026-03-01T00:00:00Z", "--threads", "2", "--output", output]
        used.append(min(timed(command)[1] for _ in range(options.repeat)))
        os.remove(output)
    return (used[1] - used[0]) / (2 * options.events)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("flowmeter", type=os.path.abspath)
    parser.add_argument("folder", type=os.path.abspath)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--only", default=",".join(OPERATORS))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--before", type=os.path.abspath)
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    table, rates = tables(options.folder, options.keys)
    programs = [options.flowmeter] + ([options.before] if options.before else [])
    plain = {(program, lines): cost(program, options, "plain", "", "", lines) for program in programs for lines in (False, True)}
    print("| operator | of | CPU µs without | CPU µs with | CPU µs of the operator |" + (" before |" if options.before else ""))
    print("|---|---|---:|---:|---:|" + ("---:|" if options.before else ""))
    for name in options.only.split(","):
        what, operator, declared = OPERATORS[name]
        lines = name == "split"
        declared = declared.format(table=table, rates=rates)
        costs = [cost(program, options, name, operator, declared, lines) * 1e6 for program in programs]
        without = [plain[program, lines] * 1e6 for program in programs]
        cells = [name, what.format(keys=f"{options.keys:,}"), f"{without[0]:.2f}", f"{costs[0]:.2f}", f"{costs[0] - without[0]:.2f}"]
        if options.before:
            cells.append(f"{costs[1] - without[1]:.2f}")
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
