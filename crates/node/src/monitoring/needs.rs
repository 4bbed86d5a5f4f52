//! Problems of a namespace that need attention: each once, the gravest kinds first.

use std::sync::Arc;

use flowmeter_core::schedule::Period;
use flowmeter_core::session::{Session, Status};
use flowmeter_core::time::Timestamp;
use serde_json::{Value, json};

use super::overview::encoded;
use super::readiness::Condition;
use super::standing::PipelineGauge;
use crate::installation::{Installation, RESERVE_BYTES, Served};

/// A failing target is reported after this many nanoseconds.
const FAILING_FOR: i64 = 60_000_000_000;
/// Groups of parked events that are reported.
const GROUPS_SHOWN: usize = 3;
/// A pipeline is behind when an event has waited for so many nanoseconds to be counted.
const BEHIND_FOR: i128 = 60_000_000_000;
/// The disk is nearly full when the server takes less than this many bytes more: an hour of 50,000
/// events a second.
const DISK_NEAR_BYTES: u64 = 2 << 30;
/// Meters nearly take all the memory they may at this many hundredths of it.
const METERS_NEAR_PERCENT: u128 = 90;
/// Keys and certificates are reported this many nanoseconds before they expire.
const EXPIRING_WITHIN: i64 = 14 * DAY;
/// A certificate that expires sooner than this is grave.
const EXPIRING_SOON: i64 = 3 * DAY;
/// Parked events are reported this many nanoseconds before their period is closed for good.
const CLOSING_WITHIN: i64 = DAY / 4;
/// Shorter periods close too often for a report.
const CLOSING_PERIOD_MIN: i64 = DAY;
const DAY: i64 = 86_400_000_000_000;

/// Something that is valid for a limited time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expiring {
    /// The certificate of the server.
    Certificate(Timestamp),
    /// An API key that is in use, with its name.
    Key(String, Timestamp),
}

/// The state in which problems are looked for.
pub(super) struct Seen<'s> {
    /// The running pipelines, with their numbers.
    pub(super) gauges: &'s [(Arc<Served>, PipelineGauge)],
    /// Whether the counts of events add up.
    pub(super) is_balanced: bool,
    pub(super) targets: &'s [Value],
    /// Groups of parked events.
    pub(super) groups: &'s Value,
    pub(super) expiring: &'s [Expiring],
}

/// A problem that an operator should look at.
pub(super) struct Need {
    severity: &'static str,
    kind: &'static str,
    object: String,
    count: u64,
    since: Option<String>,
    title: String,
    text: String,
    href: String,
}

impl Need {
    /// Returns it as the overview has it.
    pub(super) fn shown(&self) -> Value {
        json!({
            "id": format!("{}:{}", self.kind, self.object), "severity": self.severity, "kind": self.kind, "object": self.object,
            "count": self.count, "since": self.since, "title": self.title, "text": self.text, "href": self.href,
        })
    }
}

impl Installation {
    /// Returns the problems of a namespace, the gravest kinds first.
    pub(super) fn needs(&self, namespace: &str, seen: &Seen<'_>) -> Vec<Need> {
        let now = self.now();
        let mut needs: Vec<Need> = self.conditions().iter().map(condition_need).collect();
        needs.extend((!seen.is_balanced).then(|| unbalanced_need(namespace)));
        let mut targets: Vec<Need> = seen.targets.iter().filter_map(|target| target_need(target, now)).collect();
        targets.sort_by_key(|need| need.kind != "dead");
        needs.extend(targets);
        let served = || seen.gauges.iter().map(|(served, _)| served);
        needs.extend(served().filter_map(|served| self.failed_need(served)));
        needs.extend(seen.groups["groups"].as_array().into_iter().flatten().take(GROUPS_SHOWN).map(group_need));
        needs.extend(served().filter_map(|served| self.silent_need(served)));
        needs.extend(seen.gauges.iter().filter_map(|(served, gauge)| behind_need(served, gauge, now)));
        needs.extend(self.disk_need());
        needs.extend(self.meters_need());
        needs.extend(seen.expiring.iter().filter_map(|one| expiring_need(one, self.wall())));
        needs.extend(served().filter_map(|served| self.closing_need(served, now)));
        needs
    }

    fn failed_need(&self, served: &Served) -> Option<Need> {
        let (number, _) = self.standing.newest(served.kept.id).filter(|(_, status)| *status == Status::Failed)?;
        let session = Session::id_of(number);
        let ended = self.session(&served.kept.namespace, &session).ok().and_then(|session| session.session_end_time);
        Some(Need {
            severity: "bad",
            kind: "session_failed",
            object: served.kept.name.clone(),
            count: 1,
            since: ended.map(|at| at.to_string()),
            title: format!("{} failed", served.kept.name),
            text: format!("Session {session} ended in FAILED. Nothing is counted until a new one starts."),
            href: format!("/sessions/{session}"),
        })
    }

    fn silent_need(&self, served: &Served) -> Option<Need> {
        let since = self.teller.silent_since(served.session()).filter(|_| !served.board().is_paused())?;
        let name = &served.kept.name;
        Some(Need {
            severity: "warn",
            kind: "silent",
            object: name.clone(),
            count: 1,
            since: Some(since.to_string()),
            title: format!("{name} receives nothing"),
            text: format!("No event has come since {since}. Look at what sends them."),
            href: format!("/pipelines/{}", encoded(name)),
        })
    }

    /// Reports parked events while a period of their pipeline can still take them, but not for long.
    fn closing_need(&self, served: &Served, now: Timestamp) -> Option<Need> {
        let open = Some(self.open_parked(served)).filter(|open| *open > 0)?;
        let compiled = self.compiled(&served.kept)?;
        let soonest = compiled.plan.meter_types.iter().filter_map(|kind| {
            let period = kind.schedule.period_at(&kind.zone, now);
            // The period before may be within its grace.
            let before = kind.schedule.period_at(&kind.zone, period.start.saturating_add(-1));
            let closes = [before, period].into_iter().find_map(|period| closes_soon(period, kind.late.grace, now))?;
            Some((closes, kind.name.as_str()))
        });
        let (closes, meter_type) = soonest.min()?;
        let (name, is_one) = (&served.kept.name, open == 1);
        Some(Need {
            severity: "warn",
            kind: "closing",
            object: name.clone(),
            count: open,
            since: None,
            title: format!("{open} parked {} of {name} may miss a closing", if is_one { "event" } else { "events" }),
            text: format!("A period of {meter_type} is closed at {closes}: what is settled later is sent as a revision."),
            href: "/corrections".to_owned(),
        })
    }

    fn disk_need(&self) -> Option<Need> {
        // If the free space is unknown, a write will show whether there is room.
        let free = self.disk.free_bytes().ok()?;
        let taken = RESERVE_BYTES.saturating_add(self.settings.limits.decompressed_bytes_max);
        // A disk that is full already is a condition of its own.
        let left = free.checked_sub(taken).filter(|left| *left < DISK_NEAR_BYTES)?;
        Some(Need {
            severity: "warn",
            kind: "disk_near",
            object: "server".to_owned(),
            count: 1,
            since: None,
            title: "The disk is nearly full".to_owned(),
            text: format!("After {} MiB more, nothing is taken. Make room, or shorten the retention.", left >> 20),
            href: "/system".to_owned(),
        })
    }

    fn meters_need(&self) -> Option<Need> {
        let taken = self.meter_bytes(0);
        let most = self.meters_bytes_max();
        let percent = u128::from(taken) * 100 / u128::from(most.max(1));
        // Meters that take all of it are a condition of their own.
        (taken < most && percent >= METERS_NEAR_PERCENT).then(|| Need {
            severity: "warn",
            kind: "meters_near",
            object: "server".to_owned(),
            count: 1,
            since: None,
            title: "Meters nearly take all the memory they may".to_owned(),
            text: format!("{percent} % of memory.meters_bytes. Beyond that, every event is refused; raise it in time."),
            href: "/system".to_owned(),
        })
    }
}

fn condition_need(standing: &super::readiness::Standing) -> Need {
    Need {
        severity: if standing.condition == Condition::FlushOverdue { "warn" } else { "bad" },
        kind: standing.condition.name(),
        object: "server".to_owned(),
        count: 1,
        since: Some(standing.since.to_string()),
        title: standing.condition.title().to_owned(),
        text: standing.detail.clone(),
        href: "/system".to_owned(),
    }
}

fn unbalanced_need(namespace: &str) -> Need {
    Need {
        severity: "bad",
        kind: "unbalanced",
        object: namespace.to_owned(),
        count: 1,
        since: None,
        title: "The numbers do not add up".to_owned(),
        text: "Received is not counted + duplicate + filtered + parked. Run `flowmeter verify`.".to_owned(),
        href: "/system".to_owned(),
    }
}

fn behind_need(served: &Served, gauge: &PipelineGauge, now: Timestamp) -> Option<Need> {
    // A paused session waits on purpose; one that failed is reported as that.
    let is_at_work = !served.board().is_paused() && served.board().failure().is_none();
    if gauge.lag_nanos < BEHIND_FOR || !is_at_work {
        return None;
    }
    let (name, waiting) = (&served.kept.name, gauge.lag_events);
    let since = now.saturating_sub(i64::try_from(gauge.lag_nanos).unwrap_or(i64::MAX));
    Some(Need {
        severity: "warn",
        kind: "behind",
        object: name.clone(),
        count: waiting,
        since: Some(since.to_string()),
        title: format!("{name} is behind"),
        text: format!("Events wait to be counted: {waiting}, the oldest since {since}."),
        href: format!("/pipelines/{}", encoded(name)),
    })
}

fn expiring_need(expiring: &Expiring, now: Timestamp) -> Option<Need> {
    let (what, object, at, href) = match expiring {
        Expiring::Certificate(at) => ("The certificate".to_owned(), "certificate".to_owned(), *at, "/system"),
        Expiring::Key(name, at) => (format!("The key `{name}`"), name.clone(), *at, "/keys"),
    };
    let left = i64::try_from(at.since(now)).unwrap_or(i64::MAX);
    let is_grave = matches!(expiring, Expiring::Certificate(_)) && left < EXPIRING_SOON;
    (left < EXPIRING_WITHIN).then(|| Need {
        severity: if is_grave { "bad" } else { "warn" },
        kind: "expiring",
        object,
        count: 1,
        since: None,
        title: if left > 0 { format!("{what} expires soon") } else { format!("{what} has expired") },
        text: match expiring {
            Expiring::Certificate(at) => format!("At {at}. Replace the files of tls.cert and tls.key; no restart is needed."),
            Expiring::Key(_, at) => format!("At {at}; then requests with it are refused. Replace it in its program."),
        },
        href: href.to_owned(),
    })
}

/// Returns when a period is closed for good, if that is soon; not of short periods.
fn closes_soon(period: Period, grace: i64, now: Timestamp) -> Option<Timestamp> {
    let is_long = period.end != Timestamp::MAX && period.end.since(period.start) >= i128::from(CLOSING_PERIOD_MIN);
    let closes = period.end.saturating_add(grace);
    (is_long && closes > now && closes.since(now) < i128::from(CLOSING_WITHIN)).then_some(closes)
}

fn target_need(target: &Value, now: Timestamp) -> Option<Need> {
    let text = |name: &str| target[name].as_str().unwrap_or_default();
    let (dead, waiting) = (target["dead"].as_u64().unwrap_or(0), target["waiting"].as_u64().unwrap_or(0));
    let since = |name: &str| target[name].as_str().map(str::to_owned);
    let failing_since = since("failingSince");
    let failing_at = failing_since.as_deref().and_then(|at| Timestamp::parse_rfc3339(at.as_bytes()));
    let is_failing = failing_at.is_some_and(|at| now.nanos() - at.nanos() > FAILING_FOR) || target["trouble"].is_string();
    if dead == 0 && !is_failing {
        return None;
    }
    let name = text("target");
    let title = match dead {
        0 => format!("{name} takes nothing"),
        1 => format!("1 record is dead at {name}"),
        _ => format!("{dead} records are dead at {name}"),
    };
    let answer = [text("trouble"), text("answer")].into_iter().find(|said| !said.is_empty()).unwrap_or_default();
    let said = if answer.is_empty() { String::new() } else { format!("It says: {answer}. ") };
    let waits = if waiting == 0 { "None waits.".to_owned() } else { format!("{waiting} wait.") };
    Some(Need {
        severity: "bad",
        kind: if dead > 0 { "dead" } else { "failing" },
        object: format!("{}/{name}", text("pipeline")),
        count: if dead > 0 { dead } else { waiting },
        since: since("deadSince").or(failing_since),
        title,
        text: format!("{said}{waits}"),
        href: format!("/deliveries/target/{}/{}", encoded(text("pipeline")), encoded(name)),
    })
}

fn group_need(group: &Value) -> Need {
    let text = |name: &str| group[name].as_str().unwrap_or_default();
    let open = group["open"].as_u64().unwrap_or(0);
    let noun = if open == 1 { "event" } else { "events" };
    let source = if text("source").is_empty() { String::new() } else { format!("All from {}, at ", text("source")) };
    Need {
        severity: "warn",
        kind: "parked",
        object: text("groupId").to_owned(),
        count: open,
        since: group["first"].as_str().map(str::to_owned),
        title: format!("{open} {noun} parked: {}", text("reason")),
        text: format!("{source}{} of {}.", text("operator"), text("pipeline")),
        href: format!("/corrections/group/{}", text("groupId")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_nanos(1_800_000_000_000_000_000);

    #[test]
    fn certificates_and_keys_are_reported_before_they_expire() {
        let need = |what: fn(Timestamp) -> Expiring, days: i64| {
            let at = Timestamp::from_nanos(NOW.nanos() + days * DAY);
            expiring_need(&what(at), NOW).map(|need| (need.severity, need.title))
        };
        let key = |at| Expiring::Key("billing".to_owned(), at);
        assert_eq!(need(Expiring::Certificate, 20), None);
        assert_eq!(need(Expiring::Certificate, 10), Some(("warn", "The certificate expires soon".to_owned())));
        assert_eq!(need(Expiring::Certificate, 2), Some(("bad", "The certificate expires soon".to_owned())));
        assert_eq!(need(Expiring::Certificate, -1), Some(("bad", "The certificate has expired".to_owned())));
        assert_eq!(need(key, 20), None);
        assert_eq!(need(key, 2), Some(("warn", "The key `billing` expires soon".to_owned())));
    }

    #[test]
    fn long_periods_are_reported_shortly_before_they_are_closed_for_good() {
        const HOUR: i64 = 3_600_000_000_000;
        let at = |hours: i64| Timestamp::from_nanos(NOW.nanos() + hours * HOUR);
        let closes = |start: i64, end: i64, grace: i64| closes_soon(Period { start: at(start), end: at(end) }, grace * HOUR, NOW);
        assert_eq!(closes(-22, 2, 1), Some(at(3)));
        assert_eq!(closes(-25, -1, 3), Some(at(2)), "it has ended and is within its grace");
        assert_eq!(closes(-25, -1, 1), None, "it is closed");
        assert_eq!(closes(-18, 6, 1), None, "there is time");
        assert_eq!(closes(0, 1, 1), None, "short periods close all the time");
    }
}
