//! Retention: events and deliveries that are removed after an hour, and those that must stay.

use std::sync::Arc;

use flowmeter_core::session::Trigger;
use flowmeter_node::installation::Installation;
use flowmeter_node::notifications::courier::Courier;
use flowmeter_node::notifications::definitions::NoticeFilter;
use flowmeter_node::sessions::StartOptions;
use serde_json::json;

use super::support::{Hands, MINUTE, Receiver, SECRET, deliver, secret, settings, stream_document, who};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_or_was_not_seen_stays_and_everything_else_goes() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Hands::new());
    let chosen = settings(&folder.path().join("data"), &["notifications.allow_private=true", "notifications.retention=1h"]);
    let installation = Installation::open(chosen, Arc::<Hands>::clone(&clock)).unwrap().0;
    let courier = Arc::new(Courier::open(Arc::clone(&installation)).unwrap());
    let receiver = Receiver::start().await;
    let secrets = [secret(folder.path(), "secret", SECRET)];
    let hook = json!({"type": "webhook", "url": format!("http://{}/", receiver.address), "secrets": secrets});
    let fields = json!({"name": "n", "eventType": "meter.session.status", "channels": [{"type": "log"}, hook]});
    installation.create_notification(&who(), fields.as_object().unwrap()).unwrap();
    let pipeline = installation.create_pipeline(&who(), &stream_document("a", 1), false).unwrap();
    let session = installation.start(&who(), &pipeline, StartOptions::default()).unwrap();
    let kept = || {
        let notices = installation.notices("default", &NoticeFilter::default(), None, usize::MAX).unwrap();
        (installation.session_events("default", 0, usize::MAX).unwrap().len(), notices.len())
    };
    // They are old, but the courier has not processed them yet.
    clock.forward(120 * MINUTE);
    assert_eq!((installation.let_go_of_told().unwrap(), kept()), (0, (2, 0)));
    // One channel accepts them, the other does not.
    receiver.answer(500, None);
    deliver(&installation, &courier).await;
    assert_eq!((installation.let_go_of_told().unwrap(), kept()), (0, (2, 4)), "deliveries are young");
    clock.forward(120 * MINUTE);
    assert_eq!((installation.let_go_of_told().unwrap(), kept()), (2, (2, 2)), "what waits stays, with its events");
    receiver.answer(204, None);
    deliver(&installation, &courier).await;
    let newest = installation.newest_event().unwrap();
    assert_eq!((installation.let_go_of_told().unwrap(), kept()), (4, (0, 0)));
    // The numbers continue.
    installation.act(&who(), &session.session_id, Trigger::Pause).unwrap();
    assert_eq!(installation.session_events("default", 0, usize::MAX).unwrap()[0].number, newest + 1);
    installation.close();
}
