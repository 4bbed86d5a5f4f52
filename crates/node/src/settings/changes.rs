//! Settings that differ from those of the start before: a cause to look at when numbers change.

use std::collections::{BTreeMap, BTreeSet};

use flowmeter_core::time::Timestamp;
use flowmeter_engine::Error;
use flowmeter_store::catalog::{Change, Table, key_of};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::audit::Who;
use crate::installation::Installation;
use crate::rows::{instant, kept, put};

/// The author of changes that the settings make.
const WHO: &str = "settings";
/// Starts with other settings that are remembered.
const KEPT_MAX: usize = 100;

/// The settings from one start on, as the catalog has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InForce {
    #[serde(with = "instant")]
    at: Timestamp,
    values: BTreeMap<String, String>,
}

/// The settings that a start changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingChange {
    /// The time of the start.
    pub at: Timestamp,
    /// The settings with another value.
    pub changed: Vec<ChangedSetting>,
}

/// A setting that a start changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedSetting {
    /// The name of the setting.
    pub name: String,
    /// The value before; `None`: there was no such setting.
    pub before: Option<String>,
    /// The value after; `None`: there is no such setting.
    pub after: Option<String>,
}

impl SettingChange {
    fn between(before: &InForce, after: &InForce) -> SettingChange {
        let names: BTreeSet<&String> = before.values.keys().chain(after.values.keys()).collect();
        let changed = names.into_iter().filter_map(|name| {
            let (before, after) = (before.values.get(name), after.values.get(name));
            (before != after).then(|| ChangedSetting { name: name.clone(), before: before.cloned(), after: after.cloned() })
        });
        SettingChange { at: after.at, changed: changed.collect() }
    }

    /// Returns the names of the changed settings, for people.
    pub fn names(&self) -> String {
        self.changed.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Returns the values before and after, by name.
    fn images(&self) -> (Value, Value) {
        let of = |value: fn(&ChangedSetting) -> &Option<String>| {
            json!(self.changed.iter().map(|one| (one.name.as_str(), value(one).as_deref())).collect::<BTreeMap<_, _>>())
        };
        (of(|one| &one.before), of(|one| &one.after))
    }
}

impl Installation {
    /// Compares the settings with those of the start before. Changes are kept, and are in the audit of
    /// the namespace of requests without a key.
    pub(crate) fn note_settings(&self) -> Result<(), Error> {
        let mut rows: Vec<(Vec<u8>, InForce)> = Vec::new();
        for (key, value) in self.catalog.scan(Table::Settings, b"", None, usize::MAX)? {
            match kept(&value) {
                Ok(row) => rows.push((key, row)),
                Err(why) => tracing::warn!("settings of an earlier start cannot be read and are left out: {why}"),
            }
        }
        let now = InForce { at: self.wall(), values: self.settings.shown() };
        if rows.last().is_none_or(|(_, last)| last.values != now.values) {
            let number =
                rows.last().and_then(|(key, _)| key.as_slice().try_into().ok()).map_or(1, |key| u64::from_be_bytes(key) + 1);
            let key = key_of(number).to_vec();
            let mut changes = vec![put(Table::Settings, key.clone(), &now)];
            if let Some((_, last)) = rows.last() {
                let (before, after) = SettingChange::between(last, &now).images();
                let who = Who::named(WHO, &self.settings.namespace);
                changes.extend(self.audited(&who, "settings.change", "settings", before, after)?);
            }
            rows.push((key, now));
            let surplus = rows.len().saturating_sub(KEPT_MAX);
            changes.extend(rows.drain(..surplus).map(|(key, _)| Change::Remove(Table::Settings, key)));
            self.catalog.commit(&changes)?;
        }
        let changes = rows.windows(2).map(|pair| SettingChange::between(&pair[0].1, &pair[1].1)).collect();
        drop(self.setting_changes.set(changes));
        Ok(())
    }

    /// Returns what starts changed of the settings, oldest first.
    pub fn setting_changes(&self) -> &[SettingChange] {
        self.setting_changes.get().map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_differ_came_or_went_are_named() {
        let of = |values: &[(&str, &str)]| InForce {
            at: Timestamp::from_nanos(7),
            values: values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        };
        let change =
            SettingChange::between(&of(&[("a", "1"), ("b", "2"), ("old", "3")]), &of(&[("a", "1"), ("b", "5"), ("new", "4")]));
        assert_eq!(change.names(), "b, new, old");
        let (before, after) = change.images();
        assert_eq!(before, json!({"b": "2", "new": null, "old": "3"}));
        assert_eq!(after, json!({"b": "5", "new": "4", "old": null}));
    }
}
