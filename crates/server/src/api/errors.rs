//! Pages of the error codes: the `type` of every problem leads to one.

use std::fmt::Write;

use axum::extract::Path;
use axum::http::Method;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use super::Endpoint;
use crate::problem::{Code, PAGES, Problem};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let endpoint = |path, summary, answer, route| Endpoint {
        method: Method::GET,
        path,
        scope: None,
        summary,
        query: &[],
        body: None,
        answer,
        route,
    };
    vec![
        endpoint("/api/v1/errors", "All error codes", (200, "A page"), get(list)),
        endpoint("/api/v1/errors/{code}", "An error code: its meaning and its remedy", (200, "A page"), get(one)),
    ]
}

async fn list() -> Html<String> {
    let mut rows = String::new();
    for code in Code::all() {
        let (name, status, title) = (code.name(), code.status(), code.title());
        let row = write!(rows, "<tr><td>{status}<td><a href=\"{PAGES}{name}\"><code>{name}</code></a><td>{}", escaped(title));
        debug_assert!(row.is_ok(), "text takes everything");
    }
    page("Error codes", &format!("<table><tr><th>Status<th>Code<th>Meaning{rows}</table>"))
}

async fn one(Path(name): Path<String>) -> Response {
    let Some(code) = Code::all().find(|code| code.name() == name) else {
        let remedy = format!("{} lists all error codes.", PAGES.trim_end_matches('/'));
        let problem = Problem::new(Code::NotFound, format!("there is no error code `{name}`")).remedy(remedy);
        return problem.into_response();
    };
    let text = format!(
        "<p>Status {}: {}.</p><h2>What to do</h2><p>{}</p><p><a href=\"{}\">All error codes</a></p>",
        code.status(),
        escaped(code.title()),
        escaped(code.remedy()),
        PAGES.trim_end_matches('/'),
    );
    page(code.name(), &text).into_response()
}

fn page(title: &str, text: &str) -> Html<String> {
    Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title} - Flowmeter</title>\
         <main><h1>{title}</h1>{text}</main></html>"
    ))
}

/// Text of ours in HTML, where backquotes mark code.
fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mut parts = text.split('`');
    let mut html = parts.next().unwrap_or_default().to_owned();
    for (place, part) in parts.enumerate() {
        html.push_str(if place % 2 == 0 { "<code>" } else { "</code>" });
        html.push_str(part);
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_code_is_marked() {
        assert_eq!(escaped("Send `a < b` & `c`."), "Send <code>a &lt; b</code> &amp; <code>c</code>.");
    }

    #[tokio::test]
    async fn each_code_has_a_page_and_others_have_none() {
        for code in Code::all() {
            assert_eq!(one(Path(code.name().to_owned())).await.status(), 200, "{code:?}");
        }
        assert_eq!(one(Path("nothing".to_owned())).await.status(), 404);
        assert!(list().await.0.contains("/api/v1/errors/not_found"));
    }
}
