//! Meter operators and declared meters of a document.

use flowmeter_core::event::Path;
use flowmeter_core::limits::RULES_MAX;
use flowmeter_core::meter_type::{MeterType, derived};
use flowmeter_core::plan::{DeclaredMeter, OwnFields, Processor, Rule, TimeField};
use flowmeter_core::source::SourcePlan;
use flowmeter_core::suggest::nearest;
use flowmeter_core::time::{TimeFormat, Timestamp, Zone};
use uuid::Uuid;

use super::compile::{Compiler, index_of, instant, json_members, number, types_of};
use super::meter_type::thresholds;
use super::names::Mode;
use super::operators::conditions;
use super::tree::Node as Tree;
use super::value;

/// The meter processors of a document.
#[derive(Default)]
pub(super) struct Processors {
    pub(super) list: Vec<Processor>,
}

impl Processors {
    /// The time of the first processor: what an event's time is, where nothing else is
    /// said.
    pub(super) fn first_time(&self, compiler: &mut Compiler<'_>) -> TimeField {
        match self.list.first() {
            Some(processor) => processor.time.clone(),
            None => default_time(compiler),
        }
    }
}

fn default_time(compiler: &mut Compiler<'_>) -> TimeField {
    let slots = vec![compiler.implied("time"), compiler.implied("timestamp")];
    TimeField { slots, format: TimeFormat::Default, declared: false, missing_received: false, join: None }
}

pub(super) fn compile(
    node: &Tree,
    field: &str,
    compiler: &mut Compiler<'_>,
    meter_types: &[MeterType],
    sources: &[SourcePlan],
    processors: &mut Processors,
) -> u16 {
    let key = node.text("key").and_then(|key| Uuid::try_parse(key).ok()).unwrap_or_default();
    if processors.list.iter().any(|known| known.key == key) {
        compiler.problems.add(node, &format!("{field}.key"), "another meter operator has the same key; give each its own");
    }
    let value = node.text("value").unwrap_or("value").to_owned();
    let rules = node.get("rules").map(Tree::items).unwrap_or_default();
    if rules.is_empty() || rules.len() > RULES_MAX {
        compiler.problems.add(node, &format!("{field}.rules"), format!("a meter operator has 1 to {RULES_MAX} rules"));
    }
    let value = Fallback { text: &value, node: node.get("value"), field: format!("{field}.value") };
    let rule = |(i, rule): (usize, &Tree)| compile_rule(rule, &format!("{field}.rules[{i}]"), i, &value, compiler, meter_types);
    let compiled: Vec<Rule> = rules.iter().enumerate().map(rule).collect();
    let match_all = node.text("match") == Some("all");
    if !match_all {
        super::warnings::of_rules(rules, &compiled, field, &mut compiler.warnings);
    }
    let processor = Processor {
        key,
        user: match node.text("user") {
            Some(path) => vec![compiler.read(path)],
            None => vec![compiler.implied("subject"), compiler.implied("userId")],
        },
        time: match node.get("time") {
            Some(time) => compiler.time(time, &format!("{field}.time")),
            None => default_time(compiler),
        },
        computes: compiled.iter().any(|rule| rule.computed.is_some()),
        rules: compiled,
        match_all,
        drop_unmatched: node.text("unmatched") == Some("drop"),
        text_numbers: super::keyed::text_numbers(node, sources),
    };
    processors.list.push(processor);
    processors.list.len() as u16 - 1
}

/// The value of rules that have none of their own.
struct Fallback<'t> {
    text: &'t str,
    node: Option<&'t Tree>,
    field: String,
}

fn compile_rule(
    node: &Tree,
    field: &str,
    i: usize,
    value: &Fallback<'_>,
    compiler: &mut Compiler<'_>,
    meter_types: &[MeterType],
) -> Rule {
    let category = node.text("category").unwrap_or("DEFAULT");
    let types = types_of(category, meter_types);
    if types.is_empty() && !compiler.open_categories {
        let known = meter_types.iter().map(|kind| kind.category.as_str());
        let advice = match nearest(category, known.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("give a meter type `category: {category}`"),
        };
        let place = node.get("category").unwrap_or(node);
        compiler.problems.add(
            place,
            &format!("{field}.category"),
            format!("no meter type has the category `{category}`; {advice}"),
        );
    }
    let group_by = node.get("groupBy").map(Tree::items).unwrap_or_default();
    let group_by: Vec<_> = group_by.iter().map(|entry| breakdown(entry, compiler)).collect();
    let of_type = |at: &u16| &meter_types[usize::from(*at)];
    let series = node.get("series");
    if let (None, Some(at)) = (series, types.iter().find(|at| of_type(at).aggregation.has_series()))
        && !group_by.is_empty()
    {
        let example =
            node.get("groupBy").and_then(|by| by.items().first()).and_then(|by| by.scalar().or(by.items().first()?.scalar()));
        let message = format!(
            "`{}` reads counters or levels, and each group may hold several; which fields name one? Write `series: [{}]`, \
             or `series: []` if there is one per user",
            of_type(at).name,
            example.unwrap_or("data.pod")
        );
        compiler.problems.add(node.get("groupBy").unwrap_or(node), &format!("{field}.series"), message);
    }
    let always = |kind: &MeterType| kind.auto_create && kind.active_from == Timestamp::MIN && kind.active_to == Timestamp::MAX;
    let reads = compiler.names.read_count();
    let own = node.get("value").and_then(|node| Some((node, node.scalar()?)));
    let (value, computed) = match own {
        Some((node, text)) => value::compile(Some(node), text, &format!("{field}.value"), compiler),
        None => value::compile(value.node, value.text, &value.field, compiler),
    };
    Rule {
        name: node.text("name").map_or_else(|| format!("rule {}", i + 1), str::to_owned),
        condition: conditions(node, field, compiler).map(std::sync::Arc::new),
        value_from: compiler.names.reads_since(reads).into_iter().chain([value]).collect(),
        value,
        computed,
        round: compiler.round(node),
        series: compiler.in_mode(Mode::Read, |compiler| compiler.paths(series)),
        numeric: types.iter().any(|at| of_type(at).aggregation.needs_number()),
        own: own_fields(&types, compiler, meter_types),
        final_say: !types.is_empty() && types.iter().all(|at| always(of_type(at))),
        meter_types: types,
        group_by,
        carry_first: carried(node.get("carryFirst"), compiler),
        carry_last: carried(node.get("carryLast"), compiler),
    }
}

/// Returns the fields that meters of these types take from events.
fn own_fields(types: &[u16], compiler: &mut Compiler<'_>, meter_types: &[MeterType]) -> Vec<OwnFields> {
    let kinds = || types.iter().map(|at| &meter_types[usize::from(*at)]);
    if !kinds().any(MeterType::reads_events) {
        return Vec::new();
    }
    let mut slot = |path: &Option<Path>| path.as_ref().map(|path| compiler.read(path.as_str()));
    kinds().map(|kind| OwnFields { zone: slot(&kind.zone_from), capacity: slot(&kind.capacity_from) }).collect()
}

fn breakdown(entry: &Tree, compiler: &mut Compiler<'_>) -> (u16, Vec<u16>) {
    let written = match entry.scalar() {
        Some(one) => vec![one],
        None => entry.items().iter().filter_map(Tree::scalar).collect(),
    };
    let paths: Vec<Path> = written.iter().filter_map(|path| Path::parse(path).ok()).collect();
    let slots = written.iter().map(|path| compiler.read(path)).collect();
    (index_of(&mut compiler.breakdowns, &paths), slots)
}

fn carried(list: Option<&Tree>, compiler: &mut Compiler<'_>) -> Vec<(u16, u16)> {
    let written = list.map(Tree::items).unwrap_or_default().iter().filter_map(Tree::scalar);
    let paths = written.filter_map(|path| Path::parse(path).ok());
    paths.map(|path| (index_of(&mut compiler.carried, &path), compiler.read(path.as_str()))).collect()
}

pub(super) fn compile_declared(
    tree: &Tree,
    compiler: &mut Compiler<'_>,
    meter_types: &[MeterType],
    processors: &[Processor],
) -> Vec<DeclaredMeter> {
    let items = tree.get("meters").map(Tree::items).unwrap_or_default();
    let mut meters: Vec<DeclaredMeter> = Vec::new();
    let mut ids: Vec<Option<Uuid>> = Vec::new();
    for (i, node) in items.iter().enumerate() {
        let field = format!("meters[{i}]");
        let named = node.text("meterType").unwrap_or_default();
        let id = Uuid::try_parse(named).ok();
        let kind = meter_types.iter().position(|kind| kind.name == named || Some(kind.id) == id);
        if kind.is_none() {
            let near = nearest(named, meter_types.iter().map(|kind| kind.name.as_str()));
            let advice = near.map_or("declare it under meterTypes".to_owned(), |near| format!("did you mean `{near}`?"));
            let place = node.get("meterType").unwrap_or(node);
            compiler.problems.add(place, &format!("{field}.meterType"), format!("no meter type `{named}`; {advice}"));
        }
        let key = node.text("meterKey").and_then(|key| Uuid::try_parse(key).ok());
        let processor = match key {
            Some(key) => processors.iter().position(|processor| processor.key == key),
            None => (processors.len() == 1).then_some(0),
        };
        if processor.is_none() {
            let message = "write meterKey: the key of one of the pipeline's meter operators";
            compiler.problems.add(node, &format!("{field}.meterKey"), message);
        }
        let has_capacity = number(node, "capacity").is_some()
            || kind.is_some_and(|kind| meter_types[kind].capacity.is_some() || meter_types[kind].capacity_from.is_some());
        let meter = DeclaredMeter {
            id: node.text("id").and_then(|id| Uuid::try_parse(id).ok()),
            user: node.text("userId").unwrap_or_default().to_owned(),
            processor: processor.unwrap_or_default() as u16,
            meter_type: kind.unwrap_or_default() as u16,
            created_at: instant(node, "createdAt"),
            delete_on_reset: node.text("deleteOnReset") == Some("true"),
            custom_fields: json_members(node.get("customFields")),
            zone: node.text("timezone").and_then(Zone::named),
            capacity: number(node, "capacity"),
            thresholds: node.get("thresholds").map(|_| thresholds(node, has_capacity, &field, compiler.problems)),
        };
        if meter.zone.is_some() && kind.is_some_and(|kind| meter_types[kind].zone_from.is_none()) {
            let message =
                "the meter type has one zone for all its meters; write `timezone: {field: …}` there for zones of meters";
            compiler.problems.add(node.get("timezone").unwrap_or(node), &format!("{field}.timezone"), message);
        }
        let same = |known: &DeclaredMeter| {
            (&known.user, known.processor, known.meter_type) == (&meter.user, meter.processor, meter.meter_type)
        };
        let is_repeated = meters.iter().any(same);
        if is_repeated {
            compiler.problems.add(node, &field, "this user already has a meter of this type here");
        }
        let own_id = kind.zip(processor).map(|(kind, processor)| {
            let derived = || derived::meter(processors[processor].key, meter_types[kind].id, meter.user.as_bytes());
            meter.id.unwrap_or_else(derived)
        });
        if let Some(other) = ids.iter().position(|id| own_id.is_some() && *id == own_id).filter(|_| !is_repeated) {
            let message = format!("meters[{other}] has this id too; give every meter an id of its own");
            compiler.problems.add(node.get("id").unwrap_or(node), &format!("{field}.id"), message);
        }
        ids.push(own_id);
        meters.push(meter);
    }
    meters
}
