//! Session events besides the status: counts at intervals, silence, a long correction queue.

use std::sync::Arc;

use flowmeter_core::session::Trigger;
use flowmeter_node::installation::Installation;
use flowmeter_node::sessions::StartOptions;

use super::support::{Hands, MINUTE, send, settings, stream_document, told, who};

const GOOD: &str = "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\",\"subject\":\"u\",\"time\":\"2023-07-01T11:00:00Z\"}\n";

#[test]
fn operators_are_told_at_whole_intervals_whatever_happens_in_between() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Hands::new());
    let open = || Installation::open(settings(folder.path(), &[]), Arc::<Hands>::clone(&clock)).unwrap().0;
    let mut installation = open();
    let slow = installation.create_pipeline(&who(), &stream_document("slow", 1), false).unwrap();
    let quick = format!("statusInterval: 10m\n{}", stream_document("quick", 2));
    let quick = installation.create_pipeline(&who(), &quick, false).unwrap();
    installation.start(&who(), &slow, StartOptions::default()).unwrap();
    let session = installation.start(&who(), &quick, StartOptions::default()).unwrap();
    send(&installation, GOOD);
    let mut told_at = Vec::new();
    for minute in 0..65 {
        installation.tell_of_sessions().unwrap();
        told_at.push(told(&installation, "meter.session.operators").len());
        if minute == 25 {
            installation.close();
            drop(installation);
            installation = open();
        }
        clock.forward(MINUTE);
    }
    let names = |name: &str| {
        let all = told(&installation, "meter.session.operators");
        all.into_iter().filter(|event| event.payload["meterName"] == name).collect::<Vec<_>>()
    };
    let operators = names("slow").iter().map(|event| event.payload["operatorId"].clone()).collect::<Vec<_>>();
    let per_update = operators.len() / 2;
    assert!(per_update >= 1 && operators[..per_update] == operators[per_update..], "{operators:?}");
    assert_eq!(names("quick").len(), 6 * per_update, "{told_at:?}");
    // 30 minutes and 60; of the other 10, 20 … 60: and the first of each at its minute.
    assert_eq!((told_at[9], told_at[10], told_at[29], told_at[30]), (0, per_update, 2 * per_update, 4 * per_update));
    let payload = serde_json::to_value(&names("slow").last().unwrap().payload).unwrap();
    let fields: std::collections::BTreeSet<&str> = payload.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "meterId",
        "meterName",
        "operatorId",
        "sessionId",
        "sessionRunType",
        "sessionStartTime",
        "operatorOutputCount",
        "operatorErrorCount",
        "operatorTotalCount",
        "operatorErrorPercentage",
    ];
    assert_eq!(fields, expected.into_iter().collect());
    assert_eq!((&payload["operatorTotalCount"], &payload["operatorErrorPercentage"]), (&1.into(), &0.into()), "{payload}");
    // And once at the end.
    installation.act(&who(), &session.session_id, Trigger::Finish).unwrap();
    let last = names("quick");
    assert_eq!(last.len(), 7 * per_update);
    assert!(last.last().unwrap().payload["sessionEndTime"].is_string());
    let all = installation.session_events("default", 0, usize::MAX).unwrap();
    assert_eq!(all.last().unwrap().payload["sessionStatus"], "COMPLETED");
    installation.close();
}

#[test]
fn silence_and_a_long_correction_queue_are_told_once() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Hands::new());
    let chosen = settings(folder.path(), &["sessions.silence=15m", "sessions.corrections_bound=1"]);
    let installation = Installation::open(chosen, Arc::<Hands>::clone(&clock)).unwrap().0;
    let pipeline = installation.create_pipeline(&who(), &stream_document("p", 1), false).unwrap();
    installation.start(&who(), &pipeline, StartOptions::default()).unwrap();
    let look = |minutes: i64| {
        clock.forward(minutes * MINUTE);
        installation.tell_of_sessions().unwrap();
        let count = |event_type: &str| told(&installation, event_type).len();
        (count("meter.input.silent"), count("meter.input.resumed"), count("meter.corrections.grown"))
    };
    assert_eq!(look(0), (0, 0, 0));
    assert_eq!(look(14), (0, 0, 0));
    assert_eq!(look(1), (1, 0, 0));
    assert_eq!(look(60), (1, 0, 0));
    send(&installation, GOOD);
    assert_eq!(look(0), (1, 1, 0));
    let silent = told(&installation, "meter.input.silent");
    assert_eq!(silent[0].payload["lastInputTime"], "2023-07-01T12:00:00.000Z");
    // Two events without a user are parked; the bound is one.
    send(&installation, "{\"a\":1}\n{\"a\":2}\n");
    assert_eq!(look(1), (1, 1, 1));
    assert_eq!(look(1), (1, 1, 1));
    assert_eq!(told(&installation, "meter.corrections.grown")[0].payload["waitingCount"], 2);
    installation.close();
}

/// A pipeline whose worker does nothing flushes nothing: an event reports it, and the server is not
/// ready.
#[test]
fn an_overdue_flush_and_its_end_each_make_one_event() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Hands::new());
    let chosen = settings(folder.path(), &["sessions.flush_overdue=10m"]);
    let installation = Installation::open(chosen, Arc::<Hands>::clone(&clock)).unwrap().0;
    let hourly = "aggregation: increment, resetSchedule: hourly";
    let document = stream_document("p", 1).replace("aggregation: increment", hourly);
    let pipeline = installation.create_pipeline(&who(), &document, false).unwrap();
    installation.start(&who(), &pipeline, StartOptions::default()).unwrap();
    send(&installation, &GOOD.replace("T11:00:00Z", "T12:00:00Z"));
    let count = |event_type: &str| told(&installation, event_type).len();
    installation.tell_of_sessions().unwrap();
    assert_eq!((count("meter.flush.overdue"), installation.late_flush()), (0, None));

    let (release, held) = std::sync::mpsc::channel::<()>();
    let served = installation.served().remove(0);
    std::thread::scope(|scope| {
        let (holding, is_held) = std::sync::mpsc::channel();
        let served = &served;
        scope.spawn(move || {
            let hold = move |_: &mut flowmeter_engine::live::Live| {
                holding.send(()).unwrap();
                let _ = held.recv();
            };
            served.worker().ask(hold).unwrap();
        });
        is_held.recv().unwrap();
        clock.forward(120 * MINUTE);
        let (name, overdue) = installation.late_flush().unwrap();
        assert!(name == "p" && overdue.as_secs() >= 3_600, "{name} {overdue:?}");
        // The overdue flush is reported before the check waits for the worker.
        let telling = scope.spawn(|| installation.tell_of_sessions());
        until(|| count("meter.flush.overdue") == 1);
        release.send(()).unwrap();
        telling.join().unwrap().unwrap();
    });
    drop(served);
    until(|| installation.late_flush().is_none());
    installation.tell_of_sessions().unwrap();
    installation.tell_of_sessions().unwrap();
    assert_eq!((count("meter.flush.overdue"), count("meter.flush.recovered")), (1, 1));
    let payload = &told(&installation, "meter.flush.overdue")[0].payload;
    assert!(payload["dueTime"].is_string() && payload["overdueSeconds"].as_u64() >= Some(3_600), "{payload}");
    installation.close();
}

/// Repeats `look` until it returns true.
fn until(mut look: impl FnMut() -> bool) {
    while !look() {
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
}

/// A clock that advances by a minute at each reading.
struct Hurried(std::sync::atomic::AtomicI64);

impl flowmeter_engine::node::Clock for Hurried {
    fn now(&self) -> flowmeter_core::time::Timestamp {
        flowmeter_core::time::Timestamp::from_nanos(self.0.fetch_add(MINUTE, std::sync::atomic::Ordering::SeqCst))
    }
}

#[test]
fn a_run_over_files_tells_its_counts_while_it_reads() {
    let folder = tempfile::tempdir().unwrap();
    let start = flowmeter_core::time::Timestamp::parse_rfc3339(b"2023-07-01T12:00:00Z").unwrap();
    let clock = Arc::new(Hurried(start.nanos().into()));
    let installation = Installation::open(settings(&folder.path().join("data"), &[]), clock).unwrap().0;
    let input = folder.path().join("events.ndjson");
    std::fs::write(&input, GOOD.repeat(40_000)).unwrap();
    let document = format!("statusInterval: 1m\n{}", super::support::batch_document("files", &input));
    let pipeline = installation.create_pipeline(&who(), &document, false).unwrap();
    let session = installation.start(&who(), &pipeline, StartOptions::default()).unwrap();
    for _ in 0..60_000 {
        if installation.session("default", &session.session_id).unwrap().session_status.is_final() {
            break;
        }
        installation.tell_of_sessions().unwrap();
        std::thread::park_timeout(std::time::Duration::from_millis(1));
    }
    let counts = told(&installation, "meter.session.operators");
    let taken: Vec<u64> = counts.iter().map(|event| event.payload["operatorTotalCount"].as_u64().unwrap()).collect();
    assert!(taken.len() >= 3 && taken.is_sorted() && taken[0] < 40_000, "{taken:?}");
    assert!(counts[0].payload.get("sessionEndTime").is_none(), "{:?}", counts[0]);
    let last = counts.last().unwrap();
    assert_eq!((&last.payload["operatorTotalCount"], last.payload["sessionEndTime"].is_string()), (&40_000.into(), true));
    installation.close();
}
