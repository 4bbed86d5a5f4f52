"""The main job, here and in DuckDB, ClickHouse and Polars, on the same file.

Job: drop repetitions of (source, id), keep status "ok", and for each user and calendar
month: exact decimal sum, count, first and last time, and the same sum by model; written
as one JSON object a line. Every system runs alone, in a process of its own, on all
cores; time and peak memory are the kernel's. Then all answers are compared in full.

usage: batch.py ROOT EVENTS [--only NAME,...]
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from decimal import Decimal

DUCKDB = """
import duckdb
c = duckdb.connect()
c.execute("SET preserve_insertion_order = false")
c.execute('''
COPY (
  WITH events AS (
    SELECT source, id, subject, time, data.model AS model, data.tokens AS tokens
    FROM read_ndjson('{events}', columns = {{id: 'VARCHAR', source: 'VARCHAR', subject: 'VARCHAR', time: 'TIMESTAMP',
      data: 'STRUCT(model VARCHAR, status VARCHAR, tokens DECIMAL(18,4))'}})
    WHERE data.status = 'ok'),
  first_seen AS (
    SELECT source, id, any_value(subject) AS subject, any_value(time) AS time, any_value(model) AS model, any_value(tokens) AS tokens
    FROM events GROUP BY source, id),
  by_model AS (
    SELECT subject, date_trunc('month', time) AS month, model, sum(tokens) AS value, count(*) AS n, min(time) AS first, max(time) AS last
    FROM first_seen GROUP BY ALL)
  SELECT subject AS "userId", month AS "periodStart", sum(value)::VARCHAR AS value, sum(n)::BIGINT AS n, min(first) AS first, max(last) AS last,
    list({{'key': model, 'value': value::VARCHAR}} ORDER BY model) AS groups
  FROM by_model GROUP BY ALL)
TO '{out}' (FORMAT json)''')
"""

CHDB = """
import chdb
chdb.query('''
INSERT INTO FUNCTION file('{out}', JSONEachRow)
SELECT subject AS userId, month AS periodStart, toString(sum(v)) AS value, sum(c) AS n, min(f) AS first, max(l) AS last,
  arraySort(groupArray((model, toString(v)))) AS groups
FROM (
  SELECT subject, toStartOfMonth(time) AS month, model, sum(tokens) AS v, count() AS c, min(time) AS f, max(time) AS l
  FROM (
    SELECT source, id, any(subject) AS subject, any(time) AS time, any(data.model) AS model, any(data.tokens) AS tokens
    FROM file('{events}', JSONEachRow, 'id String, source String, subject String, time DateTime64(3, \\\\'UTC\\\\'), data Tuple(model LowCardinality(String), status LowCardinality(String), tokens Decimal(18,4))')
    WHERE data.status = 'ok'
    GROUP BY source, id)
  GROUP BY subject, month, model)
GROUP BY subject, month
SETTINGS date_time_input_format = 'best_effort', engine_file_truncate_on_insert = 1
''')
"""

# Polars reads JSON numbers as floats only: they are made whole ten-thousandths at once,
# which is exact for this data, and summed as integers.
POLARS = """
import polars as pl
schema = pl.Schema({{"id": pl.String, "source": pl.String, "subject": pl.String, "time": pl.String,
  "data": pl.Struct({{"model": pl.String, "status": pl.String, "tokens": pl.Float64}})}})
events = (pl.scan_ndjson("{events}", schema=schema)
  .select("source", "id", "subject", "time", pl.col("data").struct.field("model", "status", "tokens"))
  .filter(pl.col("status") == "ok")
  .with_columns((pl.col("tokens") * 10000).round().cast(pl.Int64))
  .unique(subset=["source", "id"], keep="any"))
by_model = (events.group_by("subject", pl.col("time").str.slice(0, 7).alias("month"), "model")
  .agg(pl.col("tokens").sum().alias("value"), pl.len().alias("n"), pl.col("time").min().alias("first"), pl.col("time").max().alias("last")))
(by_model.group_by(pl.col("subject").alias("userId"), pl.col("month").alias("periodStart"))
  .agg(pl.col("value").sum().cast(pl.String), pl.col("n").sum(), pl.col("first").min(), pl.col("last").max(),
    pl.struct(pl.col("model").alias("key"), pl.col("value").cast(pl.String)).alias("groups"))
  .sink_ndjson("{out}"))
"""


def jobs(root, events, folder):
    def python(name, template):
        script = os.path.join(folder, f"{name}.py")
        with open(script, "w") as file:
            file.write(template.format(events=events, out=os.path.join(folder, f"{name}.ndjson")))
        return [sys.executable, script]

    binary = os.path.join(root, "target/release/flowmeter")
    pipeline = os.path.join(root, "benches/batch.yaml")
    return {
        "flowmeter": [binary, "run", pipeline, "--input", events, "--as-of", "2026-04-01T00:00:00Z",
                      "--output", os.path.join(folder, "flowmeter.ndjson"), "--output", "json"],
        "duckdb": python("duckdb_", DUCKDB),
        "chdb": python("chdb_", CHDB),
        "polars": python("polars_", POLARS),
    }


def measure(command, cwd):
    """Seconds on the wall, seconds of CPU and peak memory in MiB of one process."""
    start = time.monotonic()
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    if status != 0:
        raise SystemExit(f"{command[0]} failed:\n{errors.decode()[-2000:]}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def normal(row, scale):
    """A row of any system, in one form: (user, month) -> (value, count, first, last, groups)."""
    groups = []
    for group in row["groups"]:
        if isinstance(group, dict):
            key, value = group["key"], group["value"]
        else:
            key, value = group
        groups.append((key.removeprefix("data.model:"), Decimal(str(value)) / scale))
    meta = row.get("meterMetaData")
    first, last = (meta["firstEvent"], meta["lastEvent"]) if meta else (row["first"], row["last"])
    n = meta["eventCount"] if meta else int(row["n"])
    stamp = lambda text: (text.replace(" ", "T").rstrip("Z") + "." + "000")[:23] if "." not in text else (text.replace(" ", "T").rstrip("Z") + "000")[:23]
    return (row["userId"], row["periodStart"][:7]), (Decimal(str(row["value"])) / scale, n, stamp(first), stamp(last), tuple(sorted(groups)))


def answers(path):
    rows = {}
    scale = 10000 if "polars" in path else 1
    with open(path) as file:
        for line in file:
            row = json.loads(line, parse_float=Decimal)
            if row.get("meterMetaData", {"eventCount": 1})["eventCount"] == 0:
                continue
            key, value = normal(row, scale)
            rows[key] = value
    return rows


def main():
    root, events = sys.argv[1:3]
    only = sys.argv[4].split(",") if "--only" in sys.argv else None
    rounds = 3
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(events))) as folder:
        work = {name: job for name, job in jobs(root, os.path.abspath(events), folder).items() if not only or name in only}
        subprocess.run(["cat", events], stdout=subprocess.DEVNULL, check=True)
        best = {}
        for name, command in work.items():
            runs = [measure(command, folder) for _ in range(rounds)]
            best[name] = (min(r[0] for r in runs), min(r[1] for r in runs), max(r[2] for r in runs))
        count = sum(1 for _ in open(events, "rb"))
        fastest = min((wall for name, (wall, _, _) in best.items() if name != "flowmeter"), default=None)
        print(f"\n{count:,} events, {os.path.getsize(events) / count:.0f} bytes each, {os.cpu_count()} cores, best of {rounds}\n")
        print("| system | seconds | events/s | CPU µs/event | peak MiB | times the fastest peer |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        for name, (wall, cpu, memory) in best.items():
            ratio = f"{fastest / wall:.2f}" if fastest else ""
            print(f"| {name} | {wall:.2f} | {count / wall:,.0f} | {cpu / count * 1e6:.3f} | {memory:,.0f} | {ratio} |")
        files = {name: os.path.join(folder, "flowmeter.ndjson" if name == "flowmeter" else f"{name}_.ndjson") for name in work}
        reference = answers(next(iter(files.values())))
        for name, path in list(files.items())[1:]:
            if answers(path) != reference:
                raise SystemExit(f"{name} gives another answer")
        print(f"\nAll {len(files)} give the same {len(reference):,} records, exact in every value.")


main()
