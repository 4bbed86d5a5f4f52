//! The headers are there, once, and give way.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use axum::response::Response;
use axum::routing::get;
use tower::ServiceExt;

use super::{Transport, apply};

async fn answer(path: &str, transport: Transport) -> Response {
    let own = [(header::CONTENT_SECURITY_POLICY, "default-src 'none'")];
    let routes = Router::new().route("/", get(|| async { "ok" })).route("/own", get(move || async move { (own, "ok") }));
    apply(routes, transport).oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn every_answer_has_them() {
    for path in ["/", "/nowhere"] {
        let answer = answer(path, Transport::Plain).await;
        let headers = answer.headers();
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'self'") && policy.contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert!(!headers.contains_key("strict-transport-security"));
    }
    assert_eq!(answer("/", Transport::Tls).await.headers()["strict-transport-security"], "max-age=31536000");
}

#[tokio::test]
async fn an_answer_keeps_its_own() {
    let answer = answer("/own", Transport::Tls).await;
    let policies: Vec<_> = answer.headers().get_all("content-security-policy").iter().collect();
    assert_eq!(policies, ["default-src 'none'"]);
}
