//! Requests repeated under a key of their own are answered again, not done again.

use serde_json::{Value, json};

use crate::support::server::{Answer, Server, items};

fn keyed(server: &Server, key: &str, path: &str, body: &Value) -> Answer {
    server.ask("POST", path).header("idempotency-key", key).json(body).send()
}

#[test]
fn a_repeated_request_is_done_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let path = "/api/v1/meter-types";
    let spend = json!({"name": "Spend"});
    let first = keyed(&server, "k-1", path, &spend);
    let again = keyed(&server, "k-1", path, &spend);
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), (None, Some("true")));
    assert_eq!((first.body.clone(), first.header("etag")), (again.body.clone(), again.header("etag")));
    // Without the key it is another request, and there is one already.
    assert_eq!(server.post(path, &spend).status, 409);
    for (path, body) in [(path, json!({"name": "Other"})), ("/api/v1/meters", spend.clone())] {
        let told = keyed(&server, "k-1", path, &body).problem();
        assert_eq!((told.0, told.1.as_str(), told.2.as_deref()), (422, "idempotency_key_reused", Some("Idempotency-Key")));
    }
    // A refusal is an answer as well.
    let refused = keyed(&server, "k-2", path, &spend);
    assert_eq!((refused.status, keyed(&server, "k-2", path, &spend).header("idempotency-replayed")), (409, Some("true")));
    for key in ["", &"x".repeat(256)] {
        assert_eq!(keyed(&server, key, path, &spend).problem().2.as_deref(), Some("Idempotency-Key"), "{key}");
    }
    server.stop();
    let server = Server::start(folder.path(), &[]);
    assert_eq!(keyed(&server, "k-1", path, &spend).header("idempotency-replayed"), Some("true"), "after a restart, too");
    // Beside those that pipelines declare.
    let own = || items(&server.get(path)).into_iter().filter(|kind| kind["pipeline"].is_null()).count();
    assert_eq!(own(), 1);
    // At once: one request does it, and the others get its answer or must wait.
    let body = json!({"name": "Race"});
    let statuses: Vec<u16> = std::thread::scope(|threads| {
        let asks: Vec<_> = (0..8).map(|_| threads.spawn(|| keyed(&server, "k-3", path, &body).status)).collect();
        asks.into_iter().map(|ask| ask.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| [201, 409].contains(status)), "{statuses:?}");
    assert_eq!(keyed(&server, "k-3", path, &body).status, 201);
    assert_eq!(own(), 2);
}

#[test]
fn a_secret_is_shown_once_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let wish = json!({"name": "sender", "scopes": ["ingest"]});
    let first = keyed(&server, "k", "/api/v1/keys", &wish).ok();
    let again = keyed(&server, "k", "/api/v1/keys", &wish).ok();
    assert!(first["secret"].is_string() && again.get("secret").is_none());
    assert_eq!(first["id"], again["id"]);
    assert_eq!(items(&server.get("/api/v1/keys")).len(), 1);
}
