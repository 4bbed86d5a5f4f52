//! The file of an export, sent as it is read.

use std::io::Read;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flowmeter_node::jobs::{ExportFormat, Job, JobKind, JobState};
use http_body_util::channel::{Channel, Sender};

use super::super::{App, Asked, off};
use crate::problem::{Code, Problem, Refused, not_found};

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks that wait for a slow reader.
const CHUNKS_WAITING: usize = 2;

pub(super) async fn fetch(
    State(app): State<App>,
    Extension(asked): Extension<Asked>,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    let job = app.installation.jobs.find(&asked.who.namespace, &id)?;
    let Job { file: Some(file), state: JobState::Done, .. } = &job else {
        if job.kind != JobKind::Export {
            return Err(not_found("file of the job", &id));
        }
        let detail = format!("`{id}` has no file: it is {}, or the file was removed for newer ones", job.state.name());
        return Err(Box::new(Problem::new(Code::Conflict, detail)));
    };
    let path = app.installation.jobs.path_of(file);
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_owned();
    let opened = off(move || {
        let file = std::fs::File::open(&path);
        let file = file.map_err(|_| Box::new(Problem::new(Code::Conflict, "the file of the export was removed")))?;
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        Ok((file, length))
    });
    let (file, length) = opened.await?;
    let kind = ExportFormat::ALL.into_iter().find(|format| format.name() == ending);
    let name = format!("attachment; filename=\"records-{id}.{ending}\"");
    let headers: [(HeaderName, String); 3] = [
        (header::CONTENT_TYPE, kind.map_or("application/octet-stream", ExportFormat::media_type).to_owned()),
        (header::CONTENT_DISPOSITION, name),
        (header::CONTENT_LENGTH, length.to_string()),
    ];
    let (sender, body) = Channel::<Bytes>::new(CHUNKS_WAITING);
    tokio::spawn(send(file, sender));
    let mut answer = (StatusCode::OK, Body::new(body)).into_response();
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            answer.headers_mut().insert(name, value);
        }
    }
    Ok(answer)
}

/// Sends a file until its end, or until the client disconnects.
async fn send(mut file: std::fs::File, mut listener: Sender<Bytes>) {
    loop {
        let read = off(move || {
            let mut chunk = vec![0; CHUNK_BYTES];
            let count = file.read(&mut chunk);
            chunk.truncate(*count.as_ref().unwrap_or(&0));
            Ok((file, count, chunk))
        });
        match read.await {
            Ok((back, Ok(1..), chunk)) => {
                file = back;
                if listener.send_data(chunk.into()).await.is_err() {
                    return;
                }
            }
            // A file that ends early or fails cuts the answer short of its length.
            _ => return,
        }
    }
}
