//! "Did you mean": the nearest of the names there are.

/// The name nearest to what was written, if any is near enough to be meant.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = written.to_lowercase();
    let distance = |name: &str| strsim::damerau_levenshtein(&lower, &name.to_lowercase());
    let limit = (written.chars().count() / 3).max(1) + 1;
    let scored = known.into_iter().map(|name| (distance(name), name));
    scored.filter(|(distance, _)| *distance <= limit).min().map(|(_, name)| name)
}
