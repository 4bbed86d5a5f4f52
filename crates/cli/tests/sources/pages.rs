//! Pages of a service that is asked for events.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::server::{Server, eventually};
use crate::{create, document, ended, line, start};

/// A service with events behind a cursor, ten a page. It refuses every fourth request.
struct Service {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
    newest: Arc<AtomicU64>,
}

impl Service {
    fn start() -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (asked, newest) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(AtomicU64::new(0)));
        let (seen, until) = (Arc::clone(&asked), Arc::clone(&newest));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = BufReader::new(stream.try_clone().unwrap()).lines();
                let path = head.next().unwrap().unwrap().split(' ').nth(1).unwrap().to_owned();
                for rest in head.by_ref() {
                    if rest.unwrap().is_empty() {
                        break;
                    }
                }
                let count = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(path.clone());
                    seen.len()
                };
                let (status, body) = match count % 4 {
                    0 => ("503 Busy\r\nRetry-After: 0", json!({})),
                    _ => ("200 OK", page(&path, until.load(Ordering::Acquire))),
                };
                let body = body.to_string();
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
            }
        });
        Service { address, asked, newest }
    }
}

/// Returns the events behind `after`, from the one that `page` names.
fn page(path: &str, newest: u64) -> Value {
    let parameter = |name: &str| {
        let query = path.split('?').nth(1)?;
        query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}="))?.parse::<u64>().ok())
    };
    let from = parameter("page").unwrap_or_else(|| parameter("after").map_or(0, |after| after + 1));
    let until = newest.min(from + 10);
    let events: Vec<Value> = (from..until).map(line).collect();
    let next = if until < newest { json!(until.to_string()) } else { Value::Null };
    json!({"data": {"events": events}, "next": next})
}

#[test]
fn pages_are_read_from_the_cursor_on_across_restarts_and_refusals() {
    let service = Service::start();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut server = Server::start(&data, &[]);
    let source = format!(
        "dedupe: off\nsource:\n  http: {{ url: 'http://{}/usage?after={{cursor}}', items: data.events, next: {{ field: next, \
         parameter: page }}, cursor: id, interval: 100ms }}",
        service.address
    );
    create(&server, &document(&source, ""));
    let id = start(&server, &json!({}));
    for newest in [35, 36, 80] {
        service.newest.store(newest, Ordering::Release);
        eventually("the events are counted", || {
            let session = server.get(&format!("/api/v1/sessions/{id}"));
            (session["counts"]["events"]["received"] == newest).then_some(())
        });
        server.crash();
        server = Server::start(&data, &[]);
    }
    let asked = service.asked.lock().unwrap();
    assert!(asked.iter().any(|path| path == "/usage?after=34"), "{asked:?}");
    assert!(asked.iter().any(|path| path.ends_with("page=56")), "{asked:?}");
}

/// A service that gives one answer after the other, and then the last one again.
fn answering(answers: Vec<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for (nth, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut head = BufReader::new(stream.try_clone().unwrap()).lines();
            while head.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            let body = &answers[nth.min(answers.len() - 1)];
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        }
    });
    address
}

fn polled(address: &str) -> String {
    let source =
        format!("source:\n  http: {{ url: 'http://{address}/usage?after={{cursor}}', items: events, cursor: seq, mode: once }}");
    document(&source, "")
}

#[test]
fn an_answer_that_is_not_json_is_asked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut event = line(1);
    event["seq"] = json!(7);
    // The last event has no cursor. A byte order mark is skipped.
    let page = format!("\u{feff}{}", json!({"events": [event, line(2)]}));
    let address = answering(vec![b"<html>502 Bad Gateway</html>".to_vec(), b"".to_vec(), page.into_bytes()]);
    let server = Server::start(&folder.path().join("data"), &[]);
    create(&server, &polled(&address));
    let session = ended(&server, &start(&server, &json!({})));
    assert_eq!(session["sessionStatus"], "COMPLETED", "{session}");
    assert_eq!(session["counts"]["events"]["counted"], 2, "{session}");
}

#[test]
fn a_page_without_a_cursor_fails_the_session() {
    let folder = tempfile::tempdir().unwrap();
    let address = answering(vec![json!({"events": [line(1), line(2)]}).to_string().into_bytes()]);
    let server = Server::start(&folder.path().join("data"), &[]);
    create(&server, &polled(&address));
    let session = ended(&server, &start(&server, &json!({})));
    assert_eq!(session["sessionStatus"], "FAILED", "{session}");
    assert!(session["error"].as_str().unwrap().contains("`seq`"), "{session}");
}
