//! Usage of a meter type by window, user and group, over all partitions and pipelines of a
//! namespace.
//!
//! A query waits for the events that were durable when it arrived, so a sender finds its
//! acknowledged events counted. The wait is bounded: a pipeline that is paused, or far behind after
//! a restart, answers with its present usage.

use std::sync::Arc;

use flowmeter_core::aggregation::Aggregation;
use flowmeter_core::event::Path;
use flowmeter_core::plan::Plan;
use flowmeter_engine::live::LogCommand;
use flowmeter_engine::{Error, Kind};
use flowmeter_store::rollups::{First, Partial, Query, Row, SUBJECT, Snapshot, Topped};
use uuid::Uuid;

use crate::installation::{Installation, Served};
use crate::meters::closings::counts_in;
use crate::pipelines::KeptPipeline;
use crate::refusal::{Refusal, RefusalKind, Refused, not_found, refusal_of};

/// Nanoseconds for which a query waits for a pipeline to reach the end of the log.
const PATIENCE_NS: i128 = 2_000_000_000;
/// Maximum of rows among which the greatest are looked for, in memory at once.
const TOP_ROWS_MAX: usize = 200_000;

/// A meter type with usage, and the fields of queries.
pub struct Usage {
    /// Id of the meter type.
    pub meter_type: Uuid,
    /// Name of the meter type.
    pub name: String,
    /// The aggregation of its values.
    pub aggregation: Aggregation,
    /// The fields by which it is grouped, in any rule of any pipeline, sorted.
    pub fields: Vec<Path>,
    served: Vec<Arc<Served>>,
}

impl Installation {
    /// Returns the usage of a meter type of the namespace, by id or name: one of the installation
    /// or one that a loaded pipeline declares.
    ///
    /// # Errors
    /// `conflict` if several pipelines declare one of this name: their usage is not one number.
    pub fn usage_of(&self, namespace: &str, id_or_name: &str) -> Result<Usage, Refused> {
        let declaring = self.declaring(namespace, id_or_name)?;
        let mut found: Option<Usage> = None;
        for served in self.served_in(namespace) {
            if declaring.contains(&served.kept.name) {
                continue;
            }
            let plan = served.worker().ask(|live| Arc::clone(live.plan())).map_err(|why| refusal_of(&why))?;
            let kind = plan.meter_types.iter().position(|kind| kind.name == id_or_name || kind.id.to_string() == id_or_name);
            let Some(at) = kind else { continue };
            let kind = &plan.meter_types[at];
            // A pipeline that does not use the type may still have an earlier one.
            if !counts_in(&plan, at as u16) && !served.meters_index.has_kind(kind.id) {
                continue;
            }
            let usage = found.get_or_insert_with(|| Usage {
                meter_type: kind.id,
                name: kind.name.clone(),
                aggregation: kind.aggregation,
                fields: Vec::new(),
                served: Vec::new(),
            });
            if (usage.meter_type, usage.aggregation) != (kind.id, kind.aggregation) {
                let detail = format!("several pipelines have a meter type `{id_or_name}` and they are not the same; give the id");
                return Err(Box::new(Refusal::new(RefusalKind::Conflict, detail).field("idOrName")));
            }
            usage.fields.extend(fields_of(&plan, at as u16));
            usage.served.push(served);
        }
        match found {
            Some(mut usage) => {
                usage.fields.sort();
                usage.fields.dedup();
                Ok(usage)
            }
            // The meter type exists, but nothing counts in it: an answer without rows, not an
            // error.
            None => self.meter_type_document(namespace, id_or_name).and_then(|document| {
                let read = flowmeter_document::Pipeline::read_meter_type(&document);
                let kind = read.map_err(|_| not_found("meter type", id_or_name))?;
                Ok(Usage {
                    meter_type: kind.id,
                    name: kind.name,
                    aggregation: kind.aggregation,
                    fields: Vec::new(),
                    served: Vec::new(),
                })
            }),
        }
    }

    /// Returns the pipelines that declare a meter type of the same name as one of the installation:
    /// they do not count in the installation's.
    fn declaring(&self, namespace: &str, id_or_name: &str) -> Result<Vec<String>, Refused> {
        let at = |why: Error| refusal_of(&why);
        let is_it = |name: &str, id: Uuid| name == id_or_name || id.to_string() == id_or_name;
        let holds = |pipeline: &KeptPipeline| {
            let compiled = self.compiled(pipeline);
            compiled.is_some_and(|compiled| compiled.plan.meter_types.iter().any(|kind| is_it(&kind.name, kind.id)))
        };
        // Documents are read again only where it matters whose the type is.
        if self.pipelines(namespace).map_err(at)?.iter().filter(|pipeline| holds(pipeline)).count() < 2 {
            return Ok(Vec::new());
        }
        match self.meter_type(namespace, id_or_name) {
            Ok(own) => {
                let declared = self.declared_meter_types(namespace).map_err(at)?;
                Ok(declared
                    .into_iter()
                    .filter(|kind| is_it(&kind.name, kind.id) || kind.id == own.id)
                    .map(|kind| kind.pipeline)
                    .collect())
            }
            Err(refused) if refused.kind == RefusalKind::NotFound => {
                match self.declared_meter_type(namespace, id_or_name) {
                    Err(refused) if refused.kind == RefusalKind::Conflict => Err(refused),
                    // A pipeline may still count in a type that its newest version lacks.
                    _ => Ok(Vec::new()),
                }
            }
            Err(refused) => Err(refused),
        }
    }

    /// Returns the rows of a query, sorted by window, user and groups.
    pub fn usage(&self, usage: &Usage, query: &Query) -> Result<Vec<Row>, Refused> {
        Ok(self.usage_parts(usage, query)?.map(Partial::into_rows).unwrap_or_default())
    }

    /// Returns the rows of the groups with the greatest values, at most `top` of them, the others
    /// together, and the usage of all rows together if it is wanted.
    pub fn usage_top(
        &self,
        usage: &Usage,
        query: &Query,
        top: Option<usize>,
        wants_total: bool,
    ) -> Result<(Topped, Option<Row>), Refused> {
        let query = Query { rows_max: if top.is_some() { TOP_ROWS_MAX } else { query.rows_max }, ..query.clone() };
        let Some(partial) = self.usage_parts(usage, &query)? else {
            return Ok((Topped { rows: Vec::new(), other: Vec::new() }, None));
        };
        let total = if wants_total { partial.total().map_err(|why| refused(&why.into()))? } else { None };
        let topped = match top {
            Some(count) => partial.into_top(count).map_err(|why| refused(&why.into()))?,
            None => Topped { rows: partial.into_rows(), other: Vec::new() },
        };
        Ok((topped, total))
    }

    /// Returns the first users, or the first values of a field, with usage, in byte order.
    pub fn usage_names(&self, usage: &Usage, field: &str, first: First) -> Result<Vec<String>, Refused> {
        let count = first.count;
        let query = Query { first: Some(first), ..Query::of_values(usage.meter_type, field) };
        let name = |row: Row| row.subject.or_else(|| row.groups.into_iter().next()?.1);
        let mut names: Vec<String> = self.usage(usage, &query)?.into_iter().filter_map(name).collect();
        names.truncate(count);
        Ok(names)
    }

    /// Returns the aggregates of a query, over all pipelines and partitions; `None` if nothing counts
    /// in the meter type.
    fn usage_parts(&self, usage: &Usage, query: &Query) -> Result<Option<Partial>, Refused> {
        if self.settings.rollups_bytes.is_none() {
            let detail = "usage is not rolled up here: rollups.enabled is false";
            return Err(Box::new(Refusal::new(RefusalKind::Conflict, detail)));
        }
        let end = self.log_end();
        let mut sum: Option<Partial> = None;
        for served in &usage.served {
            self.catch_up(served, end).map_err(|why| refusal_of(&why))?;
            let asked = query.clone();
            let snapshots = served.worker().ask(move |live| live.usage(&asked)).and_then(|snapshots| snapshots);
            for snapshot in snapshots.map_err(|why| refused(&why))? {
                let partial = Snapshot::answer(snapshot).map_err(|why| refused(&why.into()))?;
                match &mut sum {
                    None => sum = Some(partial),
                    Some(sum) => sum.merge(partial).map_err(|why| refused(&why.into()))?,
                }
            }
        }
        Ok(sum)
    }

    /// Deletes all meters of a type with their data, and its usage.
    pub fn forget_meter_type(&self, served: &Served, meter_type: Uuid) -> Result<(), Refused> {
        let command = LogCommand::Forget { pipeline: served.kept.id, meter_type };
        let position = self.command(&command).map_err(|why| refusal_of(&why))?;
        served.worker().wait_for(position + 1).map_err(|why| refusal_of(&why))
    }

    /// Waits until a pipeline has processed everything before a position, or the time is over.
    fn catch_up(&self, served: &Served, end: u64) -> Result<(), Error> {
        let since = self.now();
        while served.board().position() < end && !served.board().is_paused() {
            served.worker().ask(|_| ())?;
            if self.now().since(since) > PATIENCE_NS {
                break;
            }
        }
        Ok(())
    }
}

impl Usage {
    /// Returns the field that a name refers to: by its whole path, or by its last name where only
    /// one field ends in it; the word `subject` is the user.
    pub fn field(&self, written: &str, parameter: &str) -> Result<String, Refused> {
        if written == SUBJECT || self.fields.iter().any(|field| field.as_str() == written) {
            return Ok(written.to_owned());
        }
        let last = |field: &&Path| field.names().last().is_some_and(|name| **name == *written);
        let all: Vec<&Path> = self.fields.iter().filter(last).collect();
        let problem = |detail| Err(Box::new(Refusal::new(RefusalKind::Invalid, detail).field(parameter)));
        match all.as_slice() {
            [one] => Ok(one.as_str().to_owned()),
            [] => {
                let known: Vec<&str> = self.fields.iter().map(Path::as_str).collect();
                let known = if known.is_empty() { "no field".to_owned() } else { known.join(", ") };
                problem(format!("usage of `{}` is not grouped by `{written}`; it is by {known}", self.name))
            }
            several => {
                let several: Vec<&str> = several.iter().map(|field| field.as_str()).collect();
                problem(format!("`{written}` may be {}; write the whole path", several.join(" or ")))
            }
        }
    }
}

fn fields_of(plan: &Plan, meter_type: u16) -> Vec<Path> {
    let rules = plan.processors.iter().flat_map(|processor| &processor.rules);
    let counting = rules.filter(|rule| rule.meter_types.contains(&meter_type));
    let breakdowns = counting.flat_map(|rule| &rule.group_by).map(|(breakdown, _)| &plan.breakdowns[usize::from(*breakdown)]);
    breakdowns.flatten().cloned().collect()
}

/// Returns the problem of a query that cannot be answered. It is an invalid request, not a
/// conflict.
fn refused(why: &Error) -> Refused {
    match why.kind {
        Kind::Invalid => Box::new(Refusal::new(RefusalKind::Invalid, why.to_string())),
        _ => refusal_of(why),
    }
}
