//! The statements of the ClickHouse target.

use super::super::rows;

/// Returns the question whether the table exists.
pub(super) fn exists(table: &str) -> String {
    format!("EXISTS TABLE {table} FORMAT TabSeparated")
}

/// Returns the statement that creates the table. Rows of one record, of which there may be two for
/// a while, become one when parts are merged; a query with FINAL sees one at once.
pub(super) fn create(table: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {table} ({}) ENGINE = ReplacingMergeTree ORDER BY record_id \
         SETTINGS non_replicated_deduplication_window = 1000",
        rows::clickhouse_columns()
    )
}

/// Returns the statement that inserts rows, which follow it.
pub(super) fn insert(table: &str) -> String {
    format!("INSERT INTO {table} ({}) FORMAT TabSeparated\n", rows::names())
}

/// Returns the question whether the table has each of some rows, and in which columns a row
/// differs: a line for each, in order. ClickHouse reads both sides by the same types.
pub(super) fn compare(table: &str, rows: &str) -> String {
    let differs = rows::fields()
        .map(|name| format!("if(ifNull(toString(held.{name}), '\\\\N') = ifNull(toString(sent.{name}), '\\\\N'), '', '{name}')"));
    let differs = differs.collect::<Vec<_>>().join(", ");
    format!(
        "WITH sent AS (SELECT *, rowNumberInAllBlocks() AS place FROM format(TabSeparated, {columns}, {rows})) \
         SELECT held.is_held, arrayStringConcat(arrayFilter(name -> name != '', [{differs}]), ', ') \
         FROM sent LEFT JOIN \
         (SELECT *, true AS is_held FROM {table} FINAL WHERE record_id IN (SELECT record_id FROM sent)) AS held \
         ON held.record_id = sent.record_id ORDER BY sent.place FORMAT TabSeparated",
        columns = literal(&rows::clickhouse_columns()),
        rows = literal(rows),
    )
}

/// Returns a text as a literal.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_cannot_be_left() {
        assert_eq!(literal(r"it's a \N"), r"'it\'s a \\N'");
        assert_eq!(literal(r"\'; DROP TABLE t"), r"'\\\'; DROP TABLE t'");
    }
}
