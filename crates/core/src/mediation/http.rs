//! `http`: events wait until the service has been asked about all events of the block.

use std::fmt::Debug;
use std::sync::Arc;

use super::Mediator;
use super::fields::set;
use super::flow::{Flow, Token};
use crate::event::Kind;
use crate::operator::{Http, HttpAnswer, HttpRequest, OnRefused, OnUnavailable, Operator};
use crate::template::Reader;
use crate::time::Timestamp;
use crate::verdict::Reason;

/// The services that operators ask. Their answers are data: an implementation keeps them, so that
/// the same event gets the same answer.
pub trait Services: Send + Sync + Debug {
    /// Asks about events, in their order. The answers are in the same order.
    fn ask(&self, asked: &[Asked<'_>]) -> Vec<HttpAnswer>;

    /// Remembers an answer that was recorded: it may serve later requests.
    fn remember(&self, _past: PastAnswer) {}
}

/// An answer that was recorded.
#[derive(Clone, Debug)]
pub struct PastAnswer {
    /// The id of the operator.
    pub operator: String,
    /// The hash of the request.
    pub request: [u8; 32],
    /// When the event of the request was received.
    pub received: Timestamp,
    /// The answer, as [`HttpAnswer::Answered`] has it.
    pub answer: Vec<u8>,
}

/// A request of an event.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The id of the operator.
    pub operator: &'a str,
    /// The options of the operator.
    pub http: &'a Http,
    /// The request of the event.
    pub request: &'a HttpRequest,
    /// When the event was received.
    pub received: Timestamp,
    /// The event that asks.
    pub event: &'a AskingEvent,
}

/// The event that a request is made for: the same at every replay.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskingEvent {
    /// The operator that made the events of its block, if they did not come from outside.
    pub derived_by: Option<u16>,
    /// Its line, or that of the event it descends from.
    pub line: u64,
    /// The operators and numbers by which it descends from that event.
    pub descent: Vec<(u16, u32)>,
}

impl Mediator {
    /// Asks services about the events that wait for that, and leads them on, until none waits.
    pub(super) fn ask(&mut self, flow: &mut Flow) {
        let plan = Arc::clone(&self.plan);
        while !flow.asking.is_empty() {
            let mut asking = std::mem::take(&mut flow.asking);
            asking.sort_by(|(_, a), (_, b)| flow.order(a, b));
            let mut requests = Vec::with_capacity(asking.len());
            for (node, token) in asking {
                let Operator::Http(http) = &plan.nodes[usize::from(node)].operator else { continue };
                match http.request(&flow.batch, token.row as usize) {
                    Ok(request) => requests.push((node, token, http, request, flow.asking_event(token))),
                    Err((reason, detail)) => flow.park(node, token, reason, detail),
                }
            }
            let asked: Vec<Asked<'_>> = requests
                .iter()
                .map(|(node, _, http, request, event)| Asked {
                    operator: &plan.nodes[usize::from(*node)].id,
                    http,
                    request,
                    received: flow.at,
                    event,
                })
                .collect();
            let answers = flow.services.as_ref().map(|services| services.ask(&asked));
            let mut answers = answers.unwrap_or_default().into_iter();
            for (node, token, http, ..) in &requests {
                match self.take_answer(flow, *node, http, *token, answers.next()) {
                    Ok(()) => self.leave(&plan, flow, *node, 0, *token),
                    Err((reason, detail)) => flow.park(*node, *token, reason, detail),
                }
                self.lead(&plan, flow, &[], *token);
            }
        }
    }

    /// Sets the fields of an event. Without services, as in a trial, they become null.
    fn take_answer(
        &mut self,
        flow: &mut Flow,
        node: u16,
        http: &Http,
        token: Token,
        answer: Option<HttpAnswer>,
    ) -> Result<(), (Reason, String)> {
        let fields = match answer {
            Some(HttpAnswer::Answered(answer)) => {
                let reader = self.answers.entry(node).or_insert_with(|| Reader::new(&http.answer_paths));
                http.fields(reader, &answer)?
            }
            Some(HttpAnswer::Refused(why)) if http.on_refused == OnRefused::Park => return Err((Reason::HttpRefused, why)),
            Some(HttpAnswer::Unavailable(why)) if http.on_unavailable != OnUnavailable::Pass => {
                return Err((Reason::HttpUnavailable, why));
            }
            // The caller takes an event without an outcome again: what becomes of it here is dropped.
            Some(HttpAnswer::Refused(_) | HttpAnswer::Unavailable(_) | HttpAnswer::Skipped | HttpAnswer::Later(_)) | None => {
                http.set.iter().map(|(slot, _)| (*slot, Kind::Null, Vec::new())).collect()
            }
        };
        for (slot, kind, bytes) in fields {
            let kind = if kind == Kind::Missing { Kind::Null } else { kind };
            set(&self.plan, &self.kin, &mut flow.batch, token.row as usize, slot, kind, &bytes);
        }
        Ok(())
    }
}
