//! The files of the dashboard, embedded in the program.
//!
//! They are built from `web/` by `cargo xtask web` and committed in `web/dist/`, compressed, with a
//! table of them. So a build needs no Node, and no answer is compressed twice.

use std::io::Read;
use std::path::{Component, Path, PathBuf};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::read::GzDecoder;

use crate::api::App;

/// A file of the dashboard.
struct File {
    /// The path under which it is served.
    path: &'static str,
    /// The content type of its bytes.
    kind: &'static str,
    /// Version of the file.
    etag: &'static str,
    /// Whether `bytes` are compressed with gzip.
    is_gzip: bool,
    /// The content as it is sent.
    bytes: &'static [u8],
}

include!("../../../../web/dist/files.rs");

/// The content policy of the dashboard's pages. Stricter than the policy of other answers: nothing
/// inline, no code from text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types svelte-trusted-html";
/// Paths that never are pages.
const NOT_PAGES: [&str; 5] = ["/api", "/openmeter", "/health", "/metrics", "/ui"];
/// A file whose name has the hash of its content never changes.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// Maximal bytes of a file of a developer.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// Answers a request that no endpoint takes: a file of the dashboard, or its page for any other
/// path. None if the path belongs to the API or the dashboard is off.
pub(crate) fn serve(app: &App, request: &Request) -> Option<Response> {
    let settings = &app.installation.settings().dashboard;
    let path = request.uri().path();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let is_of_api =
        NOT_PAGES.iter().any(|root| path == *root || path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/')));
    let is_text = percent_encoding::percent_decode_str(path).decode_utf8().is_ok();
    if !settings.enabled || !is_read || is_of_api || !is_text {
        return None;
    }
    let is_in_folder = |dir: &PathBuf| !path[1..].contains('/') && dir.join(&path[1..]).is_file();
    let is_file = path.starts_with("/assets/")
        || FILES.iter().any(|file| file.path == path)
        || path.len() > 1 && settings.dir.as_ref().is_some_and(is_in_folder);
    // A page may be named after anything, also with a dot; a file that browsers look for is none.
    let is_unknown_file = !is_file && path[1..].contains('.') && !path[1..].contains('/');
    if is_unknown_file {
        return None;
    }
    let wanted = if is_file { path } else { "/index.html" };
    if let Some(dir) = &settings.dir {
        return from_folder(dir, wanted);
    }
    FILES.iter().find(|file| file.path == wanted).map(|file| embedded(file, request.headers()))
}

fn embedded(file: &File, headers: &HeaderMap) -> Response {
    let given = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_known = given.split(',').any(|one| one.trim().trim_start_matches("W/") == file.etag);
    let takes_gzip = headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|one| {
            matches!(one.split(';').next().map(str::trim), Some("gzip" | "*")) && !one.contains("q=0,") && !one.ends_with("q=0")
        });
    let mut answer = match (is_known, file.is_gzip && !takes_gzip) {
        (true, _) => StatusCode::NOT_MODIFIED.into_response(),
        (false, false) => Body::from(file.bytes).into_response(),
        (false, true) => {
            let mut plain = Vec::new();
            match GzDecoder::new(file.bytes).read_to_end(&mut plain) {
                Ok(_) => Body::from(plain).into_response(),
                Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            }
        }
    };
    let all = answer.headers_mut();
    all.insert(header::ETAG, HeaderValue::from_static(file.etag));
    if file.is_gzip {
        all.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if takes_gzip && !is_known {
            all.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
    }
    head(&mut answer, file.path, file.kind);
    answer
}

fn head(answer: &mut Response, path: &str, kind: &'static str) {
    let all = answer.headers_mut();
    all.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let caching = if path.starts_with("/assets/") { FOR_EVER } else { "no-store" };
    all.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    if kind.starts_with("text/html") {
        all.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    }
}

/// Reads a file of a developer's folder, again with every request.
fn from_folder(dir: &Path, wanted: &str) -> Option<Response> {
    let relative = Path::new(wanted.trim_start_matches('/'));
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return None;
    }
    let kind = match relative.extension().and_then(|ending| ending.to_str())? {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "woff2" => "font/woff2",
        "json" => "application/json",
        _ => "text/plain; charset=utf-8",
    };
    let bytes = read(&dir.join(relative))?;
    let mut answer = Body::from(bytes).into_response();
    head(&mut answer, wanted, kind);
    Some(answer)
}

/// The content of a file, or of its compressed form.
fn read(path: &Path) -> Option<Vec<u8>> {
    if let Ok(bytes) = std::fs::read(path) {
        return Some(bytes);
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    let compressed = std::fs::File::open(PathBuf::from(name)).ok()?;
    let mut plain = Vec::new();
    GzDecoder::new(compressed).take(FILE_BYTES_MAX).read_to_end(&mut plain).ok()?;
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_nothing_inline_and_names_only_files_that_exist() {
        let index = FILES.iter().find(|file| file.path == "/index.html").unwrap();
        let mut page = String::new();
        GzDecoder::new(index.bytes).read_to_string(&mut page).unwrap();
        assert!(!page.contains("style=") && !page.contains("<style") && !page.contains("onload="), "{page}");
        for tag in page.split("<script").skip(1) {
            let (head, rest) = tag.split_once('>').unwrap();
            assert!(head.contains("src=\"/") && rest.trim_start().starts_with("</script>"), "{tag}");
        }
        let named = page.split('"').filter(|text| text.starts_with("/assets/") || text.ends_with(".svg"));
        for name in named {
            assert!(FILES.iter().any(|file| file.path == name), "{name}");
        }
    }

    #[test]
    fn files_are_small_enough_to_embed() {
        let bytes: usize = FILES.iter().map(|file| file.bytes.len()).sum();
        assert!(bytes < 900_000, "{bytes} bytes");
        let first: usize = FILES
            .iter()
            .filter(|file| file.path.contains("index-") && file.path.ends_with(".js"))
            .map(|file| file.bytes.len())
            .sum();
        assert!(first > 0 && first < 82_000, "the first script has {first} bytes");
    }
}
