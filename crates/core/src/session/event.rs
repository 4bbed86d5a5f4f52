//! The events of a session in their JSON form.

use super::{RunType, Session, Status};
use crate::decimal::Quotient;
use crate::event::quote_into;
use crate::mediation::OperatorCount;
use crate::time::Timestamp;

/// Meter Session Status Change. In JSON, `meterId` and `meterName` name the pipeline, as is usual
/// in mediation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusChange {
    meter_id: String,
    meter_name: String,
    session_id: String,
    run_type: RunType,
    /// The present status of the session.
    pub status: Status,
    /// The status before the change.
    pub previous: Status,
    started_at: Timestamp,
    ended_at: Option<Timestamp>,
    error: Option<String>,
}

impl StatusChange {
    pub(super) fn of(session: &Session, previous: Status) -> StatusChange {
        StatusChange {
            meter_id: session.pipeline_id.to_string(),
            meter_name: session.pipeline_name.clone(),
            session_id: session.id.clone(),
            run_type: session.run_type,
            status: session.status(),
            previous,
            started_at: session.started_at,
            ended_at: session.ended_at,
            error: session.error.clone().filter(|_| matches!(session.status(), Status::Failed | Status::TestingFailed)),
        }
    }

    /// Returns the event as one line of JSON.
    pub fn to_json(&self) -> String {
        let mut members = Members::default();
        members.text("meterId", &self.meter_id);
        members.text("meterName", &self.meter_name);
        members.text("sessionId", &self.session_id);
        members.text("sessionRunType", self.run_type.name());
        members.text("sessionStatus", self.status.name());
        members.text("sessionPreviousStatus", self.previous.name());
        members.text("sessionStartTime", &self.started_at.to_string());
        if let Some(ended_at) = self.ended_at {
            members.text("sessionEndTime", &ended_at.to_string());
        }
        // A receiver of a failure needs its cause without another request.
        if let Some(error) = &self.error {
            members.text("sessionError", error);
        }
        members.finish()
    }
}

/// Meter Session Periodic Status Update: the counts of one operator.
#[derive(Clone, Debug)]
pub struct OperatorUpdate<'a> {
    /// Session of the operator.
    pub session: &'a Session,
    /// Id of the operator.
    pub operator: &'a str,
    /// The counts of the operator since the session's start.
    pub count: OperatorCount,
}

impl OperatorUpdate<'_> {
    /// Returns the event as one line of JSON.
    pub fn to_json(&self) -> String {
        let session = self.session;
        let mut members = Members::default();
        members.text("meterId", &session.pipeline_id.to_string());
        members.text("meterName", &session.pipeline_name);
        members.text("operatorId", self.operator);
        members.text("sessionId", &session.id);
        members.text("sessionRunType", session.run_type.name());
        members.text("sessionStartTime", &session.started_at.to_string());
        if let Some(ended_at) = session.ended_at {
            members.text("sessionEndTime", &ended_at.to_string());
        }
        members.raw("operatorOutputCount", &self.count.passed.to_string());
        members.raw("operatorErrorCount", &self.count.errors.to_string());
        members.raw("operatorTotalCount", &self.count.received.to_string());
        members.raw("operatorErrorPercentage", &percentage(self.count));
        members.finish()
    }
}

/// Returns the errors in a hundred, with at most two digits after the point.
fn percentage(count: OperatorCount) -> String {
    let hundredfold = crate::decimal::Decimal::from_count(count.errors.saturating_mul(100));
    let share = Quotient::of(hundredfold, count.received.max(1));
    share.round(2, crate::decimal::Rounding::HalfUp).unwrap_or_default().to_string()
}

#[derive(Default)]
struct Members(Vec<u8>);

impl Members {
    fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        quote_into(value.as_bytes(), &mut self.0);
    }

    fn raw(&mut self, name: &str, json: &str) {
        self.name(name);
        self.0.extend_from_slice(json.as_bytes());
    }

    fn name(&mut self, name: &str) {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        quote_into(name.as_bytes(), &mut self.0);
        self.0.push(b':');
    }

    fn finish(mut self) -> String {
        self.0.push(b'}');
        String::from_utf8_lossy(&self.0).into_owned()
    }
}
