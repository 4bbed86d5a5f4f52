//! A clock that jumps, a receiver, and a server for tests.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU16, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use flowmeter_core::time::Timestamp;
use flowmeter_engine::live::Letter;
use flowmeter_engine::node::{Clock, Submission};
use flowmeter_node::audit::Who;
use flowmeter_node::installation::Installation;
use flowmeter_node::notifications::courier::Courier;
use flowmeter_node::sessions::SessionEvent;
use flowmeter_node::settings::{Flag, Layers, Settings};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(crate) const OLD_SECRET: &str = "whsec_c2l4dGVlbi1ieXRlcy1hbmQtYS1mZXctbW9yZSE=";
pub(crate) const MINUTE: i64 = 60_000_000_000;
/// Timeout of every step; none is expected to reach it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A clock that does not advance until it is moved.
pub(crate) struct Hands(AtomicI64);

impl Hands {
    pub(crate) fn new() -> Arc<Hands> {
        let start = Timestamp::parse_rfc3339(b"2023-07-01T12:00:00Z").unwrap();
        Arc::new(Hands(AtomicI64::new(start.nanos())))
    }

    pub(crate) fn forward(&self, nanos: i64) {
        self.0.fetch_add(nanos, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

pub(crate) fn settings(data: &Path, more: &[&str]) -> Settings {
    let mut flags = vec![
        Flag::named("--data", "data", data.to_string_lossy()),
        Flag::named("--listen", "listen", "127.0.0.1:0"),
        Flag::set("threads=1").unwrap(),
    ];
    flags.extend(more.iter().map(|assignment| Flag::set(assignment).unwrap()));
    Settings::read(&Layers { flags, ..Layers::default() }).unwrap()
}

/// The settings of most tests: receivers are on this machine.
pub(crate) fn here(data: &Path) -> Settings {
    settings(data, &["notifications.allow_private=true"])
}

pub(crate) fn who() -> Who {
    Who::named("test", "default")
}

/// A message that a receiver got.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) accepted: bool,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Returns the session and the status before and after.
    pub(crate) fn step(&self) -> String {
        let event = self.json();
        let text = |name: &str| event["data"][name].as_str().unwrap_or("-").to_owned();
        format!("{} {}>{}", text("sessionId"), text("sessionPreviousStatus"), text("sessionStatus"))
    }
}

struct Desk {
    status: AtomicU16,
    retry_after: Mutex<Option<&'static str>>,
    got: UnboundedSender<Received>,
}

/// An HTTP server that accepts notifications, or refuses them.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    desk: Arc<Desk>,
    got: UnboundedReceiver<Received>,
}

async fn take(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response {
    let status = StatusCode::from_u16(desk.status.load(Ordering::SeqCst)).unwrap();
    drop(desk.got.send(Received { headers, body: body.to_vec(), accepted: status.is_success() }));
    match *desk.retry_after.lock().unwrap() {
        Some(after) => (status, [("retry-after", after)], "later").into_response(),
        None => status.into_response(),
    }
}

impl Receiver {
    pub(crate) async fn start() -> Receiver {
        Receiver::serving(|listener, router| async move { axum_serve(listener, router).await }).await
    }

    pub(crate) async fn serving<F: Future<Output = ()> + Send + 'static>(
        serve: impl FnOnce(TcpListener, Router) -> F,
    ) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, got) = unbounded_channel();
        let desk = Arc::new(Desk { status: AtomicU16::new(204), retry_after: Mutex::default(), got: sender });
        tokio::spawn(serve(listener, Router::new().fallback(take).with_state(Arc::clone(&desk))));
        Receiver { address, desk, got }
    }

    pub(crate) fn answer(&self, status: u16, retry_after: Option<&'static str>) {
        self.desk.status.store(status, Ordering::SeqCst);
        *self.desk.retry_after.lock().unwrap() = retry_after;
    }

    pub(crate) async fn next(&mut self) -> Received {
        tokio::time::timeout(PATIENCE, self.got.recv()).await.expect("nothing came").unwrap()
    }

    /// Returns the messages that have arrived so far.
    pub(crate) fn all(&mut self) -> Vec<Received> {
        std::iter::from_fn(|| self.got.try_recv().ok()).collect()
    }
}

async fn axum_serve(listener: TcpListener, router: Router) {
    let bounds = flowmeter_server::serve::Bounds::new(&flowmeter_node::settings::Limits::default(), Duration::ZERO, None);
    flowmeter_server::serve::plain(listener, flowmeter_server::serve::Served::new(router, bounds), std::future::pending()).await;
}

/// A server that runs in the test.
pub(crate) struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    running: tokio::task::JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(settings: Settings, clock: Arc<Hands>) -> Server {
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, is_ready) = oneshot::channel();
        let running = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            let ready = |address, _: &Installation| ready.send(address).unwrap();
            flowmeter_server::run::run(settings, Vec::new(), clock, stopped, ready).await.unwrap();
        });
        let address = tokio::time::timeout(PATIENCE, is_ready).await.expect("it does not start").expect("it does not start");
        Server { address, stop: Some(stop), running }
    }

    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        self.running.await.unwrap();
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header("host", self.address.to_string());
        let request = request.header("content-type", "application/json").body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (head.status.as_u16(), serde_json::from_slice(&bytes).unwrap_or_default())
    }

    pub(crate) async fn made(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call("POST", path, &body.to_string()).await;
        assert_eq!(status, 201, "{answer}");
        answer
    }
}

/// A pipeline that reads a file once.
pub(crate) fn batch_document(name: &str, input: &Path) -> String {
    format!(
        "pipeline: {name}\nsource: {{file: {{path: '{}'}}}}\ndedupe: off\noperators:\n  - meter: {{key: \
         00000000-0000-4000-8000-000000000001, rules: [{{}}]}}\nmeterTypes: [{{name: m, aggregation: increment}}]\ntargets: \
         [{{file: {{path: '{}'}}}}]\n",
        input.display(),
        input.with_extension("records").display()
    )
}

/// Returns a pipeline that takes events as they arrive.
pub(crate) fn stream_document(name: &str, number: u8) -> String {
    format!(
        "pipeline: {name}\nsource: {{http: {{}}}}\noperators:\n  - meter: {{key: 00000000-0000-4000-8000-0000000000{number:02}, \
         rules: [{{}}]}}\nmeterTypes: [{{name: m{number}, aggregation: increment}}]\n"
    )
}

/// A file with a secret, and the reference to it.
pub(crate) fn secret(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    format!("${{file:{}}}", file.display())
}

/// Attempts everything that is due, repeatedly, until nothing is.
pub(crate) async fn deliver(installation: &Installation, courier: &Arc<Courier>) {
    loop {
        courier.collect().unwrap();
        let errands = courier.due(installation.now()).unwrap();
        if errands.is_empty() {
            return;
        }
        let mut attempts = tokio::task::JoinSet::new();
        for errand in errands {
            attempts.spawn(Arc::clone(courier).attempt(errand));
        }
        while let Some(attempted) = attempts.join_next().await {
            attempted.unwrap().unwrap();
        }
    }
}

/// Returns the events of a type, in order.
pub(crate) fn told(installation: &Installation, event_type: &str) -> Vec<SessionEvent> {
    let all = installation.session_events("default", 0, usize::MAX).unwrap();
    all.into_iter().filter(|event| event.event_type == event_type).collect()
}

/// Sends events and waits until every pipeline has processed them.
pub(crate) fn send(installation: &Installation, lines: &str) {
    let letter = Letter::open("default", &[]);
    let mut bytes = Vec::new();
    letter.write_head(&mut bytes);
    let head = bytes.len();
    bytes.extend_from_slice(lines.as_bytes());
    let (sender, receiver) = channel();
    let count = lines.lines().count() as u32;
    let clock = Arc::clone(installation.clock());
    installation.put(Submission::events(head, bytes, count, &*clock, Box::new(move |placed| drop(sender.send(placed)))));
    let placed = receiver.recv().unwrap().unwrap();
    for served in installation.served() {
        served.worker().wait_for(placed.position + 1).unwrap();
    }
}
