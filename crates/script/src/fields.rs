//! Finds the fields of its event that a script names.
//!
//! Most scripts read and set a few fields and return the event. Such a script gets an object with
//! these fields alone, and the rest of the event never becomes a value of JavaScript. That changes no
//! result as long as the code can see nothing else of the event: so it may name fields of the
//! parameter (`event.data.model`) and return it, and nothing else. Any other use of it gets the whole
//! event.

use tree_sitter::Node;

/// Fields that a script may name: beyond, it gets the whole event.
const FIELDS_MAX: usize = 64;
/// Names that every object has, and `length`: they are asked of the value in front of them.
const INHERITED: [&str; 13] = [
    "length",
    "constructor",
    "hasOwnProperty",
    "isPrototypeOf",
    "propertyIsEnumerable",
    "toLocaleString",
    "toString",
    "valueOf",
    "toJSON",
    "__defineGetter__",
    "__defineSetter__",
    "__lookupGetter__",
    "__lookupSetter__",
];

/// The names that lead to a field.
pub(crate) type Names = Vec<String>;

/// Returns the fields that a script names, none inside another, in order; nothing if it needs the
/// whole event.
pub(crate) fn named(root: Node<'_>, code: &str) -> Option<Vec<Names>> {
    let text = |node: Node<'_>| code.get(node.byte_range()).unwrap_or_default();
    let step = step_function(root, &text)?;
    let parameter = first_parameter(step)?;
    let mut fields: Vec<Names> = Vec::new();
    let mut steps = 0;
    let mut nodes = vec![root];
    while let Some(node) = nodes.pop() {
        match node.kind() {
            "identifier" | "shorthand_property_identifier" | "shorthand_property_identifier_pattern"
                if text(node) == "arguments" || text(node).contains('\\') =>
            {
                return None;
            }
            "identifier" | "shorthand_property_identifier" | "shorthand_property_identifier_pattern" if text(node) == "step" => {
                steps += 1;
            }
            // The top level is a function too: what it returns takes the place of `step`.
            "return_statement" if function_around(node).is_none() => return None,
            "identifier" if text(node) == text(parameter) && node != parameter => fields.extend(used(node, step, &text)?),
            "shorthand_property_identifier" | "shorthand_property_identifier_pattern" if text(node) == text(parameter) => {
                return None;
            }
            _ => {}
        }
        let mut cursor = node.walk();
        nodes.extend(node.children(&mut cursor));
    }
    fields.sort();
    // Those inside a field follow it.
    fields.dedup_by(|inner, outer| inner.starts_with(outer));
    // With another mention of `step`, something else may be called.
    (steps == 1 && fields.len() <= FIELDS_MAX).then_some(fields)
}

/// The only function `step` of the top level.
fn step_function<'t>(root: Node<'t>, text: &dyn Fn(Node<'t>) -> &'t str) -> Option<Node<'t>> {
    let mut cursor = root.walk();
    root.named_children(&mut cursor).find_map(|statement| match statement.kind() {
        "function_declaration" => statement.child_by_field_name("name").filter(|name| text(*name) == "step").map(|_| statement),
        "lexical_declaration" | "variable_declaration" => {
            let mut cursor = statement.walk();
            let declarators: Vec<Node<'t>> = statement.named_children(&mut cursor).collect();
            let is_step = |node: &&Node<'t>| node.child_by_field_name("name").is_some_and(|name| text(name) == "step");
            let value = declarators.iter().find(is_step)?.child_by_field_name("value")?;
            matches!(value.kind(), "arrow_function" | "function_expression").then_some(value)
        }
        _ => None,
    })
}

fn first_parameter(function: Node<'_>) -> Option<Node<'_>> {
    let parameter = match function.child_by_field_name("parameter") {
        Some(alone) => alone,
        None => function.child_by_field_name("parameters")?.named_child(0)?,
    };
    (parameter.kind() == "identifier").then_some(parameter)
}

/// The fields that a mention of the event names; nothing if it may show more of it.
fn used<'t>(mention: Node<'t>, step: Node<'t>, text: &dyn Fn(Node<'t>) -> &'t str) -> Option<Vec<Names>> {
    let (mut names, mut at) = (Vec::new(), mention);
    while let Some(parent) = at.parent() {
        let is_here = |field: &str| parent.child_by_field_name(field) == Some(at);
        match parent.kind() {
            "member_expression" if is_here("object") => {
                let name = parent.child_by_field_name("property").filter(|name| name.kind() == "property_identifier")?;
                names.push(plain(text(name))?);
                at = parent;
                continue;
            }
            "parenthesized_expression" => {
                at = parent;
                continue;
            }
            // A method is asked of the value in front of it.
            "call_expression" if is_here("function") => drop(names.pop()),
            "variable_declarator" if names.is_empty() && is_here("value") => {
                return taken_apart(parent.child_by_field_name("name")?, text);
            }
            _ => {}
        }
        break;
    }
    if let Some(inherited) = names.iter().position(|name| INHERITED.contains(&name.as_str())) {
        names.truncate(inherited);
    }
    match names.is_empty() {
        true => is_returned(mention, step).then(Vec::new),
        false => Some(vec![names]),
    }
}

/// The fields of `const { a, b: c } = event`.
fn taken_apart<'t>(pattern: Node<'t>, text: &dyn Fn(Node<'t>) -> &'t str) -> Option<Vec<Names>> {
    if pattern.kind() != "object_pattern" {
        return None;
    }
    let mut cursor = pattern.walk();
    let name = |member: Node<'t>| {
        let name = match member.kind() {
            "shorthand_property_identifier_pattern" => member,
            "pair_pattern" => member.child_by_field_name("key").filter(|key| key.kind() == "property_identifier")?,
            _ => return None,
        };
        let name = plain(text(name)).filter(|name| !INHERITED.contains(&name.as_str()))?;
        Some(vec![name])
    };
    pattern.named_children(&mut cursor).map(name).collect()
}

/// A name without escapes that leads to no prototype.
fn plain(name: &str) -> Option<String> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$');
    (is_plain && name != "__proto__").then(|| name.to_owned())
}

/// Whether `step` returns a mention of its event as it is.
fn is_returned(mention: Node<'_>, step: Node<'_>) -> bool {
    let mut at = mention;
    while let Some(parent) = at.parent() {
        match parent.kind() {
            "parenthesized_expression" => {}
            "ternary_expression" if parent.child_by_field_name("condition") != Some(at) => {}
            "return_statement" => return function_around(parent) == Some(step),
            "arrow_function" => return parent == step && parent.child_by_field_name("body") == Some(at),
            _ => return false,
        }
        at = parent;
    }
    false
}

fn function_around(node: Node<'_>) -> Option<Node<'_>> {
    let is_function = |node: &Node<'_>| {
        let kind = node.kind();
        kind.contains("function") || kind == "method_definition" || kind == "class_static_block"
    };
    std::iter::successors(node.parent(), Node::parent).find(is_function)
}

#[cfg(test)]
mod tests {
    use crate::steps::parse;

    fn named(code: &str) -> Option<String> {
        let tree = parse(code).unwrap();
        let fields = super::named(tree.root_node(), code)?;
        Some(fields.iter().map(|names| names.join(".")).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn fields_are_found_where_nothing_else_is_seen() {
        let cases = [
            ("event.data.model = event.data.model.toLowerCase(); return event;", Some("data.model")),
            ("event.data.t = event.data.n + event.data.u; return event;", Some("data.n data.t data.u")),
            ("const { a, b: c } = event; event.sum = a + c; return (event);", Some("a b sum")),
            ("return event.kind === 'x' ? event : null;", Some("kind")),
            ("for (const item of event.data.items) context.count(item.name); return event;", Some("data.items")),
            ("event.data.n++; const d = event.data; d.x = 1; return event;", Some("data")),
            ("event.a?.b?.push(1); delete event.c; return event;", Some("a.b c")),
            ("if (event.items.length > 3) return null; return event;", Some("items")),
            ("if (event.data.hasOwnProperty('x')) return null; return event;", Some("data")),
            ("return { n: event.n };", Some("n")),
            ("return null;", Some("")),
            ("return Object.keys(event);", None),
            ("return { ...event };", None),
            ("return [event];", None),
            ("return [1].map(() => { return event; });", None),
            ("const e = event; return e;", None),
            ("const { a, ...rest } = event; return rest;", None),
            ("const { toString } = event; return event;", None),
            ("event['a'] = 1; return event;", None),
            ("return 'a' in event ? event : null;", None),
            ("event = { a: 1 }; return event;", None),
            ("return { event };", None),
            ("event.toString(); return event;", None),
            ("event.__proto__ = null; return event;", None),
            ("arguments[0].x = 1; return event;", None),
            ("return event ? event : null;", None),
            ("event.n = (event.f)(); return event;", None),
            ("event.n = (event.a.f)(); return event;", Some("a n")),
            ("Object.keys(\\u0065vent); return event;", None),
            ("const o = { arguments }; return event;", None),
            ("(event).a = (event.b).c; return event;", Some("a b.c")),
            ("(event) => event.a; return event;", None),
        ];
        for (body, expected) in cases {
            assert_eq!(named(&format!("function step(event, context) {{ {body} }}")).as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn the_function_is_found_however_it_is_written() {
        let cases = [
            ("const step = (e) => e.a ? e : null;", Some("a")),
            ("const step = e => e;", Some("")),
            ("let step = function (e) { e.a = 1; return e; };", Some("a")),
            ("function clean(x) { return x; } function step(e) { return clean(e); }", None),
            ("function step({ a }) { return null; }", None),
            ("function step(e) { return e; } const other = step;", None),
            ("let step = (e) => e; step = (e) => null;", None),
            ("function step(e) { return e; } var { step } = { step: null };", None),
            ("function step(e) { return e; } return (e) => null;", None),
        ];
        for (code, expected) in cases {
            assert_eq!(named(code).as_deref(), expected, "{code}");
        }
    }
}
