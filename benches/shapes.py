"""Shapes of metering jobs that people have, here and in DuckDB, on the same data in one run.

Each job drops repetitions of (source, id), keeps status "ok" and writes a JSON object for each
user, meter type and period. Flowmeter writes whole metered records. DuckDB writes the same record
(--rows record), or only user, period, value, count, times and groups (--rows bare): a fifth of the
bytes. Every process runs alone on two threads; time and peak memory are the kernel's, the best of
some runs counts. Numbers of records and sums are compared. Ratios are DuckDB's figure divided by
Flowmeter's.

usage: shapes.py FLOWMETER FOLDER [--events N] [--only NAME,...] [--rows record|bare] [--repeat R] [--before FLOWMETER]
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from decimal import Decimal

import duckdb

METER_KEY = "0b2f6ac4-7f3c-4a55-9d43-0d1c7a3d6e10"

TOKENS = "{ name: Tokens, category: a, aggregation: sum, resetSchedule: monthly, flushEmpty: false }"
COST = "{ name: Cost, category: b, aggregation: sum, resetSchedule: monthly, flushEmpty: false }"
CALLS = "{ name: Calls, category: a, aggregation: increment, resetSchedule: weekly, flushEmpty: false }"
LARGEST = "{ name: Largest, category: a, aggregation: max, resetSchedule: monthly, flushEmpty: false }"
MEAN = "{ name: Mean, category: a, aggregation: avg, resetSchedule: monthly, flushEmpty: false }"

# Rules and meter types, and for each meter type: name, value, period, aggregation, groups.
JOBS = {
    "one": (
        ["{ name: tokens, category: a, value: data.tokens, groupBy: [[data.model]] }"],
        [TOKENS],
        [("Tokens", "tokens", "month", "sum", ["model"])],
    ),
    "two": (
        [
            "{ name: tokens, category: a, value: data.tokens, groupBy: [[data.model]] }",
            "{ name: cost, category: b, value: data.cost, groupBy: [[data.model]] }",
        ],
        [TOKENS, COST],
        [("Tokens", "tokens", "month", "sum", ["model"]), ("Cost", "cost", "month", "sum", ["model"])],
    ),
    "wide": (
        ["{ name: tokens, category: a, value: data.tokens, groupBy: [[data.model, data.region]] }"],
        [TOKENS, CALLS, LARGEST, MEAN],
        [
            ("Tokens", "tokens", "month", "sum", ["model", "region"]),
            ("Calls", "tokens", "week", "count", ["model", "region"]),
            ("Largest", "tokens", "month", "max", ["model", "region"]),
            ("Mean", "tokens", "month", "avg", ["model", "region"]),
        ],
    ),
}

# Name: job, users, format of the events.
SHAPES = {
    "one": ("one", 100_000, "ndjson"),
    "two": ("two", 100_000, "ndjson"),
    "wide": ("wide", 100_000, "ndjson"),
    "many": ("two", 2_000_000, "ndjson"),
    "csv": ("two", 100_000, "csv"),
    "parquet": ("two", 100_000, "parquet"),
}

# The value of a period of the values and counts of its groups, and that of a group.
TOTAL = {"sum": "sum(v)", "count": "sum(n)", "max": "max(v)", "avg": "sum(s) / sum(n)"}
OF_GROUP = {"sum": "sum({0})", "count": "count(*)", "max": "max({0})", "avg": "avg({0})"}
MILLIS = "'%Y-%m-%dT%H:%M:%S.%gZ'"


def make(folder, users, form, events):
    """Makes the events of a shape: 1 of 100 is repeated, 1 of 50 is an error, few users have most of them."""
    path = os.path.join(folder, f"events-{users}-{events}.{form}")
    if os.path.exists(path):
        return path
    flat = f"""
      SELECT printf('%016x', hash(j * 7 + 1)) AS id, '/gateway/' || (hash(j * 3) % 8) AS source, 'llm.completion' AS type,
        'customer-' || CAST(floor({users} * pow((hash(j * 11) % 1000000) / 1000000.0, 2)) AS BIGINT) AS subject,
        strftime(TIMESTAMP '2026-01-01' + INTERVAL (CAST(j * 7776000000 / {events} AS BIGINT)) MILLISECOND, {MILLIS}) AS time,
        ['small', 'medium', 'large', 'vision', 'embed'][CAST(1 + hash(j * 13) % 5 AS BIGINT)] AS model,
        ['eu-north-1', 'us-east-1', 'ap-south-1'][CAST(1 + hash(j * 17) % 3 AS BIGINT)] AS region,
        CAST(1 + hash(j * 19) % 7999 AS BIGINT) AS tokens, CAST((hash(j * 23) % 30000) / 10000.0 AS DECIMAL(18, 4)) AS cost,
        CASE WHEN hash(j * 29) % 50 = 0 THEN 'error' ELSE 'ok' END AS status
      FROM (SELECT CASE WHEN hash(i) % 100 = 0 AND i > 10 THEN i - 7 ELSE i END AS j FROM range({events}) t(i))"""
    nested = f"""
      SELECT '1.0' AS specversion, id, source, type, subject, time,
        {{'model': model, 'region': region, 'tokens': tokens, 'cost': cost, 'status': status}} AS data FROM ({flat})"""
    select, options = {
        "ndjson": (nested, "FORMAT json"),
        "csv": (flat, "FORMAT csv, HEADER"),
        "parquet": (flat, "FORMAT parquet, COMPRESSION zstd"),
    }[form]
    duckdb.connect().execute(f"COPY ({select}) TO '{path}' ({options})")
    return path


def document(name, path):
    """Returns the pipeline of a shape."""
    job, _, form = SHAPES[name]
    rules, types, _ = JOBS[job]
    lines = [
        f"pipeline: {name}",
        f"source: {{ file: {{ path: '{path}', format: {form} }} }}",
        "operators:",
        "  - dedupe: { key: [source, id] }",
        "  - filter: { when: 'data.status == \"ok\"' }",
        f"  - meter: {{ key: {METER_KEY}, user: subject, match: all, rules: [{', '.join(rules)}] }}",
        "meterTypes:",
        *[f"  - {kind}" for kind in types],
    ]
    text = "\n".join(lines) + "\n"
    # Columns have no object around them.
    return text if form == "ndjson" else text.replace("data.", "")


def query(rows, name, value, period, aggregation, groups):
    """Returns the query of a meter type."""
    key = f"concat_ws(',', {', '.join(groups)})"
    of_groups = f"""
      SELECT subject, date_trunc('{period}', time) AS p, {key} AS k, {OF_GROUP[aggregation].format(value)} AS v, sum({value}) AS s,
        count(*) AS n, min(time) AS f, max(time) AS l FROM first_seen GROUP BY ALL"""
    if rows == "bare":
        return f"""
          SELECT '{name}' AS meterTypeName, subject AS userId, p AS periodStart, {TOTAL[aggregation]} AS value, sum(n) AS n,
            min(f) AS f, max(l) AS l, list({{'k': k, 'v': v}}) AS groups FROM ({of_groups}) GROUP BY ALL"""
    fields = ", ".join(f"'{group}': split_part(k, ',', {place + 1})" for place, group in enumerate(groups))
    return f"""
      SELECT NULL AS carryFirst, NULL AS carryLast, strftime(p, {MILLIS}) AS createdAt, false AS deleteOnReset,
        list({{'fields': {{{fields}}}, 'key': '{','.join(groups)}:' || k, 'value': v}} ORDER BY k) AS groups,
        md5(subject || '{name}')::UUID::VARCHAR AS id, '{METER_KEY}' AS meterKey,
        {{'eventCount': sum(n)::BIGINT, 'firstEvent': strftime(min(f), {MILLIS}), 'lastEvent': strftime(max(l), {MILLIS}),
          'recordId': md5(subject || '{name}' || p)::UUID::VARCHAR, 'revision': 0}} AS meterMetaData,
        md5('{name}')::UUID::VARCHAR AS meterTypeId, '{name}' AS meterTypeName,
        strftime(p + INTERVAL 1 {period.upper()}, {MILLIS}) AS periodEnd, strftime(p, {MILLIS}) AS periodStart,
        'Etc/UTC' AS timezone, '' AS unit, strftime(max(l), {MILLIS}) AS updatedAt, subject AS userId,
        {TOTAL[aggregation]} AS value FROM ({of_groups}) GROUP BY subject, p"""


def duck(shape, path, out, rows):
    """Does a job in DuckDB; runs in a process of its own."""
    job, _, form = SHAPES[shape]
    database = duckdb.connect()
    database.execute("SET threads = 2")
    database.execute("SET preserve_insertion_order = false")
    data = "STRUCT(model VARCHAR, region VARCHAR, tokens BIGINT, cost DECIMAL(28, 9), status VARCHAR)"
    columns = {"id": "VARCHAR", "source": "VARCHAR", "type": "VARCHAR", "subject": "VARCHAR", "time": "TIMESTAMP"}
    flat = columns | {"model": "VARCHAR", "region": "VARCHAR", "tokens": "BIGINT", "cost": "DECIMAL(28, 9)", "status": "VARCHAR"}
    events = {
        "ndjson": f"SELECT source, id, subject, time, data.* FROM read_ndjson('{path}', columns = {columns | {'data': data}})",
        "csv": f"SELECT * FROM read_csv('{path}', header = true, columns = {flat})",
        "parquet": f"SELECT * REPLACE (CAST(time AS TIMESTAMP) AS time) FROM '{path}'",
    }[form]
    fields = ["subject", "time", "model", "region", "tokens", "cost"]
    first = ", ".join(f"any_value({field}) AS {field}" for field in fields)
    database.execute(f"CREATE TEMP TABLE first_seen AS SELECT {first} FROM ({events}) WHERE status = 'ok' GROUP BY source, id")
    for place, kind in enumerate(JOBS[job][2]):
        database.execute(f"COPY ({query(rows, *kind)}) TO '{out}.{place}' (FORMAT json)")


def timed(command):
    """Runs a command; returns its seconds, CPU seconds and peak MiB."""
    begun = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command[0]} failed: {said.decode()[-400:]}")
    return time.monotonic() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024


def best(runs):
    return tuple(min(run[place] for run in runs) for place in range(3))


def sums(paths):
    """Returns, for each meter type, the number of records and the sum of their values."""
    files = ", ".join(f"'{path}'" for path in paths)
    columns = "{'meterTypeName': 'VARCHAR', 'value': 'VARCHAR'}"
    select = f"""SELECT meterTypeName, count(*), sum(CAST(value AS DECIMAL(38, 6)))
      FROM read_ndjson([{files}], columns = {columns}) GROUP BY 1 ORDER BY 1"""
    return duckdb.connect().execute(select).fetchall()


def agree(mine, theirs):
    """Whether the answers are the same; DuckDB computes averages as floats."""
    near = all(abs(a[2] - b[2]) <= abs(b[2]) * Decimal("1e-9") for a, b in zip(mine, theirs))
    return near and [row[:2] for row in mine] == [row[:2] for row in theirs]


def measure(name, options):
    """Runs a shape in all programs, in turns; returns the row of the table."""
    job, users, form = SHAPES[name]
    path = make(options.folder, users, form, options.events)
    place = lambda suffix: os.path.join(options.folder, f"{name}.{suffix}")
    with open(place("yaml"), "w") as file:
        file.write(document(name, path))
    run = lambda program, out: [program, "run", place("yaml"), "--as-of", "2026-05-01T00:00:00Z", "--output", place(out)]
    mine, before, theirs = [], [], []
    for _ in range(options.repeat):
        mine.append(timed(run(options.flowmeter, "ndjson")))
        if options.before:
            before.append(timed(run(options.before, "before.ndjson")))
        theirs.append(timed([sys.executable, __file__, "--duck", name, path, place("duck"), options.rows]))
    parts = [f"{place('duck')}.{part}" for part in range(len(JOBS[job][2]))]
    same = agree(sums([place("ndjson")]), sums(parts))
    if options.before:
        same &= subprocess.run(["cmp", "--quiet", place("ndjson"), place("before.ndjson")], check=False).returncode == 0
    (wall, cpu, memory), (duck_wall, duck_cpu, duck_memory) = best(mine), best(theirs)
    cells = [name, f"{wall:.2f}", f"{cpu / options.events * 1e6:.2f}", f"{memory:,}"]
    if options.before:
        cells += [f"{best(before)[0] / wall:.2f}", f"{best(before)[1] / cpu:.2f}"]
    cells += [f"{duck_wall:.2f}", f"{duck_memory:,}", f"{duck_wall / wall:.2f}", f"{duck_cpu / cpu:.2f}"]
    for output in [place("ndjson"), place("before.ndjson"), *parts]:
        if os.path.exists(output):
            os.remove(output)
    return cells, same


def main():
    if sys.argv[1:2] == ["--duck"]:
        return duck(*sys.argv[2:6])
    parser = argparse.ArgumentParser()
    parser.add_argument("flowmeter", type=os.path.abspath)
    parser.add_argument("folder", type=os.path.abspath)
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--only", default=",".join(SHAPES))
    parser.add_argument("--rows", choices=["record", "bare"], default="record")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--before", type=os.path.abspath)
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    head = ["shape", "seconds", "CPU µs/event", "MiB"]
    head += ["before / now, wall", "before / now, CPU"] if options.before else []
    head += ["DuckDB seconds", "DuckDB MiB", "wall ratio", "CPU ratio"]
    print("| " + " | ".join(head) + " |")
    print("|---" + "|---:" * (len(head) - 1) + "|")
    all_same = True
    for name in options.only.split(","):
        cells, same = measure(name, options)
        all_same &= same
        print("| " + " | ".join(cells) + " |" + ("" if same else "  THE ANSWERS DIFFER"), flush=True)
    sys.exit(0 if all_same else 1)


if __name__ == "__main__":
    main()
