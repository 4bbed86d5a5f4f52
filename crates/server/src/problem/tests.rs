//! Codes have pages, and problems look like RFC 9457.

use std::path::Path;

use axum::response::IntoResponse;
use http_body_util::BodyExt;

use super::{Code, Problem};

#[test]
fn the_list_stands_in_the_order_of_the_enum() {
    for (at, code) in Code::all().enumerate() {
        assert_eq!(code as usize, at, "{code:?} is at the wrong place of CODES");
    }
    assert_eq!(Code::all().last(), Some(Code::NotReady), "the last of the enum is missing in CODES");
}

#[test]
fn names_are_unlike_and_statuses_are_errors() {
    let mut names: Vec<&str> = Code::all().map(Code::name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Code::all().count());
    for code in Code::all() {
        assert!((400..600).contains(&code.status()), "{code:?}");
        assert!(code.remedy().ends_with('.'), "{code:?}: a remedy is a sentence");
    }
}

#[test]
fn every_code_has_its_page() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
    for code in Code::all() {
        let path = folder.join(format!("{}.md", code.name()));
        let page =
            std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("docs/errors/{}.md is missing: write it", code.name()));
        let head = format!("# `{}` ({})\n", code.name(), code.status());
        assert!(page.starts_with(&head), "docs/errors/{}.md must begin with {head:?}", code.name());
        for part in ["**What it means.**", "**What to do.**"] {
            assert!(page.contains(part), "docs/errors/{}.md has no {part}", code.name());
        }
    }
}

#[tokio::test]
async fn a_problem_is_a_document_of_rfc_9457() {
    let problem = Problem::new(Code::RateLimited, "this key may send 100 requests a second")
        .instance("/api/v1/events")
        .retry_after(2)
        .extra("status", "cannot be replaced")
        .extra("limit", 100);
    let response = problem.into_response();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert_eq!(response.headers()["retry-after"], "2");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let document: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let expected = serde_json::json!({
        "type": "/api/v1/errors/rate_limited",
        "title": "Too fast for this key",
        "status": 429,
        "detail": "this key may send 100 requests a second",
        "code": "rate_limited",
        "remedy": "Wait as long as Retry-After says; send fewer, larger batches.",
        "instance": "/api/v1/events",
        "limit": 100,
    });
    assert_eq!(document, expected);
}

#[test]
fn some_statuses_need_a_header() {
    let challenge = Problem::new(Code::KeyMissing, "no key").into_response();
    assert_eq!(challenge.headers()["www-authenticate"], "Bearer realm=\"flowmeter\"");
    let encodings = Problem::new(Code::UnsupportedEncoding, "br").into_response();
    assert_eq!(encodings.headers()["accept-encoding"], "gzip, zstd, identity");
}

#[test]
fn every_failed_authentication_is_a_401() {
    use flowmeter_node::keys::Unauthenticated::{Expired, Malformed, Missing, Revoked, Unknown};
    for reason in [Missing, Malformed, Unknown, Expired, Revoked] {
        assert_eq!(Problem::from(reason).code.status(), 401);
    }
}

#[test]
fn a_refusal_of_the_node_keeps_what_it_says() {
    use flowmeter_node::refusal::{Refusal, RefusalKind, not_found};
    let refusal = Refusal::new(RefusalKind::Conflict, "it runs").field("name").retry_after(3).extra("line", 7);
    let problem = Problem::from(refusal);
    assert_eq!((problem.code, problem.detail.as_str()), (Code::Conflict, "it runs"));
    assert_eq!((problem.field.as_deref(), problem.retry_after_s), (Some("name"), Some(3)));
    assert_eq!(problem.extra["line"], 7);
    let missing = Problem::from(*not_found("pipeline", "p"));
    assert_eq!(missing.detail, "there is no pipeline `p`");
    let remedy = "GET /api/v1/pipelines lists what there is; names are case-sensitive.";
    assert_eq!(missing.remedy.as_deref(), Some(remedy));
}
