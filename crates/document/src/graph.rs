//! Operators connected: `from`, chains, cycles, and the order of stages.

use flowmeter_core::operator::{Node, Operator};
use flowmeter_core::suggest::nearest;

use super::compile::Compiler;
use super::problem::Problems;
use super::tree::Node as Tree;

/// An operator that is not connected yet.
pub(super) struct Step {
    pub(super) id: String,
    pub(super) operator: Operator,
    /// Names of a branch's ports.
    pub(super) routes: Vec<String>,
}

impl Step {
    /// Whether all its outputs have names, so that a reader has to name one.
    fn is_parted(&self) -> bool {
        self.routes.first().is_some_and(|route| !route.is_empty())
    }
}

/// Operators in an order in which each follows all it reads.
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    pub(super) entries: Vec<Vec<u16>>,
    /// The node of each operator, by its index in the document.
    pub(super) places: Vec<u16>,
}

/// An input of an operator: a source, or a port of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    Source(usize),
    Port(usize, usize),
}

pub(super) fn connect(tree: &Tree, mut steps: Vec<Step>, sources: &[&str], compiler: &mut Compiler<'_>) -> Option<Graph> {
    let problems = &mut *compiler.problems;
    let items = tree.get("operators").map(Tree::items).unwrap_or_default();
    if steps.is_empty() {
        problems.add(tree, "operators", "no operators; a pipeline needs at least a meter");
        return None;
    }
    name_apart(items, &mut steps, sources, problems);
    let inputs = inputs(items, &steps, sources, problems);
    if !problems.0.is_empty() {
        return None;
    }
    let order = match order(&inputs) {
        Ok(order) => order,
        Err(cycle) => {
            let names: Vec<&str> = cycle.iter().chain(cycle.first()).map(|at| steps[*at].id.as_str()).collect();
            let message = format!("the operators read each other in a circle: {}; change one `from`", names.join(" ← "));
            problems.add(&items[cycle[0]], &format!("operators[{}].from", cycle[0]), message);
            return None;
        }
    };
    super::warnings::of_graph(tree, &steps, &inputs, sources, &mut compiler.warnings);
    Some(lay_out(steps, &inputs, &order, sources.len()))
}

/// Checks that given ids differ, and numbers missing ones.
fn name_apart(items: &[Tree], steps: &mut [Step], sources: &[&str], problems: &mut Problems) {
    for i in 0..steps.len() {
        let given = items[i].text("id").is_some();
        let taken = |id: &str, steps: &[Step]| steps[..i].iter().any(|known| known.id == id) || sources.contains(&id);
        if given && taken(&steps[i].id, steps) {
            problems.add(&items[i], &format!("operators[{i}].id"), format!("a second `{}`; ids are unique", steps[i].id));
        }
        if given && steps[i].id.contains('.') {
            problems.add(&items[i], &format!("operators[{i}].id"), "an id holds no dot: `id.route` names a route");
        }
        let plain = steps[i].id.clone();
        let mut number = 2;
        while !given && taken(&steps[i].id, steps) {
            steps[i].id = format!("{plain}{number}");
            number += 1;
        }
    }
}

fn inputs(items: &[Tree], steps: &[Step], sources: &[&str], problems: &mut Problems) -> Vec<Vec<Input>> {
    let mut all = Vec::new();
    for (i, item) in items.iter().enumerate() {
        let Some(from) = item.get("from") else {
            all.push(match i.checked_sub(1) {
                None => (0..sources.len()).map(Input::Source).collect(),
                Some(before) if steps[before].is_parted() => {
                    let routes = steps[before].routes.iter().map(|route| format!("{}.{route}", steps[before].id));
                    let message = format!("behind a branch say which way: from: {}", routes.collect::<Vec<_>>().join(" or "));
                    problems.add(item, &format!("operators[{i}].from"), message);
                    Vec::new()
                }
                Some(before) => vec![Input::Port(before, 0)],
            });
            continue;
        };
        let names: Vec<&Tree> = if from.scalar().is_some() { vec![from] } else { from.items().iter().collect() };
        let mut read = Vec::new();
        for node in names {
            match resolve(node.scalar().unwrap_or_default(), steps, sources) {
                Ok(input) => read.push(input),
                Err(message) => problems.add(node, &format!("operators[{i}].from"), message),
            }
        }
        all.push(read);
    }
    all
}

fn resolve(name: &str, steps: &[Step], sources: &[&str]) -> Result<Input, String> {
    if let Some(source) = sources.iter().position(|source| *source == name) {
        return Ok(Input::Source(source));
    }
    let (id, route) = name.split_once('.').map_or((name, None), |(id, route)| (id, Some(route)));
    let Some(step) = steps.iter().position(|step| step.id == id) else {
        let known = steps.iter().map(|step| step.id.as_str()).chain(sources.iter().copied());
        let near = nearest(id, known).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        return Err(format!("no operator or source `{id}`{near}"));
    };
    let routes = &steps[step].routes;
    match route {
        None if !steps[step].is_parted() => Ok(Input::Port(step, 0)),
        None => Err(format!("`{id}` is a branch: write `{id}.{}`", routes.join(&format!("` or `{id}.")))),
        Some(route) => match routes.iter().position(|known| known == route) {
            Some(port) => Ok(Input::Port(step, port)),
            None => {
                let near = nearest(route, routes.iter().map(String::as_str));
                Err(format!(
                    "`{id}` has no route `{route}`{}",
                    near.map_or(String::new(), |near| format!("; did you mean `{id}.{near}`?"))
                ))
            }
        },
    }
}

/// Sorts operators so that each follows all it reads, or returns a cycle among them.
fn order(inputs: &[Vec<Input>]) -> Result<Vec<usize>, Vec<usize>> {
    let reads =
        |at: usize| inputs[at].iter().filter_map(|input| if let Input::Port(from, _) = input { Some(*from) } else { None });
    let mut order = Vec::new();
    let mut placed = vec![false; inputs.len()];
    while order.len() < inputs.len() {
        let ready: Vec<usize> = (0..inputs.len()).filter(|at| !placed[*at] && reads(*at).all(|from| placed[from])).collect();
        if ready.is_empty() {
            // Every unplaced operator reads an unplaced one: following them closes a cycle.
            let mut path: Vec<usize> = Vec::new();
            let mut at = placed.iter().position(|placed| !placed).unwrap_or_default();
            while !path.contains(&at) {
                path.push(at);
                at = reads(at).find(|from| !placed[*from]).unwrap_or(at);
            }
            let start = path.iter().position(|known| *known == at).unwrap_or_default();
            return Err(path.split_off(start));
        }
        for at in ready {
            placed[at] = true;
            order.push(at);
        }
    }
    Ok(order)
}

fn lay_out(steps: Vec<Step>, inputs: &[Vec<Input>], order: &[usize], sources: usize) -> Graph {
    let place = |step: usize| order.iter().position(|at| *at == step).unwrap_or_default();
    let mut steps: Vec<Option<Step>> = steps.into_iter().map(Some).collect();
    let mut nodes = Vec::new();
    for &at in order {
        if let Some(step) = steps[at].take() {
            let ports = step.routes.len().max(1);
            nodes.push(Node { id: step.id, operator: step.operator, outputs: vec![Vec::new(); ports], routes: step.routes });
        }
    }
    let mut entries = vec![Vec::new(); sources];
    for &at in order {
        for input in &inputs[at] {
            match *input {
                Input::Source(source) => entries[source].push(place(at) as u16),
                Input::Port(from, port) => nodes[place(from)].outputs[port].push(place(at) as u16),
            }
        }
    }
    let places = (0..order.len()).map(|at| place(at) as u16).collect();
    Graph { nodes, entries, places }
}

impl Graph {
    /// Inserts an operator before everything that reads a source.
    pub(super) fn prepend(&mut self, step: &Step) {
        let sources = self.entries.len() as u16;
        for port in self.nodes.iter_mut().flat_map(|node| &mut node.outputs) {
            port.iter_mut().for_each(|at| *at += sources);
        }
        let mut front = Vec::new();
        for (source, entry) in self.entries.iter_mut().enumerate() {
            let outputs = std::mem::replace(entry, vec![source as u16]);
            front.push((outputs, step.operator.clone()));
        }
        let count = front.len() as u16;
        self.places.iter_mut().for_each(|place| *place += count);
        let nodes = front.into_iter().enumerate().map(|(source, (outputs, operator))| {
            let outputs = vec![outputs.into_iter().map(|at| at + count).collect()];
            let id = if source == 0 { step.id.clone() } else { format!("{}{}", step.id, source + 1) };
            Node { id, operator, outputs, routes: Vec::new() }
        });
        self.nodes = nodes.chain(std::mem::take(&mut self.nodes)).collect();
    }
}

/// Groups stateful operators into stages by depth: each stage depends only on earlier ones. Meters
/// are the last stage, whatever comes before them, so that all events that can still be parked are
/// there.
pub(super) fn stages(nodes: &[Node]) -> Vec<Vec<u16>> {
    let mut depth = vec![0usize; nodes.len()];
    let mut stages: Vec<Vec<u16>> = Vec::new();
    let mut meters = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        let own = usize::from(node.operator.is_stateful());
        if let Operator::Meter(_) = node.operator {
            meters.push(at as u16);
        } else if own == 1 {
            stages.resize_with(stages.len().max(depth[at] + 1), Vec::new);
            stages[depth[at]].push(at as u16);
        }
        for &next in node.outputs.iter().flatten() {
            depth[usize::from(next)] = depth[usize::from(next)].max(depth[at] + own);
        }
    }
    stages.push(meters);
    stages
}
