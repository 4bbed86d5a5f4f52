//! Receivers that are away, recover slowly, or never recover, on a virtual clock.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use flowmeter_core::session::Trigger;
use flowmeter_node::installation::Installation;
use flowmeter_node::notifications::courier::Courier;
use flowmeter_node::notifications::definitions::NoticeFilter;
use flowmeter_node::notifications::notice::NoticeState;
use flowmeter_node::sessions::StartOptions;
use serde_json::{Value, json};

use super::support::{Hands, MINUTE, Receiver, SECRET, deliver, here, secret, stream_document, who};

pub(super) struct Site {
    folder: tempfile::TempDir,
    pub(super) clock: Arc<Hands>,
    installation: Arc<Installation>,
    courier: Arc<Courier>,
}

impl Site {
    pub(super) fn open() -> Site {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Hands::new());
        let (installation, courier) = Site::begin(&folder, &clock);
        Site { folder, clock, installation, courier }
    }

    fn begin(folder: &tempfile::TempDir, clock: &Arc<Hands>) -> (Arc<Installation>, Arc<Courier>) {
        let opened = Installation::open(here(&folder.path().join("data")), Arc::<Hands>::clone(clock));
        let installation = opened.unwrap().0;
        let courier = Arc::new(Courier::open(Arc::clone(&installation)).unwrap());
        (installation, courier)
    }

    /// Stops and starts again with the stored data.
    fn restart(self) -> Site {
        let Site { folder, clock, installation, courier } = self;
        drop(courier);
        installation.close();
        drop(Arc::try_unwrap(installation).ok().expect("no other reference"));
        let (installation, courier) = Site::begin(&folder, &clock);
        Site { folder, clock, installation, courier }
    }

    pub(super) fn hook(&self, name: &str, receiver: SocketAddr) -> Value {
        let secrets = [secret(self.folder.path(), "secret", SECRET)];
        json!({"name": name, "type": "webhook", "url": format!("http://{receiver}/"), "secrets": secrets})
    }

    pub(super) fn notify(&self, channels: &Value) {
        let fields = json!({"name": "n", "eventType": "meter.session.status", "channels": channels});
        self.installation.create_notification(&who(), fields.as_object().unwrap()).unwrap();
    }

    /// Runs a session that is started, paused and resumed several times, and canceled.
    pub(super) fn session(&self, name: &str, number: u8, pauses: usize) {
        let pipeline = self.installation.create_pipeline(&who(), &stream_document(name, number), false).unwrap();
        let session = self.installation.start(&who(), &pipeline, StartOptions::default()).unwrap();
        let act = |trigger| drop(self.installation.act(&who(), &session.session_id, trigger).unwrap());
        for _ in 0..pauses {
            act(Trigger::Pause);
            act(Trigger::Resume);
        }
        act(Trigger::Cancel);
    }

    pub(super) async fn deliver(&self) {
        deliver(&self.installation, &self.courier).await;
    }

    pub(super) fn count(&self, state: NoticeState) -> usize {
        let filter = NoticeFilter { state: Some(state), ..NoticeFilter::default() };
        self.installation.notices("default", &filter, None, usize::MAX).unwrap().len()
    }
}

/// Returns the steps by session, in the order in which they were accepted.
pub(super) fn by_session(receiver: &mut Receiver) -> (BTreeMap<String, Vec<String>>, Vec<String>, usize) {
    let (mut steps, mut ids, mut attempts) = (BTreeMap::<String, Vec<String>>::new(), Vec::new(), 0);
    for received in receiver.all() {
        attempts += 1;
        if received.accepted {
            let step = received.step();
            let (session, step) = step.split_once(' ').unwrap();
            steps.entry(session.to_owned()).or_default().push(step.to_owned());
            ids.push(received.header("webhook-id").to_owned());
        }
    }
    (steps, ids, attempts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn away_for_an_hour_with_a_restart_in_between_and_nothing_is_missed() {
    let mut site = Site::open();
    let mut receiver = Receiver::start().await;
    receiver.answer(503, None);
    site.notify(&json!([site.hook("hook", receiver.address)]));
    site.session("a", 1, 3);
    site.session("b", 2, 0);
    for minute in 0..60 {
        site.deliver().await;
        if minute == 30 {
            site = site.restart();
            site.session("c", 3, 1);
        }
        site.clock.forward(MINUTE);
    }
    assert_eq!((site.count(NoticeState::Delivered), site.count(NoticeState::Waiting)), (0, 9 + 3 + 5));
    receiver.answer(204, None);
    for _ in 0..80 {
        site.deliver().await;
        site.clock.forward(MINUTE);
    }
    assert_eq!((site.count(NoticeState::Delivered), site.count(NoticeState::Waiting)), (9 + 3 + 5, 0));
    let (steps, mut ids, attempts) = by_session(&mut receiver);
    assert!(attempts > 17 + 10, "it was tried all the time: {attempts}");
    for (session, pauses) in [("R-00000001", 3), ("R-00000002", 0), ("R-00000003", 1)] {
        let mut expected = vec!["NEVER_RUN>INITIALIZING", "INITIALIZING>RUNNING"];
        expected.extend(["RUNNING>PAUSED", "PAUSED>RUNNING"].repeat(pauses));
        expected.push("RUNNING>CANCELED");
        assert_eq!(steps[session], expected, "{session}");
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 17, "each was accepted once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_channel_holds_up_nobody_and_is_given_up_after_a_day() {
    let site = Site::open();
    let (mut well, mut dead) = (Receiver::start().await, Receiver::start().await);
    dead.answer(500, None);
    site.notify(&json!([site.hook("well", well.address), site.hook("dead", dead.address)]));
    site.session("a", 1, 0);
    site.deliver().await;
    assert_eq!(by_session(&mut well).0["R-00000001"].len(), 3, "one channel does not wait for another");
    // An hour before the day is over all three wait; some hours later they are dead.
    for _ in 0..23 * 6 {
        site.clock.forward(10 * MINUTE);
        site.deliver().await;
    }
    assert_eq!((site.count(NoticeState::Waiting), site.count(NoticeState::Dead)), (3, 0));
    for _ in 0..4 * 6 {
        site.clock.forward(10 * MINUTE);
        site.deliver().await;
    }
    assert_eq!((site.count(NoticeState::Waiting), site.count(NoticeState::Dead)), (0, 3));
    let states = site.installation.channel_states("default").unwrap();
    assert_eq!((&states[1]["state"], &states[1]["dead"], &states[0]["delivered"]), (&json!("failing"), &json!(3), &json!(3)));
    // It recovers, and the dead are sent again on request, under their old ids.
    drop(dead.all());
    dead.answer(200, None);
    let filter = NoticeFilter { state: Some(NoticeState::Dead), ..NoticeFilter::default() };
    let mut gone: Vec<String> =
        site.installation.notices("default", &filter, None, 9).unwrap().into_iter().map(|notice| notice.id).collect();
    gone.reverse();
    for id in &gone {
        site.courier.resend(&who(), "default", id).unwrap();
    }
    site.deliver().await;
    let (_, ids, _) = by_session(&mut dead);
    assert_eq!(ids, gone);
    assert_eq!(site.count(NoticeState::Delivered), 6);
    assert!(site.installation.channel_states("default").unwrap()[1].get("failingSince").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_may_say_when() {
    let site = Site::open();
    let mut receiver = Receiver::start().await;
    receiver.answer(429, Some("7200"));
    site.notify(&json!([site.hook("hook", receiver.address)]));
    site.session("a", 1, 0);
    site.deliver().await;
    for _ in 0..119 {
        site.clock.forward(MINUTE);
        site.deliver().await;
    }
    assert_eq!(receiver.all().len(), 1, "not before it said");
    receiver.answer(200, None);
    site.clock.forward(MINUTE);
    site.deliver().await;
    assert_eq!(receiver.all().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_turned_off_waits_and_what_is_gone_is_dead() {
    let site = Site::open();
    let mut receiver = Receiver::start().await;
    site.notify(&json!([site.hook("hook", receiver.address)]));
    site.session("a", 1, 0);
    site.courier.collect().unwrap();
    let known = site.installation.notification("default", "n").unwrap();
    let mut fields = known.shown();
    fields["enabled"] = json!(false);
    site.installation.update_notification(&who(), &known, fields.as_object().unwrap()).unwrap();
    site.session("b", 2, 0);
    site.deliver().await;
    assert!(receiver.all().is_empty());
    assert_eq!(site.count(NoticeState::Waiting), 3, "events while it is off are not sent");
    site.installation.delete_notification(&who(), &known).unwrap();
    site.deliver().await;
    assert_eq!((receiver.all().len(), site.count(NoticeState::Dead)), (0, 3));
}
