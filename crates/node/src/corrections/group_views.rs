//! Groups of parked events for people: the largest first, page by page.
//!
//! There can be many thousands, and a list is asked for every few seconds: they are ordered by their
//! counts alone, and only those of a page are written out.

use std::collections::BTreeMap;
use std::sync::Arc;

use flowmeter_core::time::Timestamp;
use flowmeter_engine::journal::Place;
use serde_json::{Value, json};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::groups::{Group, GroupKey, HOUR, HOURS, USERS_MAX};
use crate::installation::{Installation, Served};
use crate::monitoring::overview::encoded;
use crate::pipelines::KeptVersion;
use crate::refusal::{Refused, not_found, refusal_of};

/// Groups that a summary lists.
const SUMMARY_MAX: usize = 100;

/// A group in the order of a list.
pub struct RankedGroup {
    served: Arc<Served>,
    /// Its place among the groups of the pipeline, which only grow.
    at: usize,
    open: u64,
    last: i64,
}

impl RankedGroup {
    /// Returns its place in the order of a list, the highest first: open events, the last of them, and
    /// a number of the group.
    pub fn rank(&self) -> (u64, i64, u64) {
        (self.open, self.last, xxh3_64(&[self.served.kept.id.as_bytes(), self.at.to_le_bytes().as_slice()].concat()))
    }
}

impl Installation {
    /// Returns the largest groups of a namespace with open events, and the totals.
    pub fn parked_summary(&self, namespace: &str) -> Value {
        let mut groups = self.ranked_groups(namespace, None, false, (i64::MIN, i64::MAX));
        let (open, count) = (groups.iter().map(|group| group.open).sum::<u64>(), groups.len());
        groups.truncate(SUMMARY_MAX);
        json!({"totals": {"open": open, "groups": count}, "groups": self.groups_shown(&groups)})
    }

    /// Returns the groups of a namespace or a pipeline, those with most open events first.
    pub fn ranked_groups(&self, namespace: &str, pipeline: Option<&str>, all: bool, span: (i64, i64)) -> Vec<RankedGroup> {
        let mut found: Vec<RankedGroup> = Vec::new();
        for served in self.served_in(namespace) {
            if pipeline.is_some_and(|wanted| wanted != served.kept.name && wanted != served.kept.id.to_string()) {
                continue;
            }
            let known = self.parked_groups.lock();
            let Some(known) = known.get(&served.kept.id) else { continue };
            for (at, (_, group)) in known.groups.iter().enumerate() {
                let open = group.open();
                if (all || open > 0) && group.last >= span.0 && group.first < span.1 {
                    found.push(RankedGroup { served: Arc::clone(&served), at, open, last: group.last });
                }
            }
        }
        found.sort_by_cached_key(|group| std::cmp::Reverse(group.rank()));
        found
    }

    /// Returns groups as the API shows them.
    pub fn groups_shown(&self, groups: &[RankedGroup]) -> Vec<Value> {
        let mut versions: BTreeMap<Uuid, Arc<Vec<KeptVersion>>> = BTreeMap::new();
        let now = self.now().nanos().div_euclid(HOUR);
        let mut shown = Vec::with_capacity(groups.len());
        for RankedGroup { served, at, .. } in groups {
            let own =
                versions.entry(served.kept.id).or_insert_with(|| Arc::new(self.versions(served.kept.id).unwrap_or_default()));
            let known = self.parked_groups.lock();
            let group = known.get(&served.kept.id).and_then(|known| known.groups.get(*at));
            shown.extend(group.map(|(key, group)| self.view(served, key, group, own, now)));
        }
        shown
    }

    /// Returns a group as the API shows it.
    pub fn group_shown(&self, namespace: &str, id: &str) -> Result<Value, Refused> {
        let (served, key) = self.group(namespace, id)?;
        let versions = self.versions(served.kept.id).map_err(|why| refusal_of(&why))?;
        let now = self.now().nanos().div_euclid(HOUR);
        let known = self.parked_groups.lock();
        let found = known.get(&served.kept.id).and_then(|known| known.groups.iter().find(|(known, _)| *known == key));
        let shown = found.map(|(key, group)| self.view(&served, key, group, &versions, now));
        shown.ok_or_else(|| not_found("group of parked events", id))
    }

    /// Returns what changed in the hour before the first event of a group: the newest version of its
    /// pipeline, and the newest change of settings.
    fn suspects(&self, served: &Served, group: &Group, versions: &[KeptVersion]) -> Vec<Value> {
        let is_shortly_before = |at: i64| at <= group.first && group.first - at < HOUR;
        let saved = |version: &&KeptVersion| {
            let at = Timestamp::parse_rfc3339(version.created_at.as_bytes()).map_or(i64::MIN, Timestamp::nanos);
            version.version > 1 && is_shortly_before(at)
        };
        let version = versions.iter().rev().find(saved).map(|version| {
            json!({
                "kind": "version", "version": version.version, "by": version.created_by, "at": version.created_at,
                "href": format!("/pipelines/{}/versions", encoded(&served.kept.name)),
            })
        });
        let setting = self.setting_changes().iter().rev().find(|change| is_shortly_before(change.at.nanos()));
        let setting = setting
            .map(|change| json!({"kind": "settings", "names": change.names(), "at": change.at.to_string(), "href": "/settings"}));
        version.into_iter().chain(setting).collect()
    }

    fn view(&self, served: &Served, key: &GroupKey, group: &Group, versions: &[KeptVersion], now: i64) -> Value {
        let trend: Vec<u64> =
            (0..HOURS as i64).map(|hour| group.trend.get(&(now - HOURS as i64 + 1 + hour)).copied().unwrap_or(0)).collect();
        let open = group.open();
        let [corrected, reprocessed, discarded, superseded] = group.states;
        json!({
            "groupId": key.id(served.kept.id), "pipeline": served.kept.name, "operator": key.operator,
            "reason": key.reason.code(), "remedy": key.reason.remedy(), "pattern": key.pattern, "source": key.source,
            "count": group.count, "open": open, "users": group.users.len(),
            "usersAtLeast": group.users.len() >= USERS_MAX,
            "first": Timestamp::from_nanos(group.first).to_string(), "last": Timestamp::from_nanos(group.last).to_string(),
            "trend": trend, "sampleId": format!("{}:{}", served.kept.name, Place::first(group.sample)),
            "states": {
                "open": open, "corrected": corrected, "reprocessed": reprocessed, "discarded": discarded,
                "superseded": superseded,
            },
            "suspects": self.suspects(served, group, versions),
        })
    }
}
