//! The statuses of a session and the steps between them. [`next`] is total, and it alone decides.

use std::fmt;

/// The purpose of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RunType {
    /// Counts usage and delivers records.
    Normal,
    /// A test: nothing is delivered, and no meter changes.
    Debug,
}

impl RunType {
    /// All types of sessions.
    pub const ALL: [RunType; 2] = [RunType::Normal, RunType::Debug];

    /// Returns the type with a name.
    pub fn named(name: &str) -> Option<RunType> {
        RunType::ALL.into_iter().find(|run_type| run_type.name() == name)
    }

    /// Returns the name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            RunType::Normal => "NORMAL",
            RunType::Debug => "DEBUG",
        }
    }
}

/// The status of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Defined, not yet executed.
    NeverRun,
    /// Running in test mode.
    Testing,
    /// The test has succeeded.
    TestingPassed,
    /// The test has failed.
    TestingFailed,
    /// The session is being prepared.
    Initializing,
    /// The session processes usage.
    Running,
    /// Temporarily suspended; position and state are kept.
    Paused,
    /// Input is exhausted; records are being delivered.
    UsagePushing,
    /// Every record was accepted by every target.
    PushCompleted,
    /// Every target has confirmed that it holds the records.
    ConsumeCompleted,
    /// The session is finished.
    Completed,
    /// Ended by an error.
    Failed,
    /// Ended by a person or the system before completion.
    Canceled,
}

impl Status {
    /// All statuses, in order.
    pub const ALL: [Status; 13] = [
        Status::NeverRun,
        Status::Testing,
        Status::TestingPassed,
        Status::TestingFailed,
        Status::Initializing,
        Status::Running,
        Status::Paused,
        Status::UsagePushing,
        Status::PushCompleted,
        Status::ConsumeCompleted,
        Status::Completed,
        Status::Failed,
        Status::Canceled,
    ];

    /// Returns the name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Status::NeverRun => "NEVER_RUN",
            Status::Testing => "TESTING",
            Status::TestingPassed => "TESTING_PASSED",
            Status::TestingFailed => "TESTING_FAILED",
            Status::Initializing => "INITIALIZING",
            Status::Running => "RUNNING",
            Status::Paused => "PAUSED",
            Status::UsagePushing => "USAGE_PUSHING",
            Status::PushCompleted => "PUSH_COMPLETED",
            Status::ConsumeCompleted => "CONSUME_COMPLETED",
            Status::Completed => "COMPLETED",
            Status::Failed => "FAILED",
            Status::Canceled => "CANCELED",
        }
    }

    /// Returns the status with this name in JSON.
    pub fn named(name: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether no status follows.
    pub const fn is_final(self) -> bool {
        matches!(self, Status::TestingPassed | Status::TestingFailed | Status::Completed | Status::Failed | Status::Canceled)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A cause for a session to change its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// The session is started.
    Start,
    /// The preparation is done.
    Ready,
    /// A person or the system suspends it.
    Pause,
    /// A paused session resumes.
    Resume,
    /// Input is exhausted, or the session was asked to finish.
    Finish,
    /// Every target accepted every record.
    AllAccepted,
    /// Every target confirmed that it holds the records.
    AllConfirmed,
    /// Nothing is left to do.
    WrapUp,
    /// The test is over.
    TestEnded,
    /// Something failed that ends the session.
    Fail,
    /// A person or the system ends it.
    Cancel,
}

impl Trigger {
    /// All triggers, in order.
    pub const ALL: [Trigger; 11] = [
        Trigger::Start,
        Trigger::Ready,
        Trigger::Pause,
        Trigger::Resume,
        Trigger::Finish,
        Trigger::AllAccepted,
        Trigger::AllConfirmed,
        Trigger::WrapUp,
        Trigger::TestEnded,
        Trigger::Fail,
        Trigger::Cancel,
    ];

    /// Returns the status to which it leads if allowed; for messages.
    const fn goal(self, run_type: RunType) -> Status {
        match self {
            Trigger::Start if matches!(run_type, RunType::Debug) => Status::Testing,
            Trigger::Start => Status::Initializing,
            Trigger::Ready | Trigger::Resume => Status::Running,
            Trigger::Pause => Status::Paused,
            Trigger::Finish => Status::UsagePushing,
            Trigger::AllAccepted => Status::PushCompleted,
            Trigger::AllConfirmed => Status::ConsumeCompleted,
            Trigger::WrapUp => Status::Completed,
            Trigger::TestEnded => Status::TestingPassed,
            Trigger::Fail => Status::Failed,
            Trigger::Cancel => Status::Canceled,
        }
    }
}

/// A step that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Illegal {
    /// The status of the session.
    pub from: Status,
    /// The status that was requested.
    pub to: Status,
}

impl fmt::Display for Illegal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a session cannot go from {} to {}", self.from, self.to)
    }
}

impl std::error::Error for Illegal {}

/// Returns the status that follows. No other steps are allowed.
pub const fn next(from: Status, run_type: RunType, trigger: Trigger) -> Result<Status, Illegal> {
    use Status::{
        Canceled, Completed, ConsumeCompleted, Failed, Initializing, NeverRun, Paused, PushCompleted, Running, Testing,
        TestingFailed, TestingPassed, UsagePushing,
    };
    Ok(match (from, trigger) {
        (NeverRun, Trigger::Start) => trigger.goal(run_type),
        (Testing, Trigger::TestEnded) => TestingPassed,
        (Testing, Trigger::Fail) => TestingFailed,
        (Initializing, Trigger::Ready) | (Paused, Trigger::Resume) => Running,
        (Running, Trigger::Pause) => Paused,
        (Running, Trigger::Finish) => UsagePushing,
        (UsagePushing, Trigger::AllAccepted) => PushCompleted,
        (PushCompleted, Trigger::AllConfirmed) => ConsumeCompleted,
        (ConsumeCompleted, Trigger::WrapUp) => Completed,
        (Initializing | Running | Paused | UsagePushing | PushCompleted, Trigger::Fail) => Failed,
        (NeverRun | Testing | Initializing | Running | Paused | UsagePushing, Trigger::Cancel) => Canceled,
        _ => return Err(Illegal { from, to: trigger.goal(run_type) }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The transition table, copied from the specification.
    const TABLE: [(Status, &[Status]); 8] = {
        use Status::*;
        [
            (NeverRun, &[Initializing, Testing, Canceled]),
            (Testing, &[TestingPassed, TestingFailed, Canceled]),
            (Initializing, &[Running, Failed, Canceled]),
            (Running, &[Paused, UsagePushing, Failed, Canceled]),
            (Paused, &[Running, Failed, Canceled]),
            (UsagePushing, &[PushCompleted, Failed, Canceled]),
            (PushCompleted, &[ConsumeCompleted, Failed]),
            (ConsumeCompleted, &[Completed]),
        ]
    };

    #[test]
    fn exactly_the_steps_of_the_table_exist() {
        let mut reached = BTreeSet::new();
        for from in Status::ALL {
            for run_type in [RunType::Normal, RunType::Debug] {
                for trigger in Trigger::ALL {
                    match next(from, run_type, trigger) {
                        Ok(to) => drop(reached.insert((from, to))),
                        Err(illegal) => assert_eq!(illegal.from, from),
                    }
                }
            }
        }
        let table = TABLE.iter().flat_map(|(from, tos)| tos.iter().map(|to| (*from, *to)));
        assert_eq!(reached, table.collect());
        assert!(Status::ALL.iter().all(|s| s.is_final() != TABLE.iter().any(|(from, _)| from == s)));
    }

    #[test]
    fn an_illegal_step_names_both() {
        let illegal = next(Status::Completed, RunType::Normal, Trigger::Resume).unwrap_err();
        assert_eq!(illegal.to_string(), "a session cannot go from COMPLETED to RUNNING");
    }
}
