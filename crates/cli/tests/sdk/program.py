"""Every call of OpenMeter's Python client, against Flowmeter; prints `ok` at the end."""

import datetime
import os
import sys

from openmeter import Client
from openmeter.models import Event, MeterCreate, MeterQueryRequest

client = Client(endpoint=os.environ["OPENMETER_URL"], token="om_test")
at = datetime.datetime(2024, 1, 1, 0, 0, 0, 123456, tzinfo=datetime.timezone.utc)
day = datetime.timedelta(days=1)


def event(number, subject="customer-1", time=at, model="gpt-4o", kind="input"):
    return Event(
        id=f"py-{number}", source="my-app", specversion="1.0", type="prompt", subject=subject, time=time,
        data={"tokens": number, "model": model, "type": kind},
    )


def check(found, expected):
    if found != expected:
        sys.exit(f"expected {expected!r}, found {found!r}")


meter = client.meters.create(
    MeterCreate(
        slug="py_tokens", name="Tokens", aggregation="SUM", event_type="prompt", value_property="$.tokens",
        group_by={"model": "$.model", "type": "$.type"},
    )
)
check((meter.slug, meter.aggregation, meter.event_type), ("py_tokens", "SUM", "prompt"))
check([known.slug for known in client.meters.list()], ["py_tokens"])
check(client.meters.get("py_tokens").id, meter.id)
check(client.meters.get(meter.id).slug, "py_tokens")

client.events.ingest_event(event(101))
client.events.ingest_events([event(102), event(103, subject="customer-2")])
client.events.ingest_events_json(event(104, time=at + day))
client.events.ingest_events_json([event(105, model="o1"), event(106, kind="output")])
# Sent again it counts once.
client.events.ingest_event(event(101))

total = client.meters.query_json(meter_id_or_slug="py_tokens")
check([row.value for row in total.data], [101 + 102 + 103 + 104 + 105 + 106])

rows = client.meters.query_json(
    "py_tokens", from_parameter=at - day, to=at + 3 * day, window_size="DAY", window_time_zone="America/New_York",
    subject=["customer-1", "customer-2"], group_by=["model", "type"], filter_group_by={"model": "gpt-4o"},
)
found = sorted((row.window_start.isoformat(), row.subject, row.group_by["type"], row.value) for row in rows.data)
check(found, [
    ("2023-12-31T05:00:00+00:00", "customer-1", "input", 203.0),
    ("2023-12-31T05:00:00+00:00", "customer-1", "output", 106.0),
    ("2023-12-31T05:00:00+00:00", "customer-2", "input", 103.0),
    ("2024-01-01T05:00:00+00:00", "customer-1", "input", 104.0),
])

rows = client.meters.query("py_tokens", MeterQueryRequest(window_size="DAY", subject=["customer-1"], group_by=["model"]))
found = sorted((row.window_start.isoformat(), row.group_by["model"], row.value) for row in rows.data)
check(found, [
    ("2024-01-01T00:00:00+00:00", "gpt-4o", 309.0),
    ("2024-01-01T00:00:00+00:00", "o1", 105.0),
    ("2024-01-02T00:00:00+00:00", "gpt-4o", 104.0),
])

csv = client.meters.query_csv("py_tokens")
csv = csv if isinstance(csv, str) else b"".join(csv).decode()
check(csv.split()[0], "window_start,window_end,value")
check(csv.split()[1].split(",")[2], "621.000000")

check(list(client.meters.list_subjects("py_tokens")), ["customer-1", "customer-2"])
check(list(client.meters.list_group_by_values("py_tokens", "model")), ["gpt-4o", "o1"])
events = client.events.list()
# By event time, the newest first.
check(events[0].event.id, "py-104")
check(len(events), 7)

client.meters.delete("py_tokens")
check(list(client.meters.list()), [])
print("ok")
