"""Meters through a client that `openapi-python-client` generated from the server's description."""

import io
import os

from flowmeter_client import AuthenticatedClient
from flowmeter_client.api.corrections import correct_event, list_corrections
from flowmeter_client.api.events import search_events, send_events
from flowmeter_client.api.meters import get_meter, list_meters
from flowmeter_client.api.pipelines import check_pipeline, create_pipeline, run_pipeline
from flowmeter_client.api.records import explain_record, list_records
from flowmeter_client.api.server import move_clock
from flowmeter_client.api.sessions import get_session, list_sessions
from flowmeter_client.models import (
    ClockMove,
    CloudEvent,
    CorrectedEvent,
    ParkReason,
    PipelineDocument,
    Problem,
    ProblemCode,
    RunOptions,
    SendEventsWait,
    SessionStatus,
    Verdict,
)
from flowmeter_client.types import File

client = AuthenticatedClient(
    base_url=os.environ["FLOWMETER_URL"],
    token="not needed without auth.required",
    raise_on_unexpected_status=True,
    httpx_args={"trust_env": False},
)
DOCUMENT = {
    "pipeline": "calls",
    "source": {"http": {}},
    "operators": [
        {
            "meter": {
                "key": "3f6f5ab0-7f0e-4f43-9d02-5a5f2f9f1c01",
                "rules": [{"category": "calls", "value": "data.value", "groupBy": ["data.region"]}],
            }
        }
    ],
    "meterTypes": [{"name": "Calls", "category": "calls", "resetSchedule": "hourly"}],
    "targets": [{"none": {}}],
}
YAML = b"pipeline: other\nsource: { http: {} }\noperators:\n  - dedupe: {}\n"


def event(number, **fields):
    attributes = {"specversion": "1.0", "id": str(number), "source": "/client", "type": "call"}
    return CloudEvent.from_dict({**attributes, "data": {"value": number, "region": "north"}, **fields})


def send(body):
    answer = send_events.sync(client=client, body=body, wait=SendEventsWait.COUNTED)
    verdicts = answer.events[0].verdicts
    return next(one.verdict for one in verdicts if one.pipeline == "calls")


# A pipeline from a document in JSON; one in YAML is checked only.
made = create_pipeline.sync(client=client, body=PipelineDocument.from_dict(DOCUMENT), idempotency_key="made once")
assert (made.name, made.version, made.warnings) == ("calls", 1, []), made
again = create_pipeline.sync(client=client, body=PipelineDocument.from_dict(DOCUMENT), idempotency_key="made once")
assert again.id == made.id, again
checked = check_pipeline.sync(client=client, body=File(payload=io.BytesIO(YAML)))
assert checked.valid and checked.warnings[0].line == 4, checked
wrong = check_pipeline.sync(client=client, body=File(payload=io.BytesIO(YAML + b"targts: []\n")))
assert isinstance(wrong, Problem) and wrong.code == ProblemCode.INVALID_DOCUMENT and wrong.problems[0].line == 5, wrong
session = run_pipeline.sync("calls", client=client, body=RunOptions(unique_key="first"))
assert session.session_status == SessionStatus.RUNNING, session

# Events, one at a time and as lines.
assert send(event(1, subject="anna")) == Verdict.COUNTED
assert send(event(1, subject="anna")) == Verdict.DUPLICATE
assert send(event(2)) == Verdict.PARKED
lines = b'{"specversion":"1.0","id":"3","source":"/client","type":"call","subject":"anna","data":{"value":3}}\n'
assert send(File(payload=io.BytesIO(lines))) == Verdict.COUNTED
assert search_events.sync(client=client, pipeline="calls", verdict=Verdict.COUNTED).items[0].subject == "anna"

# Meters.
meters = list_meters.sync(client=client, user_id="anna", pipeline="calls")
meter = get_meter.sync(meters.items[0].id, client=client)
assert (meters.next_cursor, meter.value, meter.unit, len(meter.groups)) == (None, 4, "", 2), meter
missing = get_meter.sync("00000000-0000-4000-8000-000000000000", client=client)
assert isinstance(missing, Problem) and missing.code == ProblemCode.NOT_FOUND, missing

# Corrections.
parked = list_corrections.sync(client=client, pipeline="calls").items[0]
assert parked.reason == ParkReason.NO_USER, parked
corrected = correct_event.sync(
    parked.id, client=client, body=CorrectedEvent.from_dict({"event": {**event(2, subject="bert").to_dict()}})
)
assert corrected.state.value == "corrected", corrected
assert list_corrections.sync(client=client, pipeline="calls").items == []

# Records, once their period is over.
now = move_clock.sync(client=client, body=ClockMove(by="2h"))
assert now.records >= 2, now
records = list_records.sync(client=client, pipeline="calls", user_id="anna", limit=1)
record = records.items[0]
assert (record.value, record.meter_type_name, record.meter_meta_data.event_count) == (4, "Calls", 2), record
explained = explain_record.sync(record.meter_meta_data.record_id, client=client)
assert explained.recount.equal and len(explained.events) == 2, explained

# Sessions.
sessions = list_sessions.sync(client=client, pipeline="calls", status=SessionStatus.RUNNING)
assert [one.session_id for one in sessions.items] == [session.session_id], sessions
counts = get_session.sync(session.session_id, client=client).counts
assert (counts.events.counted, counts.events.duplicate) == (3, 1), counts
print("ok")
