//! Parts of a document that are sound and have no effect: rules that can never apply, and
//! ways that no operator reads. And windows that do not fit the periods of meters ([`windows`]).

pub(super) mod windows;

use flowmeter_core::operator::Operator;
use flowmeter_core::plan::Rule;

use super::graph::{Input, Step};
use super::problem::Problems;
use super::tree::Node as Tree;

/// Warns of rules that can never apply, where only the first rule that applies counts.
pub(super) fn of_rules(items: &[Tree], rules: &[Rule], field: &str, warnings: &mut Problems) {
    let Some(taker) = rules.iter().position(|rule| rule.condition.is_none() && rule.final_say) else { return };
    for (i, (item, rule)) in items.iter().zip(rules).enumerate().skip(taker + 1) {
        let message = format!(
            "`{}` can never apply: `{}` in line {} has no condition and takes every event; write `match: all` \
             if both are to count, give `{}` a condition, or move it to the end",
            rule.name, rules[taker].name, items[taker].line, rules[taker].name
        );
        warnings.add(item, &format!("{field}.rules[{i}]"), message);
    }
}

/// Warns of sources, operators and routes whose events go nowhere.
pub(super) fn of_graph(tree: &Tree, steps: &[Step], inputs: &[Vec<Input>], sources: &[&str], warnings: &mut Problems) {
    let is_read = |input: Input| inputs.iter().any(|read| read.contains(&input));
    for (at, source) in sources.iter().enumerate().filter(|(at, _)| !is_read(Input::Source(*at))) {
        let many = tree.get("sources").and_then(|sources| Some((sources.items().get(at)?, format!("sources[{at}]"))));
        let one = || tree.get("source").map(|node| (node, "source".to_owned()));
        if let Some((node, field)) = many.or_else(one) {
            let message = format!("no operator reads `{source}`, so its events are filtered; write `from: {source}` at one");
            warnings.add(node, &field, message);
        }
    }
    let items = tree.get("operators").map(Tree::items).unwrap_or_default();
    for (at, (step, item)) in steps.iter().zip(items).enumerate() {
        let field = format!("operators[{at}]");
        match &step.operator {
            Operator::Branch(_) => {
                let unread = (0..step.routes.len()).filter(|port| !is_read(Input::Port(at, *port)));
                unread.for_each(|port| of_route(step, item, port, &field, warnings));
            }
            Operator::Meter(_) => {}
            Operator::Filter(_)
            | Operator::Map(_)
            | Operator::Validate(_)
            | Operator::Dedupe(_)
            | Operator::Split(_)
            | Operator::Enrich(_)
            | Operator::Currency(_)
            | Operator::Rate(_)
            | Operator::Aggregate(_)
            | Operator::Accumulate(_)
            | Operator::Correlate(_)
            | Operator::Script(_)
            | Operator::Http(_) => {
                if !is_read(Input::Port(at, 0)) {
                    let message = format!(
                        "no operator reads `{}`, so all events that pass it are filtered; write `from: {}` at one",
                        step.id, step.id
                    );
                    warnings.add(item, &field, message);
                }
                if step.routes.len() > 1 && !is_read(Input::Port(at, 1)) {
                    of_route(step, item, 1, &field, warnings);
                }
            }
        }
    }
}

/// A route of a branch that no operator reads. The way `default` is there by itself, so its
/// place is that of the branch.
fn of_route(step: &Step, item: &Tree, port: usize, field: &str, warnings: &mut Problems) {
    let routes = item.get("branch").and_then(|branch| branch.get("routes"));
    let (node, field) = match routes.and_then(|routes| routes.items().get(port)) {
        Some(route) => (route, format!("{field}.branch.routes[{port}]")),
        None => (item, format!("{field}.{}", step.operator.name())),
    };
    let name = format!("{}.{}", step.id, step.routes[port]);
    let message = format!("no operator reads `{name}`, so events that take it are filtered; write `from: {name}` at one");
    warnings.add(node, &field, message);
}
