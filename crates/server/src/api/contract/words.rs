//! Lists of words that exist as types in Rust, as schemas.

use flowmeter_core::session::Status;
use flowmeter_core::verdict::Reason;
use flowmeter_engine::outbox::DeliveryState;
use flowmeter_node::audit::Via;
use flowmeter_node::jobs::{ExportFormat, JobState};
use flowmeter_node::keys::Scope;
use flowmeter_node::notifications::vocabulary::EVENT_KINDS;
use serde_json::{Value, json};

use crate::problem::Code;

/// Returns the schemas by name.
pub(super) fn schemas() -> impl Iterator<Item = (String, Value)> {
    [
        ("DeliveryState", "The state of a record at a target", DeliveryState::ALL.map(DeliveryState::name).to_vec()),
        ("EventType", "The type of an event of the server", EVENT_KINDS.iter().map(|kind| kind.name).collect()),
        ("ExportFormat", "The format of an exported file", ExportFormat::ALL.map(ExportFormat::name).to_vec()),
        ("JobState", "The state of a job", JobState::ALL.map(JobState::name).to_vec()),
        ("ParkReason", "Why an event was parked", Reason::ALL.into_iter().map(Reason::code).collect()),
        ("ProblemCode", "The code of a refusal; GET /api/v1/errors describes each", Code::all().map(Code::name).collect()),
        ("Scope", "A right of an API key; `admin` includes the others", Scope::ALL.into_iter().map(Scope::name).collect()),
        ("SessionStatus", "The status of a session", Status::ALL.into_iter().map(Status::name).collect()),
        ("Via", "The way by which a request proved its key", Via::ALL.map(Via::name).to_vec()),
    ]
    .into_iter()
    .map(|(name, description, words): (_, _, Vec<&str>)| {
        (name.to_owned(), json!({"type": "string", "description": description, "enum": words}))
    })
}
