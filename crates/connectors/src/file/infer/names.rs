//! The meaning that the name of a field suggests: its words, and the weight of each.

/// Words and their weight; the greater, the more a name with one of them is meant.
pub(super) type Weights = &'static [(&'static [&'static str], i32)];

/// Words in the names of users.
pub(super) const USERS: Weights = &[
    (&["customer", "user", "username", "subject", "tenant", "subscriber", "kunde", "kunden", "kundennr", "client"], 100),
    (&["account", "subaccount", "konto", "caller", "calling", "msisdn"], 95),
    (&["organization", "organisation", "org", "company", "consumer", "workspace", "member", "owner", "email", "login"], 80),
    (&["project", "projekt"], 75),
    (&["meter", "zähler", "imsi", "premise", "site"], 70),
    (&["device", "sensor", "imei", "vehicle", "host", "person", "employee"], 50),
    (&["team", "resource"], 15),
];

/// Words of fields that are no users.
pub(super) const NO_USERS: Weights = &[
    (&["billing", "bill", "payer", "parent"], -20),
    (&["currency", "unit", "units", "uom", "category", "type", "kind", "class", "status", "state", "region", "zone"], -200),
    (&["service", "product", "sku", "code", "description", "model", "note", "notes", "comment", "text"], -200),
    (&["callee", "called", "destination", "dest", "result", "disposition", "reason", "agent", "version"], -200),
    (&["path", "url", "method", "protocol", "format", "period", "date", "time", "start", "end", "interval"], -200),
    (&["cost", "amount", "price", "quantity", "plan", "tier", "country", "city", "action", "operation", "event"], -200),
];

/// Words in the names of amounts.
pub(super) const VALUES: Weights = &[
    (&["kwh", "energy", "consumption", "verbrauch"], 105),
    (&["spend", "cost", "costs", "amount", "betrag", "charge"], 100),
    (&["usage", "consumed", "quantity", "qty", "menge"], 98),
    (&["bytes", "duration", "dur", "seconds", "secs", "sec", "minutes", "hours", "value", "wert", "used"], 90),
    (&["volume", "gb", "mb", "gib", "mib", "size", "credits", "reading"], 85),
    (&["tokens"], 80),
    (&["count", "units", "total", "length", "requests", "calls"], 60),
    (&["price"], 20),
];

/// Words that say which of several amounts is meant.
pub(super) const FINER_VALUES: Weights =
    &[(&["total", "billed", "unblended", "net"], 3), (&["list", "tax", "discount", "balance"], -30)];

/// Words of numbers that are no amounts.
pub(super) const NO_VALUES: Weights = &[
    (&["rate", "percent", "unit", "limit", "quota", "meter"], -60),
    (&["id", "number", "no", "nr", "num", "account", "phone", "code", "status", "port", "zip", "version"], -200),
    (&["year", "month", "day", "row", "index", "latitude", "longitude", "lat", "lon"], -200),
    (
        &[
            "caller",
            "calling",
            "callee",
            "called",
            "customer",
            "user",
            "subject",
            "tenant",
            "subscriber",
            "msisdn",
            "imsi",
            "imei",
        ],
        -200,
    ),
];

/// Words in the names of times.
pub(super) const TIMES: Weights =
    &[(&["time", "timestamp", "ts", "date", "datetime", "datum", "zeit", "when", "at", "start", "begin", "created"], 40)];

/// Words that say which of several times is meant.
pub(super) const FINER_TIMES: Weights = &[
    (&["usage", "charge", "interval", "event", "call", "reading"], 20),
    (&["start", "begin"], 10),
    (&["end", "stop", "until", "finish", "completed"], -30),
    (&["billing", "bill", "invoice", "due", "payment", "export", "updated", "modified", "ingested", "received"], -70),
];

/// Words of labels, which may have any name.
const LABELS: [&str; 4] = ["tag", "tags", "label", "labels"];

/// Words that say nothing without the parts before them.
const GENERAL: [&str; 7] = ["id", "uuid", "name", "number", "email", "value", "time"];

/// Words that end in `id` and are no identities.
const NO_IDS: [&str; 7] = ["paid", "prepaid", "postpaid", "valid", "void", "grid", "bid"];

/// The words of a name.
#[derive(Clone, Debug, Default)]
pub(super) struct Words {
    /// The words of the whole path.
    all: Vec<String>,
    /// The words of its last part.
    last: Vec<String>,
}

impl Words {
    pub(super) fn of(path: &str) -> Words {
        let path = path.replace('\\', "");
        let last = path.rsplit(['/', '.', ':']).find(|part| !part.is_empty()).unwrap_or_default();
        Words { last: words(last), all: words(&path) }
    }

    pub(super) fn has(&self, word: &str) -> bool {
        self.last.iter().any(|known| known == word)
    }

    pub(super) fn is_label(&self) -> bool {
        self.all.iter().any(|word| LABELS.contains(&word.as_str()))
    }

    /// Returns the greatest weight of the words of the last part, and its word. A part like `id`
    /// means what the parts before it name.
    pub(super) fn best(&self, weights: Weights) -> Option<(i32, &'static str)> {
        let is_general = GENERAL.iter().any(|word| self.has(word));
        let words = if is_general { &self.all } else { &self.last };
        let found = weights.iter().flat_map(|(words, weight)| words.iter().map(move |word| (*weight, *word)));
        found.filter(|(_, word)| words.iter().any(|known| known == word)).max_by_key(|(weight, _)| *weight)
    }

    /// Returns the sum of the weights that the words of the last part have.
    pub(super) fn sum(&self, weights: Weights) -> i32 {
        let has = |words: &&[&str]| words.iter().any(|word| self.has(word));
        weights.iter().filter(|(words, _)| has(words)).map(|(_, weight)| weight).sum()
    }
}

/// Splits a name at signs and at capitals: `UsageAccountId` is usage, account, id, and `userid` is
/// user, id.
fn words(name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for token in name.split(|c: char| !c.is_alphanumeric()).filter(|token| !token.is_empty()) {
        let characters: Vec<char> = token.chars().collect();
        let mut word = String::new();
        for (i, c) in characters.iter().enumerate() {
            let before = i.checked_sub(1).map(|at| characters[at]);
            let begins = c.is_uppercase()
                && (before.is_some_and(|before| !before.is_uppercase())
                    || characters.get(i + 1).is_some_and(|next| next.is_lowercase()));
            if begins && !word.is_empty() {
                found.push(std::mem::take(&mut word));
            }
            word.extend(c.to_lowercase());
        }
        found.push(word);
        let whole = token.to_lowercase();
        for ending in ["id", "time", "date"] {
            if let Some(rest) = whole.strip_suffix(ending).filter(|rest| rest.len() > 2 && !NO_IDS.contains(&whole.as_str())) {
                found.extend([rest.to_owned(), ending.to_owned()]);
            }
        }
        found.push(whole);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_into_words() {
        for (name, expected) in [
            ("lineItem/UsageAccountId", &["usage", "account", "id"][..]),
            ("USAGE (kWh)", &["usage", "kwh"]),
            ("customerid", &["customer", "id"]),
            ("usage_start_time", &["usage", "start", "time"]),
            ("project.id", &["id"]),
        ] {
            let words = Words::of(name);
            assert!(expected.iter().all(|word| words.has(word)), "{name}: {words:?}");
        }
        assert!(!Words::of("prepaid").has("id"));
        assert_eq!(Words::of("project.id").best(USERS), Some((75, "project")));
        assert_eq!(Words::of(r"hg\.nginx\.org.processing").best(USERS), None);
        assert!(Words::of("ChargeCategory").sum(NO_USERS) < 0);
    }
}
