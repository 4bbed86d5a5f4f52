//! A story for every row of the table of transitions, and one that tries all the others.

use flowmeter_core::plan::Plan;
use flowmeter_core::session::status::next;
use flowmeter_core::session::{RunType, Session, Status, Trigger};
use flowmeter_core::time::Timestamp;
use flowmeter_document::Pipeline;

const DOCUMENT: &str = "pipeline: p\nsource: {file: {path: '-'}}\noperators:\n  - meter: {key: \
                        00000000-0000-4000-8000-000000000001, rules: [{}]}\nmeterTypes: [{name: m}]\n";

fn plan() -> Plan {
    Pipeline::read(DOCUMENT).unwrap().plan
}

fn session(run_type: RunType) -> Session {
    Session::new(7, run_type, &plan(), Timestamp::from_nanos(0))
}

/// A story in words, its run type, its steps and where each leads.
type Story = (&'static str, RunType, &'static [(Trigger, Status)]);

const STORIES: &[Story] = {
    use RunType::{Debug, Normal};
    use Status::*;
    use Trigger::{AllAccepted, AllConfirmed, Cancel, Fail, Finish, Pause, Ready, Resume, Start, TestEnded, WrapUp};
    &[
        ("started to count", Normal, &[(Start, Initializing)]),
        ("started to test", Debug, &[(Start, Testing)]),
        ("canceled before it ran", Normal, &[(Cancel, Canceled)]),
        ("a test passes", Debug, &[(Start, Testing), (TestEnded, TestingPassed)]),
        ("a test fails", Debug, &[(Start, Testing), (Fail, TestingFailed)]),
        ("a test is canceled", Debug, &[(Start, Testing), (Cancel, Canceled)]),
        ("a source cannot be opened", Normal, &[(Start, Initializing), (Fail, Failed)]),
        ("canceled while preparing", Normal, &[(Start, Initializing), (Cancel, Canceled)]),
        (
            "paused and resumed, fails at work",
            Normal,
            &[(Start, Initializing), (Ready, Running), (Pause, Paused), (Resume, Running), (Fail, Failed)],
        ),
        ("canceled at work", Normal, &[(Start, Initializing), (Ready, Running), (Cancel, Canceled)]),
        ("fails while paused", Normal, &[(Start, Initializing), (Ready, Running), (Pause, Paused), (Fail, Failed)]),
        ("canceled while paused", Normal, &[(Start, Initializing), (Ready, Running), (Pause, Paused), (Cancel, Canceled)]),
        (
            "a delivery is dead for good",
            Normal,
            &[(Start, Initializing), (Ready, Running), (Finish, UsagePushing), (Fail, Failed)],
        ),
        (
            "canceled while pushing",
            Normal,
            &[(Start, Initializing), (Ready, Running), (Finish, UsagePushing), (Cancel, Canceled)],
        ),
        (
            "reconciliation finds a difference",
            Normal,
            &[(Start, Initializing), (Ready, Running), (Finish, UsagePushing), (AllAccepted, PushCompleted), (Fail, Failed)],
        ),
        (
            "all is well",
            Normal,
            &[
                (Start, Initializing),
                (Ready, Running),
                (Finish, UsagePushing),
                (AllAccepted, PushCompleted),
                (AllConfirmed, ConsumeCompleted),
                (WrapUp, Completed),
            ],
        ),
    ]
};

#[test]
fn every_story_is_told_with_the_status_before() {
    for (story, run_type, steps) in STORIES {
        let mut session = session(*run_type);
        let mut previous = Status::NeverRun;
        for (second, (trigger, status)) in (1..).zip(*steps) {
            let at = Timestamp::from_nanos(second * 1_000_000_000);
            session.error = (*trigger == Trigger::Fail).then(|| "the disk is full".to_owned());
            let event = session.take(*trigger, at).unwrap();
            assert_eq!((event.previous, event.status, session.status()), (previous, *status, *status), "{story}");
            let json = event.to_json();
            assert!(json.contains(&format!(r#""sessionStatus":"{status}","sessionPreviousStatus":"{previous}""#)), "{json}");
            assert_eq!(json.contains("sessionEndTime"), status.is_final(), "{json}");
            assert_eq!(json.contains(r#""sessionError":"the disk is full""#), *trigger == Trigger::Fail, "{json}");
            previous = *status;
        }
    }
}

/// Every pair of statuses that no story has is one that no trigger makes, and a session
/// that is asked for it stays as it was.
#[test]
fn the_stories_are_the_whole_table() {
    let stories = STORIES.iter().flat_map(|(_, _, steps)| {
        let before = std::iter::once(Status::NeverRun).chain(steps.iter().map(|(_, status)| *status));
        before.zip(steps.iter().map(|(_, status)| *status))
    });
    let told: std::collections::BTreeSet<(Status, Status)> = stories.collect();
    for from in Status::ALL {
        for to in Status::ALL {
            let triggers = Trigger::ALL.into_iter().flat_map(|trigger| [(RunType::Normal, trigger), (RunType::Debug, trigger)]);
            let leads = triggers.clone().any(|(run_type, trigger)| next(from, run_type, trigger) == Ok(to));
            assert_eq!(leads, told.contains(&(from, to)), "{from} to {to}");
        }
        for run_type in [RunType::Normal, RunType::Debug] {
            for trigger in Trigger::ALL {
                let mut session = session(run_type).kept(from, None, None);
                if let Err(illegal) = session.take(trigger, Timestamp::from_nanos(1)) {
                    assert_eq!((session.status(), session.ended_at, illegal.from), (from, None, from));
                }
            }
        }
    }
}
