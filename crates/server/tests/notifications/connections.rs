//! Connections to receivers: kept while both sides allow it, and opened again when the other side
//! has closed them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flowmeter_node::notifications::notice::NoticeState;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::delivery::{Site, by_session};
use super::support::{MINUTE, Receiver};

/// The number of pauses of a session, and the number of steps in all.
const PAUSES: usize = 5;
const STEPS: usize = 2 + 2 * PAUSES + 1;

/// A proxy between a server and a receiver, which counts connections.
struct Between {
    address: SocketAddr,
    made: Arc<AtomicUsize>,
}

impl Between {
    /// Passes everything on; or closes each connection after one answer.
    async fn start(receiver: SocketAddr, is_closing: bool) -> Between {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let made = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&made);
        tokio::spawn(async move {
            while let Ok((outer, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let inner = TcpStream::connect(receiver).await.unwrap();
                tokio::spawn(async move { if is_closing { pass_one(outer, inner).await } else { pass_all(outer, inner).await } });
            }
        });
        Between { address, made }
    }
}

async fn pass_all(mut outer: TcpStream, mut inner: TcpStream) {
    drop(copy_bidirectional(&mut outer, &mut inner).await);
}

async fn pass_one(mut outer: TcpStream, mut inner: TcpStream) {
    let (mut asks, mut tells) = outer.split();
    let (mut answers, mut hears) = inner.split();
    let one = async {
        // An answer of a receiver is so short that it arrives in one piece.
        let mut answer = [0; 4096];
        let length = answers.read(&mut answer).await.unwrap();
        tells.write_all(&answer[..length]).await.unwrap();
    };
    tokio::select! {
        () = one => {}
        _ = copy(&mut asks, &mut hears) => {}
    }
}

/// Checks that all events of a session arrive once, in order. Returns the number of connections.
async fn connections(is_closing: bool) -> usize {
    let site = Site::open();
    let mut receiver = Receiver::start().await;
    let between = Between::start(receiver.address, is_closing).await;
    site.notify(&json!([site.hook("hook", between.address)]));
    site.session("a", 1, PAUSES);
    site.deliver().await;
    assert_eq!((site.count(NoticeState::Delivered), site.count(NoticeState::Waiting)), (STEPS, 0));
    let (steps, ids, attempts) = by_session(&mut receiver);
    assert_eq!((ids.len(), attempts), (STEPS, STEPS), "each came once");
    let mut expected = vec!["NEVER_RUN>INITIALIZING", "INITIALIZING>RUNNING"];
    expected.extend(["RUNNING>PAUSED", "PAUSED>RUNNING"].repeat(PAUSES));
    expected.push("RUNNING>CANCELED");
    assert_eq!(steps["R-00000001"], expected);
    between.made.load(Ordering::SeqCst)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_serves_notices_that_follow_each_other() {
    assert_eq!(connections(false).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_nobody_uses_is_let_go() {
    let site = Site::open();
    let receiver = Receiver::start().await;
    let between = Between::start(receiver.address, false).await;
    site.notify(&json!([site.hook("hook", between.address)]));
    for number in 1..=3 {
        site.session(&format!("p{number}"), number, 0);
        site.deliver().await;
        assert_eq!(between.made.load(Ordering::SeqCst), usize::from(number));
        site.clock.forward(MINUTE);
    }
    assert_eq!(site.count(NoticeState::Delivered), 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_closes_without_a_word_misses_nothing() {
    assert_eq!(connections(true).await, STEPS);
}
