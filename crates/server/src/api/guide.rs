//! `docs/http.md`: every endpoint with a curl line, written from the table of endpoints.

use std::fmt::Write;

use flowmeter_node::keys::Scope;

use super::{Endpoint, endpoints};

/// Example values of parameters in paths.
const IN_PATH: &[(&str, &str)] = &[
    ("/fields/{field}", "/fields/data.model"),
    ("{idOrName}", "default"),
    ("/versions/{version}", "/versions/1"),
    ("/sessions/{id}", "/sessions/R-00000001"),
    ("/corrections/{id}", "/corrections/default:0"),
    ("/meters/{id}", "/meters/8a76066d-ff29-417c-a18e-abde22e44310"),
    ("/jobs/{id}", "/jobs/J-00000001"),
    ("/browser-sessions/{id}", "/browser-sessions/3f1c9a0e55d27b64"),
    ("/keys/{id}", "/keys/3f1c9a0e55d27b64"),
    ("/deliveries/{id}", "/deliveries/a1f8797b-c827-4483-b6cf-6d3d3baa18a7.17.biller"),
    ("{recordId}", "6ff0b0d2-5d0e-5d57-8f3e-0c4d8e8a6f11"),
];

/// Content type and body of an endpoint with a body.
const BODIES: &[(&str, &str, &str, &str)] = &[
    (
        "POST",
        "/api/v1/events",
        "application/cloudevents+json",
        r#"{"specversion":"1.0","id":"1","source":"/shop","type":"order","subject":"anna","data":{"value":3}}"#,
    ),
    ("POST", "/api/v1/meter-types", JSON, r#"{"name":"Spend","unit":"EUR","resetSchedule":"monthly","timezone":"Europe/Oslo"}"#),
    ("PUT", "/api/v1/meter-types/{idOrName}", JSON, r#"{"name":"Spend","unit":"EUR","resetSchedule":"weekly"}"#),
    ("POST", "/api/v1/meters", JSON, r#"{"userId":"anna","meterType":"Spend","customFields":{"plan":"gold"}}"#),
    ("PATCH", "/api/v1/meters/{id}", JSON, r#"{"deleteOnReset":true}"#),
    ("POST", "/api/v1/pipelines", YAML, "@pipeline.yaml"),
    ("PUT", "/api/v1/pipelines/{idOrName}", YAML, "@pipeline.yaml"),
    ("POST", "/api/v1/pipelines/check", YAML, "@pipeline.yaml"),
    ("POST", "/api/v1/pipelines/{idOrName}/run", JSON, r#"{"uniqueKey":"2026-07"}"#),
    (
        "POST",
        "/api/v1/pipelines/{idOrName}/test",
        JSON,
        r#"{"events":[{"specversion":"1.0","id":"1","source":"/shop","type":"order","subject":"anna"}],"samples":1}"#,
    ),
    (
        "POST",
        "/api/v1/test-data",
        JSON,
        r#"{"name":"july","events":[{"specversion":"1.0","id":"1","source":"/shop","type":"order","subject":"anna"}]}"#,
    ),
    (
        "POST",
        "/api/v1/corrections/{id}/correct",
        JSON,
        r#"{"event":{"specversion":"1.0","id":"1","source":"/shop","type":"order","subject":"anna"}}"#,
    ),
    ("POST", "/api/v1/corrections/{id}/discard", JSON, r#"{"reason":"a test account"}"#),
    ("POST", "/api/v1/corrections/{id}/reprocess", JSON, r#"{"reason":"the table has the user now"}"#),
    ("POST", "/api/v1/corrections/reprocess", JSON, r#"{"pipeline":"default","reason":"no_user"}"#),
    ("POST", "/api/v1/deliveries/{id}/skip", JSON, r#"{"reason":"a test account"}"#),
    ("POST", "/api/v1/deliveries/resend", JSON, r#"{"pipeline":"default","target":"biller"}"#),
    (
        "POST",
        "/api/v1/deliveries/reconcile",
        JSON,
        r#"{"pipeline":"default","from":"2026-02-01T00:00:00Z","to":"2026-03-01T00:00:00Z","mend":true}"#,
    ),
    (
        "POST",
        "/api/v1/corrections/jobs",
        JSON,
        r#"{"action":"reprocess","selector":{"groupId":"50498b7fea6551bc"},"reason":"the sender was mended","dryRun":true}"#,
    ),
    (
        "POST",
        "/api/v1/deliveries/jobs",
        JSON,
        r#"{"action":"resend","selector":{"filter":{"pipeline":"default","target":"biller","state":"dead"}},"reason":"the account was opened"}"#,
    ),
    (
        "POST",
        "/api/v1/exports",
        JSON,
        r#"{"format":"csv","selector":{"filter":{"pipeline":"default","from":"2026-03-01T00:00:00Z","to":"2026-04-01T00:00:00Z"}}}"#,
    ),
    ("POST", "/api/v1/notifications/{idOrName}/send-sample", JSON, r#"{"channel":"webhook"}"#),
    ("POST", "/ui/session", JSON, r#"{"key":"fm_…"}"#),
    ("POST", "/api/v1/keys", JSON, r#"{"name":"shop","scopes":["ingest"]}"#),
    ("POST", "/api/v1/keys/{id}/rotate", JSON, r#"{"grace":"24h"}"#),
];
const JSON: &str = "application/json";
const YAML: &str = "application/yaml";

const HEAD: &str = "\
# HTTP

Written from the table of endpoints in `crates/server/src/api.rs`; after a change there, run
`UPDATE=1 cargo test -p flowmeter-server guide`. The server shows the same at `/api/v1/docs`, and for programs at
`/api/v1/openapi.json`.

- **Keys.** `Authorization: Bearer fm_…`, needed where `auth.required` is on. Its scopes are its rights; `admin` includes the
  others. A key sees its own namespace and no other.
- **Refusals** are problem details (RFC 9457): a stable `code` with a page in [errors/](errors), the `field`, the `remedy`.
- **Unknown parameters** in a query are refused (400, `invalid`) under `/api/v1`, with the nearest known name. OpenMeter
  ignores unknown ones, and so does everything under `/openmeter`.
- **CloudEvents** in binary mode (`ce-*` headers) are decoded as the HTTP binding 1.0.2 says: quoted strings, then %XX.
  A header that cannot be decoded, is there twice, or has a byte that is not ASCII refuses the request, and so do `ce-*`
  headers without `ce-specversion`. Data without `Content-Type` is opaque. In JSON, `data_base64` that holds JSON becomes
  `data`, unless `datacontenttype` says that it is something else.
- **Answers that are not read** for `limits.write_idle` end their connection; `GET /api/v1/stream` resumes behind
  `Last-Event-ID`. Malformed HTTP, and headers beyond `limits.header_bytes_max` (431), are answered without a body,
  before a request is there to refuse.
- **Browsers** sign in with a key at `POST /ui/session` and get a cookie that scripts cannot read. A request with the cookie that
  changes something must come from a page of this server and repeat `csrf` of `GET /ui/session` in `X-Flowmeter-CSRF`.
  See [dashboard.md](dashboard.md).
- **Lists** hold `items` and `nextCursor`; `?cursor=` continues there, `?limit=` bounds a page (100, at most 1,000).
- **`Idempotency-Key`**: any POST but that of events may carry one. The same request under it gets the same answer for 24 hours,
  with `Idempotency-Replayed: true`; another request under it is refused (422), one that is still worked on 409. The secret of
  a key is not repeated.
- **`ETag`** and `If-Match` guard documents against two people changing them at once (412).
- **`X-Request-Id`** is echoed, or made; it is part of problems and of the log.
- **`X-Flowmeter-Reason`**: the reason for a change, as percent-encoded UTF-8 of at most 1,000 characters. The audit keeps it with
  the request's id. Acts whose body has `reason` take it from there.
- **Tables**: a request with `Accept: text/csv` gets CSV where the answer says so. Values have all of their digits. A text that
  begins with `=`, `+`, `-` or `@` and is no number gets an apostrophe in front, so that no spreadsheet evaluates it.
- **Compression**: bodies may be sent with `Content-Encoding: gzip` or `zstd`; answers of a kilobyte and more are compressed for
  who accepts it.
- **Too fast, or too busy**: 429 or 503 with `Retry-After`. Nothing of such a request was taken.

## Generate a client

`/api/v1/openapi.json` describes every parameter, body and answer by schemas (OpenAPI 3.1), and each refusal as `Problem`; no key
is needed to read it. The names of its operations make the functions of a generated client. With `openapi-python-client`:

```yaml
# client.yaml
content_type_overrides:
  application/x-ndjson: application/octet-stream
  application/yaml: application/octet-stream
  application/x-protobuf: application/octet-stream
  application/vnd.apache.parquet: application/octet-stream
  application/vnd.openxmlformats-officedocument.spreadsheetml.sheet: application/octet-stream
```

```sh
openapi-python-client generate --url http://127.0.0.1:8888/api/v1/openapi.json --config client.yaml --meta setup
pip install ./flowmeter-client
```

```python
from flowmeter_client import AuthenticatedClient
from flowmeter_client.api.records import list_records

client = AuthenticatedClient(base_url=\"http://127.0.0.1:8888\", token=\"fm_…\")
for record in list_records.sync(client=client, user_id=\"anna\").items:
    print(record.period_end, record.value)
```

Numbers of the format `decimal` have up to 38 digits. This generator reads them as binary floats; to keep every digit, read
`content` of the answer of `sync_detailed` with a parser that keeps decimals. It also ignores the form of `filterGroupBy[x]`.

";

/// Returns the page `docs/http.md`.
fn markdown() -> String {
    let mut out = HEAD.to_owned();
    let mut group = "";
    for endpoint in endpoints() {
        let tag = tag(endpoint.path);
        if tag != group {
            let _ = write!(out, "## {tag}\n\n");
            group = tag;
        }
        section(&endpoint, &mut out);
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// Returns the heading under which the page has a path.
fn tag(path: &str) -> &str {
    path.trim_start_matches("/api/v1/").trim_start_matches('/').split('/').next().unwrap_or_default()
}

fn section(endpoint: &Endpoint, out: &mut String) {
    let Endpoint { method, path, summary, query, body, answer, .. } = endpoint;
    let scope = endpoint.scope.map_or("everybody may", Scope::name);
    let _ = write!(out, "### {method} {path}\n\n{summary}. Scope: {scope}. Answer: {} ({}).\n", answer.0, answer.1);
    if let Some(body) = body {
        let _ = writeln!(out, "Body: {body}.");
    }
    for (name, meaning) in *query {
        let _ = writeln!(out, "- `?{name}=` {meaning}");
    }
    let sample = IN_PATH.iter().fold((*path).to_owned(), |path, (parameter, value)| path.replace(parameter, value));
    let mut curl = "curl -sS".to_owned();
    if method != "GET" && !(method == "POST" && body.is_some()) {
        let _ = write!(curl, " -X {method}");
    }
    if endpoint.scope.is_some() {
        curl.push_str(" -H \"Authorization: Bearer $FLOWMETER_KEY\"");
    }
    if body.is_some() {
        let known = BODIES.iter().find(|row| *method == row.0 && *path == row.1);
        let (content_type, body) = known.map_or((JSON, "@body.json"), |row| (row.2, row.3));
        let flag = if body.starts_with('@') { "--data-binary" } else { "-d" };
        let quoted = if body.starts_with('@') { body.to_owned() } else { format!("'{body}'") };
        let _ = write!(curl, " -H 'Content-Type: {content_type}' {flag} {quoted}");
    }
    let _ = write!(out, "\n```sh\n{curl} http://127.0.0.1:8888{sample}\n```\n\n");
}

#[test]
fn the_page_is_the_table() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/http.md");
    let expected = markdown();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&page, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&page).unwrap_or_default();
    assert!(found == expected, "docs/http.md is not what the table says; run UPDATE=1 cargo test -p flowmeter-server guide");
}

#[test]
fn every_row_of_examples_is_of_an_endpoint() {
    let all = endpoints();
    for (method, path, ..) in BODIES {
        assert!(all.iter().any(|one| one.method == *method && one.path == *path && one.body.is_some()), "{method} {path}");
    }
}
