//! Compiles a valid document to a plan.

use flowmeter_core::decimal;
use flowmeter_core::event::Path;
use flowmeter_core::expression::{Fields, Program};
use flowmeter_core::limits::{DEDUPE_WINDOW, OPERATORS_MAX, PATHS_MAX};
use flowmeter_core::meter_type::{MeterType, derived};
use flowmeter_core::operator::{Clock, Dedupe, Operator, Window};
use flowmeter_core::plan::{PastTolerance, Plan, TimeField};
use flowmeter_core::table::Table;
use flowmeter_core::time::{TimeFormat, Timestamp, Zone, parse_duration};

use super::graph::{self, Step};
use super::meter::{self, Processors};
use super::names::{Mode, Names};
use super::problem::Problems;
use super::targets::{self, TargetPlan};
use super::tree::Node as Tree;
use super::{meter_type, operators, source};

/// The state of the compilation of a document.
pub(super) struct Compiler<'p> {
    pub(super) problems: &'p mut Problems,
    pub(super) warnings: Problems,
    pub(super) paths: Vec<Path>,
    pub(super) breakdowns: Vec<Vec<Path>>,
    pub(super) carried: Vec<Path>,
    pub(super) tables: Vec<Table>,
    /// Whether a category may be without meter types, which may be added later.
    pub(super) open_categories: bool,
    /// The fields that the document reads and makes.
    pub(super) names: Names,
}

impl Fields for Compiler<'_> {
    fn slot(&mut self, path: &Path) -> u16 {
        let slot = index_of(&mut self.paths, path);
        self.names.note(slot);
        slot
    }
}

/// Returns the index of a value in a list; a new value is appended.
pub(super) fn index_of<T: Clone + PartialEq>(list: &mut Vec<T>, value: &T) -> u16 {
    let found = list.iter().position(|known| known == value);
    let at = found.unwrap_or_else(|| {
        list.push(value.clone());
        list.len() - 1
    });
    at as u16
}

impl Compiler<'_> {
    /// Runs `work` with fields in a mode: they are read, made, or not named at all.
    pub(super) fn in_mode<T>(&mut self, mode: Mode, work: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.names.mode, mode);
        let made = work(self);
        self.names.mode = before;
        made
    }

    /// Returns the slot of a path that the document names to be read.
    pub(super) fn read(&mut self, written: &str) -> u16 {
        self.in_mode(Mode::Read, |compiler| compiler.path(written))
    }

    /// Returns the slot of a path that is used by default.
    pub(super) fn implied(&mut self, written: &str) -> u16 {
        self.in_mode(Mode::Default, |compiler| compiler.path(written))
    }

    /// Returns the slot of a valid path.
    pub(super) fn path(&mut self, written: &str) -> u16 {
        match Path::parse(written) {
            Ok(path) => self.slot(&path),
            Err(_) => 0,
        }
    }

    /// Returns the slot of a field that events may lack.
    pub(super) fn field(&mut self, path: &Path) -> u16 {
        index_of(&mut self.paths, path)
    }

    /// Returns the slots of a list of valid paths.
    pub(super) fn paths(&mut self, list: Option<&Tree>) -> Vec<u16> {
        let written = list.map(Tree::items).unwrap_or_default().iter().filter_map(Tree::scalar);
        written.map(|written| self.path(written)).collect()
    }

    /// Returns the slots of a list of valid paths that the document names to be read.
    pub(super) fn reads(&mut self, list: Option<&Tree>) -> Vec<u16> {
        self.in_mode(Mode::Read, |compiler| compiler.paths(list))
    }

    /// Compiles an expression; its errors are noted at its place.
    pub(super) fn program(&mut self, node: &Tree, field: &str) -> Option<Program> {
        let text = node.scalar()?;
        let compiled = self.in_mode(Mode::Read, |compiler| Program::compile(text, compiler));
        compiled.map_err(|why| self.problems.add(node, field, why.to_string())).ok()
    }

    /// Compiles `path` or `{field | fields, format, timezone, …}`.
    pub(super) fn time(&mut self, node: &Tree, field: &str) -> TimeField {
        let (declared, missing_received) = (true, node.text("missing") == Some("received"));
        if let Some(path) = node.scalar() {
            let slots = vec![self.read(path)];
            return TimeField { slots, format: TimeFormat::Default, declared, missing_received, join: None };
        }
        let several: Vec<&str> =
            node.get("fields").map(Tree::items).unwrap_or_default().iter().filter_map(Tree::scalar).collect();
        let slots = match (node.text("field"), several.as_slice()) {
            (Some(one), []) => vec![self.read(one)],
            (None, [_, _, ..]) => several.iter().map(|path| self.read(path)).collect(),
            _ => {
                let message = "a time needs `field: path`, or `fields: [date, time]` to be joined";
                self.problems.add(node, field, message);
                Vec::new()
            }
        };
        let join = (slots.len() > 1).then(|| node.text("join").unwrap_or(" ").into());
        let zone = node.text("timezone").and_then(Zone::named).unwrap_or_else(Zone::utc);
        let name = node.text("format").unwrap_or("rfc3339");
        let format = TimeFormat::read(name, zone, node.text("ignoreZoneName") == Some("true")).unwrap_or_else(|why| {
            self.problems.add(node.get("format").unwrap_or(node), &format!("{field}.format"), why);
            TimeFormat::Default
        });
        TimeField { slots, format, declared, missing_received, join }
    }

    /// Returns the rounding of numbers: `round` of an object.
    pub(super) fn round(&mut self, node: &Tree) -> Option<decimal::Round> {
        let round = node.get("round")?;
        let places = round.text("places").and_then(|places| places.parse().ok()).unwrap_or_default();
        let mode = decimal::Rounding::named(round.text("mode").unwrap_or("half_even"));
        Some(decimal::Round { places, mode: mode.unwrap_or(decimal::Rounding::HalfEven) })
    }
}

/// Returns the instant of a valid field.
pub(super) fn instant(node: &Tree, name: &str) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(node.text(name)?.as_bytes())
}

/// Returns the decimal of a valid field.
pub(super) fn number(node: &Tree, name: &str) -> Option<decimal::Decimal> {
    decimal::parse(node.text(name)?.as_bytes()).ok()
}

/// Returns the names and JSON of a map of any values, by name.
pub(super) fn json_members(node: Option<&Tree>) -> Vec<(String, String)> {
    let mut members: Vec<_> =
        node.into_iter().flat_map(Tree::members).map(|(name, value)| (name.to_owned(), value.to_json().to_string())).collect();
    members.sort();
    members
}

/// The plan of a document, its targets, and its warnings.
type Compiled = (Plan, Vec<TargetPlan>, Problems);

pub(super) fn compile(tree: &Tree, open_categories: bool, problems: &mut Problems) -> Option<Compiled> {
    let warnings = Problems::default();
    let mut compiler = Compiler {
        problems,
        warnings,
        paths: Vec::new(),
        breakdowns: Vec::new(),
        carried: Vec::new(),
        tables: Vec::new(),
        open_categories,
        names: Names::default(),
    };
    let name = tree.text("pipeline").unwrap_or_default().to_owned();
    if name.chars().count() > 80 {
        compiler.problems.add(tree, "pipeline", "the name has more than 80 characters; shorten it");
    }
    let meter_types = meter_type::compile_all(tree, compiler.problems);
    let sources = source::compile_all(tree, &mut compiler);
    super::tables::compile_all(tree, &mut compiler);
    let mut processors = Processors::default();
    let operators = operators::compile_all(tree, &mut compiler, &meter_types, &sources, &mut processors);
    super::tables::fill(tree, &mut compiler);
    let meters = meter::compile_declared(tree, &mut compiler, &meter_types, &processors.list);
    let targets = targets::compile_all(tree, compiler.problems);
    check_limits(tree, &mut compiler, operators.len());
    if !compiler.problems.0.is_empty() {
        return None;
    }
    let source_ids: Vec<&str> = sources.iter().map(|source| source.id.as_str()).collect();
    let mut graph = graph::connect(tree, operators, &source_ids, &mut compiler)?;
    if !graph.nodes.iter().any(|node| matches!(node.operator, Operator::Dedupe(_))) {
        admit(tree, &mut compiler, &mut graph, &processors);
    }
    let stages = graph::stages(&graph.nodes);
    let duration = |name, default| tree.text(name).and_then(parse_duration).unwrap_or(default);
    let bytes = tree.text("eventBytesMax").and_then(|text| text.parse().ok());
    let past_tolerance = past_tolerance(tree, &meter_types);
    let schedule = super::run_schedule::compile(tree, &mut compiler);
    if schedule.is_some() && !sources.iter().all(|source| source.kind.is_bounded()) {
        let message =
            "a schedule is for sources that end; this one waits for more events: leave `schedule` out, or write `mode: once`";
        compiler.problems.add(tree.get("schedule").unwrap_or(tree), "schedule", message);
    }
    let plan = Plan {
        schedule,
        id: derived::pipeline(&name),
        name,
        nodes: graph.nodes,
        entries: graph.entries,
        stages,
        sources,
        processors: processors.list,
        meter_types,
        meters,
        all_columns: false,
        event_bytes_max: bytes.unwrap_or(flowmeter_core::limits::EVENT_BYTES_MAX),
        future_tolerance: duration("futureTolerance", flowmeter_core::limits::FUTURE_TOLERANCE),
        past_tolerance,
        reads: compiler.names.reads(&compiler.paths, &graph.places),
        error_percent_max: number(tree, "maxErrorPercent"),
        status_interval: tree.text("statusInterval").and_then(parse_duration).filter(|span| *span > 0),
        tables: compiler.tables,
        paths: compiler.paths,
        breakdowns: compiler.breakdowns,
        carried: compiler.carried,
    };
    super::warnings::windows::of_windows(tree, &plan, &graph.places, &mut compiler.warnings);
    Some((plan, targets, compiler.warnings))
}

/// Returns the maximal age of events. By default, a server refuses events that no meter type could
/// amend any more.
fn past_tolerance(tree: &Tree, meter_types: &[MeterType]) -> PastTolerance {
    let given = tree.text("pastTolerance").map(|text| parse_duration(text).filter(|_| text != "none"));
    let longest = meter_types.iter().map(|kind| kind.late.grace.saturating_add(kind.late.amend_within)).max();
    let served = flowmeter_core::limits::PAST_TOLERANCE.max(longest.unwrap_or_default());
    PastTolerance { run: given.flatten(), serve: given.unwrap_or(Some(served)) }
}

fn check_limits(tree: &Tree, compiler: &mut Compiler<'_>, operators: usize) {
    if operators > OPERATORS_MAX {
        compiler.problems.add(tree, "operators", format!("{operators} operators; the limit is {OPERATORS_MAX}"));
    }
    if compiler.paths.len() > PATHS_MAX {
        let message = format!("the pipeline reads {} different fields; the limit is {PATHS_MAX}", compiler.paths.len());
        compiler.problems.add(tree, "", message);
    }
}

/// Adds deduplication unless the document disables it: without an operator for it, events of all
/// sources are deduplicated where they enter.
fn admit(tree: &Tree, compiler: &mut Compiler<'_>, graph: &mut graph::Graph, processors: &Processors) {
    let wanted = tree.get("dedupe");
    if wanted.is_some_and(|node| node.scalar().is_some()) {
        return;
    }
    let dedupe = match wanted {
        Some(node) => dedupe(node, "dedupe", "dedupe", compiler, processors),
        None => default_dedupe("dedupe", compiler, processors),
    };
    graph.prepend(&Step { id: "dedupe".to_owned(), operator: Operator::Dedupe(dedupe), routes: Vec::new() });
}

fn default_dedupe(id: &str, compiler: &mut Compiler<'_>, processors: &Processors) -> Dedupe {
    let key = vec![compiler.implied("source"), compiler.implied("id")];
    Dedupe {
        required: vec![key[1]],
        key,
        window: Window::Rolling(DEDUPE_WINDOW),
        by: Clock::Event,
        time: processors.first_time(compiler),
        salt: salt(id),
    }
}

fn salt(id: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(id.as_bytes())
}

/// Compiles a deduplication as it is written.
pub(super) fn dedupe(node: &Tree, field: &str, id: &str, compiler: &mut Compiler<'_>, processors: &Processors) -> Dedupe {
    let mut dedupe = default_dedupe(id, compiler, processors);
    if let Some(key) = node.get("key") {
        dedupe.key = compiler.in_mode(Mode::Read, |compiler| compiler.paths(Some(key)));
        if dedupe.key.is_empty() {
            compiler.problems.add(key, &format!("{field}.key"), "the key is empty; name the fields that identify an event");
        }
        // The source alone does not identify an event.
        let source = compiler.implied("source");
        dedupe.required = dedupe.key.iter().copied().filter(|slot| *slot != source || dedupe.key.len() == 1).collect();
    }
    if let Some(time) = node.get("time") {
        dedupe.time = compiler.time(time, &format!("{field}.time"));
    }
    if node.text("by") == Some("arrival") {
        dedupe.by = Clock::Arrival;
    }
    if let Some(window) = node.get("window") {
        dedupe.window = read_window(node, window, field, compiler);
    }
    dedupe
}

fn read_window(node: &Tree, window: &Tree, field: &str, compiler: &mut Compiler<'_>) -> Window {
    use flowmeter_core::schedule::{Anchor, Every, Schedule, Unit};
    let text = window.scalar().unwrap_or_default();
    if text == "forever" {
        return Window::Forever;
    }
    if let Some(unit) = Unit::named(text)
        && let Ok(every) = Every::new(unit, 1, &Anchor::default())
    {
        let zone = node.text("timezone").and_then(Zone::named).unwrap_or_else(Zone::utc);
        return Window::Calendar(std::sync::Arc::new(Schedule::Every(every)), zone);
    }
    let span = parse_duration(text).filter(|span| *span > 0);
    if span.is_none() {
        let message = format!("`{text}` is no window; write a duration like 32d, a calendar period like month, or forever");
        compiler.problems.add(window, &format!("{field}.window"), message);
    }
    Window::Rolling(span.unwrap_or(DEDUPE_WINDOW))
}

/// Returns the indexes of the types of a category.
pub(super) fn types_of(category: &str, meter_types: &[MeterType]) -> Vec<u16> {
    let of_category = meter_types.iter().enumerate().filter(|(_, kind)| kind.category == category);
    of_category.map(|(at, _)| at as u16).collect()
}
