"""Sends five events with the Python SDK `cloudevents` 2: structured, binary, batched."""

import sys
import urllib.request

from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

URL = sys.argv[1]


def event(number):
    attributes = {"id": f"py-{number}", "source": "/sdk", "type": "order", "subject": "Zoë €"}
    return CloudEvent(attributes={**attributes, "datacontenttype": "application/json"}, data={"value": 1})


def send(headers, body):
    request = urllib.request.Request(URL, data=body, headers=headers, method="POST")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request) as answer:
        assert answer.status == 204, answer.status


for message in [to_structured_event(event(1)), to_binary_event(event(2))]:
    send(dict(message.headers), message.body)
# The SDK writes no batches of its own: a batch is a list of what it writes.
items = b",".join(to_structured_event(event(number)).body for number in (3, 4, 5))
send({"content-type": "application/cloudevents-batch+json"}, b"[" + items + b"]")
