//! Pipelines that are inferred: for small files of every kind, and for the sample files of the manual,
//! where they choose what the manual chooses and count its rows.

use flowmeter_connectors::file::infer;
use flowmeter_document::Pipeline;

use super::damage::{Choice, damage};
use super::session::run;

const AS_OF: &str = "2026-12-02T00:00:00Z";

const PAGES: [&str; 4] = [
    include_str!("../../../../docs/interval-data.md"),
    include_str!("../../../../docs/call-records.md"),
    include_str!("../../../../docs/cloud-costs.md"),
    include_str!("../../../../docs/llm-spend.md"),
];

/// The text of a file that a page writes.
fn sample(name: &str) -> &'static str {
    let begin = format!("cat > {name} <<'END'\n");
    let page = PAGES.iter().find_map(|page| page.split_once(&begin)).unwrap_or_else(|| panic!("no page writes {name}"));
    &page.1[..page.1.find("\nEND\n").unwrap() + 1]
}

/// Returns the pipeline for a file, which must compile.
fn inferred(name: &str, text: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    let document = infer(&[path.display().to_string()]).unwrap();
    Pipeline::read(&document).unwrap_or_else(|problems| panic!("{problems}\n{document}"));
    document.replace(&folder.path().display().to_string(), "DIR")
}

#[test]
fn samples_of_the_manual_are_inferred_and_count() {
    // Counted, duplicate and parked.
    for (name, parts, counts) in [
        (
            "intervals.csv",
            &[
                "user: Customer",
                "value: Energy",
                "fields: [Date, Start], join: ' ', format: '%d.%m.%Y %H:%M'",
                "skip: { before: 2 }",
                "units: true",
                "footer: 1",
                "decimal: ',', group: '.'",
            ][..],
            (9, 1, 1),
        ),
        (
            "offsets.csv",
            &["user: Customer", "value: Energy", "fields: [Date, Start, Offset]", "numbers: { decimal: ',' }"],
            (4, 1, 1),
        ),
        (
            "household.csv",
            &[
                "user: account",
                "4400112233",
                "value: 'event[\"USAGE (kWh)\"]'",
                "fields: [DATE, 'START TIME']",
                "skip: { before: 4 }",
            ],
            (6, 1, 1),
        ),
        ("ends.csv", &["user: Customer", "value: Energy", "fields: [Date, End]"], (3, 0, 1)),
        ("calls.csv", &["user: caller", "value: 'duration(length)'", "id: [call_id]", "field: start"], (6, 1, 1)),
        (
            "calls.txt",
            &[
                "format: fixed",
                "{ name: c2, from: 5, to: 15 }",
                "format: '%Y%m%d%H%M%S'",
                "user: c2",
                "{ name: c5, from: 41, to: 45, type: number }",
                "value: c5",
            ],
            (6, 1, 1),
        ),
        ("calls.psv", &["delimiter: '|'", "header: false", "user: c2", "value: c5", "format: 'unix_s'"], (6, 1, 1)),
        ("switch.psv", &["header: false", "time: c4"], (7, 1, 0)),
        (
            "cur.csv",
            &[
                "user: lineItem/UsageAccountId",
                "value: lineItem/UnblendedCost",
                "id: [identity/LineItemId]",
                "time: lineItem/UsageStartDate",
                "round: { places: 18 }",
            ],
            (8, 1, 1),
        ),
        ("focus.csv", &["user: SubAccountId", "value: BilledCost", "time: ChargePeriodStart", "id: content"], (6, 1, 1)),
        ("gcp.ndjson", &["user: project.id", "value: cost", "format: '%Y-%m-%d %H:%M:%S UTC'"], (5, 1, 1)),
        (
            "spend.ndjson",
            &["user: user", "value: spend", "id: [request_id]", "time: startTime", "round: { places: 18 }"],
            (5, 1, 2),
        ),
        ("spend.csv", &["user: user", "value: spend", "format: '%Y-%m-%d %H:%M:%S%.f'", "round: { places: 18 }"], (5, 1, 2)),
    ] {
        let text = sample(name);
        let document = inferred(name, text.as_bytes());
        for part in parts {
            assert!(document.contains(part), "{name} lacks `{part}`:\n{document}");
        }
        let outcome = run(&document, &[(name, text.as_bytes())], AS_OF);
        assert_eq!(outcome.failure, None, "{name}:\n{document}");
        let found = (outcome.tally.counted, outcome.tally.duplicate, outcome.tally.parked_total());
        assert_eq!(found, counts, "{name}: {:?}\n{document}", outcome.parked);
        assert_eq!(outcome.timed_by_receipt, 0, "{name}");
    }
}

#[test]
fn files_become_documents_that_compile() {
    for (name, text, parts) in [
        (
            "a.csv",
            "When,Customer,Secs\n2026-01-01 10:00:00,acme,5\n2026-01-02 10:00:00,globex,6.5\n",
            &["user: Customer", "format: '%Y-%m-%d %H:%M:%S'", "value: Secs", "correct `timezone`"][..],
        ),
        (
            "report.csv",
            "Usage report\n\nKunde;Datum;Betrag\nacme;31.01.2026;1.234,50\nacme;28.01.2026;7,00\n",
            &["delimiter: ';'", "skip: { before: 1 }", "decimal: ',', group: '.'", "format: '%d.%m.%Y'", "value: Betrag"],
        ),
        ("a.tsv", "ts\tuser\tn\n1767312000\tu\t5\n", &["format: 'unix_s'", "user: user", "value: n"]),
        (
            "a.ndjson",
            "{\"id\":\"1\",\"subject\":\"u\",\"time\":\"2026-01-01T00:00:00Z\",\"data\":{\"tokens\":5,\"model\":\"m\"}}\n",
            &["id: [id]", "user: subject", "time: time", "value: data.tokens", "data.model: text"],
        ),
        (
            "a.log",
            "h - - [01/Jan/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 5\n",
            &["format: access_log", "user: client", "value: bytes"],
        ),
        // Names that are no paths.
        ("names.csv", "time,user,USAGE (kWh)\n2026-01-01T00:00:00Z,u,5\n", &["value: 'event[\"USAGE (kWh)\"]'"]),
        ("dots.csv", "time,user,usage.kwh\n2026-01-01T00:00:00Z,u,5\n", &[r"value: 'usage\.kwh'"]),
        ("digits.ndjson", "{\"time\":\"2026-01-01T00:00:00Z\",\"user\":\"u\",\"2026\":5}\n", &["value: 'event[\"2026\"]'"]),
        ("quotes.csv", "time,user,\"the \"\"x\"\" cost\"\n2026-01-01T00:00:00Z,u,5\n", &[r#"value: 'event["the \"x\" cost"]'"#]),
        (
            "nested.ndjson",
            "{\"time\":\"2026-01-01T00:00:00Z\",\"user\":\"u\",\"my data\":{\"the cost\":5}}\n",
            &["value: 'event[\"my data\"][\"the cost\"]'"],
        ),
        // Most values decide.
        (
            "damaged.csv",
            "time,user,cost\n2026-01-01T00:00:00Z,u,5\nsoon,u,6\n2026-01-03T00:00:00Z,u,#REF!\n2026-01-04T00:00:00Z,v,7\n",
            &["time: time", "value: cost", "1 of 4 values does not fit, like soon", "1 of 4 values does not fit, like #REF!"],
        ),
        (
            "units.csv",
            "time,user,cost\n,,EUR\n2026-01-01T00:00:00Z,u,5\n2026-01-03T00:00:00Z,u,6\n",
            &["units: true", "time: time", "value: cost"],
        ),
        ("timeless.csv", "user,cost\nu,5\nv,6\n", &["# NO TIME FOUND: every event counts at the time of its receipt"]),
        (
            "utc.csv",
            "usage_start_time,project,cost\n2026-10-01 07:00:00 UTC,p,5\n2026-10-01 08:00:00.25 UTC,p,6\n",
            &["format: '%Y-%m-%d %H:%M:%S%.f UTC'", "user: project"],
        ),
        // Rows around the table.
        (
            "padded.csv",
            "Report;;\nCreated;2026-02-01;\nuser;day;cost\nu;2026-01-01;5\nv;2026-01-02;6\nTotal;;11\n",
            &["skip: { before: 2 }", "footer: 1", "user: user", "field: day", "value: cost"],
        ),
        (
            "account.csv",
            "Account Number,4400-11\nDATE,START TIME,END TIME,USAGE,NOTES\n2026-01-01,00:00,00:59,0.4,\n2026-01-01,01:00,01:59,0.5,\n",
            &["set: { account: '\"4400-11\"' }", "user: account", "fields: [DATE, 'START TIME'], join: ' '", "value: USAGE"],
        ),
        // How values are written.
        (
            "fine.csv",
            "time,user,cost\n2026-01-01T00:00:00Z,u,0.0081000000000000003\n",
            &["round: { places: 18 }", "round: the value"],
        ),
        ("money.csv", "time,user,cost\n2026-01-01T00:00:00Z,u,$5\n", &["numbers: { currency: true }"]),
        ("thousands.csv", "time,user,cost\n2026-01-01T00:00:00Z,u,\"1,500.5\"\n", &["numbers: { group: ',' }"]),
        ("blanks.csv", "time, user, cost\n2026-01-01T00:00:00Z, u, 5\n", &["trim: true", "value: cost"]),
        ("unclear.csv", "day,user,cost\n01/02/2026,u,5\n", &["format: '%d/%m/%Y'", "may also be %m/%d/%Y"]),
        (
            "bytes.csv",
            "time,user,usage\n2026-01-01T00:00:00Z,u,1073741824\n2026-01-02T00:00:00Z,u,2147483648\n",
            &["time: time", "value: usage", "usage: number"],
        ),
        (
            "phones.csv",
            "start,calling_number,called_number,secs\n1791201600,2025550101,2025550177,5\n1791201700,2025550101,2025550178,6\n",
            &["field: start, format: 'unix_s'", "user: calling_number", "value: secs"],
        ),
        (
            "commas.txt",
            "Smith, Ann  2026010100005\nJones, Bob  2026010200012\nacme        2026010300007\nglobexcorp  2026010300007\n",
            &["format: fixed", "{ name: c1, from: 1, to: 12 }", "from: 21, to: 25, type: number"],
        ),
        ("us.csv", "day,user,cost\n01/02/2026,u,5\n01/14/2026,u,5\n01/15/2026,u,5\n", &["format: '%m/%d/%Y'"]),
        (
            "texts.ndjson",
            "{\"time\":\"2026-01-01T00:00:00Z\",\"user\":\"u\",\"cost\":\"5\"}\n",
            &["textNumbers: true", "value: cost"],
        ),
        ("json.csv", "{\"time\":\"2026-01-01T00:00:00Z\",\"user\":\"u\",\"cost\":5}\n", &["format: ndjson", "value: cost"]),
        (
            "pretty.ndjson",
            "{\"time\": \"2026-01-01T00:00:00Z\",\n \"user\": \"u\", \"cost\": 5}\n",
            &["format: json", "value: cost"],
        ),
        // Lines of fixed width.
        (
            "names.txt",
            "WHO     DAY         SECS  NOTE\nacme    2026-01-01    12  first\nglobex  2026-01-02     5\nacme    2026-01-03   700  x\n",
            &[
                "shortLines: allow",
                "{ name: WHO, from: 1, to: 8 }",
                "{ name: SECS, from: 21, to: 26, type: number }",
                "filter: { when: 'WHO != \"WHO\"' }",
                "user: WHO",
                "value: SECS",
            ],
        ),
        (
            "a.txt",
            "acme    2026010100005\nglobex  2026010200012\nacme    2026010300007\n",
            &["format: fixed", "{ name: c1, from: 1, to: 8 }", "{ name: c2, from: 9, to: 16 }", "from: 17, to: 21, type: number"],
        ),
    ] {
        let document = inferred(name, text.as_bytes());
        for part in parts {
            assert!(document.contains(part), "{name} lacks `{part}`:\n{document}");
        }
    }
}

#[test]
fn damaged_samples_are_inferred_or_refused_and_never_panic() {
    let names = ["intervals.csv", "household.csv", "calls.csv", "calls.txt", "calls.psv", "cur.csv", "focus.csv", "gcp.ndjson"];
    for (seed, name) in (0..25).flat_map(|seed| names.map(|name| (seed, name))) {
        let mut choice = Choice(seed);
        let lines: Vec<&str> = sample(name).lines().collect();
        let (one, other) = (choice.below(lines.len()), choice.below(lines.len()));
        let mut text = Vec::new();
        for (i, line) in lines.iter().enumerate() {
            let is_damaged = (i == one || i == other) && line.len() > 1 && line.is_ascii();
            text.extend(if is_damaged { damage(line, &mut choice) } else { line.as_bytes().to_vec() });
            text.push(b'\n');
        }
        let document = inferred(name, &text);
        assert!(document.contains("pipeline: my-pipeline"), "{name}, seed {seed}");
    }
}

#[test]
fn choices_are_explained_with_the_next_best() {
    let text =
        "request_id,time,user,currency,tokens,spend\nr1,2026-01-01T00:00:00Z,a,USD,5,0.25\nr2,2026-01-01T00:00:01Z,a,USD,5,0.5\n";
    let document = inferred("a.csv", text.as_bytes());
    for line in [
        "# user: `user`, because its name says \"user\" and it has 1 value in 2 rows",
        "# value: `spend`, because its name says \"spend\" and it has 2 different numbers in 2 rows; next: `tokens`",
        "# id: `request_id`, because equal values occur only in equal events",
    ] {
        assert!(document.contains(line), "lacks `{line}`:\n{document}");
    }
}

#[test]
fn an_id_of_several_events_is_no_identity() {
    let text = "call_id,time,user,cost\nk1,2026-01-01T00:00:00Z,a,1\nk1,2026-01-01T00:01:00Z,a,2\n";
    assert!(inferred("a.csv", text.as_bytes()).contains("id: content"));
    assert!(inferred("b.csv", text.replace("k1,2026-01-01T00:01", "k2,2026-01-01T00:01").as_bytes()).contains("id: [call_id]"));
}

#[test]
fn a_text_that_is_no_utf8_names_an_encoding() {
    assert!(inferred("a.csv", b"time,user,cost\n2026-01-01T00:00:00Z,M\xfcller,5\n").contains("encoding: windows-1252"));
}

#[test]
fn files_of_two_sources_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let files = [put("a.csv", "user,n\nu,1\n"), put("b.csv", "usr,n\nu,1\n")];
    let why = infer(&files).unwrap_err().to_string();
    assert!(why.contains("has no `user`") && why.contains("nearest: `usr`"), "{why}");
    assert!(infer(&[put("empty.csv", "")]).is_err());
}
