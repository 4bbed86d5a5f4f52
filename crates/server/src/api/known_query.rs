//! Parameters of a query that an endpoint does not know.
//!
//! A misspelt filter that is ignored answers with more than was asked for, so under
//! `/api/v1` it is refused. OpenMeter ignores unknown parameters, and so does everything
//! under `/openmeter`.

use flowmeter_core::suggest::nearest;

use super::request::Query;
use crate::problem::{Code, Problem, Refused};

/// Where unknown parameters are refused.
const STRICT: &str = "/api/v1/";

/// Checks the names of a query. `known`: those of the endpoint, `name[x]` for any
/// `name[…]`.
///
/// # Errors
/// `invalid` for the first name that is not known.
pub(super) fn check(route: &str, known: &'static [(&'static str, &'static str)], raw: Option<&str>) -> Result<(), Refused> {
    let Some(raw) = raw.filter(|raw| !raw.is_empty() && route.starts_with(STRICT)) else { return Ok(()) };
    let query = Query::of(Some(raw));
    let unknown = query.iter().map(|(name, _)| name).find(|name| !known.iter().any(|(known, _)| is(name, known)));
    match unknown {
        None => Ok(()),
        Some(name) => Err(refused(name, known)),
    }
}

fn is(name: &str, known: &str) -> bool {
    match known.strip_suffix("[x]") {
        None => name == known,
        Some(map) => {
            let inside = name.strip_prefix(map).and_then(|rest| rest.strip_prefix('[')?.strip_suffix(']'));
            inside.is_some_and(|inside| !inside.is_empty())
        }
    }
}

fn refused(name: &str, known: &[(&str, &str)]) -> Refused {
    let shown: String = name.chars().take(60).collect();
    let names = || known.iter().map(|(known, _)| *known);
    let advice = match (nearest(&shown, names()), known.is_empty()) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, true) => "this endpoint has none".to_owned(),
        (None, false) => format!("there are: {}", names().collect::<Vec<_>>().join(", ")),
    };
    let detail = format!("unknown parameter `{shown}`; {advice}");
    let remedy = "Correct the name of the parameter, or leave it out.";
    Box::new(Problem::new(Code::Invalid, detail).field(shown).remedy(remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[(&str, &str)] = &[("limit", ""), ("userId", ""), ("filterGroupBy[x]", "")];

    #[test]
    fn unknown_parameters_are_refused_with_the_nearest_name() {
        let cases = [
            ("", None),
            ("limit=1&limit=2&userId=", None),
            ("filterGroupBy[model]=a&filterGroupBy%5Bregion%5D=b", None),
            ("filterGroupBy[]=a", Some("did you mean `filterGroupBy[x]`?")),
            ("filterGroupBy=a", Some("did you mean `filterGroupBy[x]`?")),
            ("userid=anna", Some("did you mean `userId`?")),
            ("limit=1&lmit=2", Some("did you mean `limit`?")),
            ("colour=red", Some("there are: limit, userId, filterGroupBy[x]")),
            ("=", Some("there are: limit")),
        ];
        for (query, told) in cases {
            let detail = check("/api/v1/meters", KNOWN, Some(query)).err().map(|problem| problem.detail);
            assert_eq!(detail.is_some(), told.is_some(), "{query}: {detail:?}");
            assert!(detail.unwrap_or_default().contains(told.unwrap_or_default()), "{query}");
        }
        let none = check("/api/v1/keys/{id}", &[], Some("x=1")).unwrap_err();
        assert_eq!(none.detail, "unknown parameter `x`; this endpoint has none");
        assert_eq!(none.field.as_deref(), Some("x"));
        for ignores in ["/openmeter/api/v1/meters", "/health/ready", "/metrics"] {
            assert!(check(ignores, KNOWN, Some("x=1")).is_ok(), "{ignores}");
        }
    }
}
