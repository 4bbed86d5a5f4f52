//! Runs every example of the manual, page by page, as a reader would paste it.
//!
//! - A `yaml` block whose first line is `# name.yaml` is saved under that name.
//! - A `sh` block is run in a folder of the page's own; variables live until the end of the page.
//! - A `sh` block that begins with `flowmeter serve` starts a server for the rest of the page.
//! - `<!-- not run: reason -->` before a block skips it; `<!-- retried: reason -->` repeats it until
//!   it succeeds.
//! - The lines of a `text` block after `<!-- output -->` must occur in the output of the `sh` block
//!   before it, in their order. A line that ends with ` …` is the beginning of a longer one.
//! - Every `yaml` block that begins with `meterTypes:` or `targets:` is checked within a pipeline.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::root;
use crate::support::server::{Server, eventually};

/// Pages with examples. A test fails if one is missing here.
const PAGES: &[&str] = &[
    "README.md",
    "docs/backup.md",
    "docs/call-records.md",
    "docs/choose-an-aggregation.md",
    "docs/close-and-deliver.md",
    "docs/coming-from.md",
    "docs/cloud-costs.md",
    "docs/connectors/README.md",
    "docs/connectors/files.md",
    "docs/connectors/http-polling.md",
    "docs/connectors/kafka.md",
    "docs/connectors/pipelines.md",
    "docs/connectors/object-storage.md",
    "docs/connectors/postgres.md",
    "docs/correct-events.md",
    "docs/dashboard.md",
    "docs/define-a-pipeline.md",
    "docs/delivery.md",
    "docs/event-store.md",
    "docs/explain.md",
    "docs/export.md",
    "docs/get-started.md",
    "docs/interval-data.md",
    "docs/late-events.md",
    "docs/llm-spend.md",
    "docs/meter-files.md",
    "docs/notify.md",
    "docs/openmeter.md",
    "docs/opentelemetry.md",
    "docs/operations.md",
    "docs/pipelines-in-git.md",
    "docs/security.md",
    "docs/send-events.md",
    "docs/test-pipelines.md",
];

/// Pages whose `sh` blocks other tests cover, or that need programs of a benchmark.
const COVERED_ELSEWHERE: &[&str] = &["docs/http.md", "docs/performance.md"];

/// The meter key of the pipelines that parts are checked in.
const KEY: &str = "6d1f5a52-2f4e-4a39-8c8d-0f8f6f0d2c11";

/// A fenced block with its language and the comment line before it.
#[derive(Debug)]
struct Block {
    line: usize,
    language: String,
    text: String,
    mark: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut mark = String::new();
    let mut is_open = false;
    for (number, line) in page.lines().enumerate() {
        match (is_open, line.strip_prefix("```")) {
            (false, Some(language)) => {
                let (language, mark) = (language.to_owned(), std::mem::take(&mut mark));
                found.push(Block { line: number + 1, language, text: String::new(), mark });
                is_open = true;
            }
            (true, Some(_)) => is_open = false,
            (true, None) => {
                let block = found.last_mut().unwrap();
                block.text.push_str(line);
                block.text.push('\n');
            }
            (false, None) if line.starts_with("<!-- ") => mark = line.to_owned(),
            (false, None) if line.is_empty() => {}
            (false, None) => mark.clear(),
        }
    }
    found
}

/// Runs one page from its first block to its last.
struct Reader<'p> {
    page: &'p str,
    folder: &'p Path,
    server: Option<Server>,
    /// Standard output and standard error of the last `sh` block.
    output: String,
}

impl Reader<'_> {
    fn run(&mut self, block: &Block) {
        let at = format!("{}:{}", self.page, block.line);
        let saved = block.text.lines().next().and_then(|line| line.strip_prefix("# "));
        let saved = saved.filter(|name| name.ends_with(".yaml") && !name.contains(' '));
        match (block.language.as_str(), saved) {
            ("yaml", Some(name)) => fs::write(self.folder.join(name), &block.text).unwrap(),
            ("yaml", None) => check_part(&at, &block.text),
            ("sh", _) if block.mark.starts_with("<!-- not run: ") => {}
            ("sh", _) if is_serve(&block.text) => self.serve(&block.text),
            ("sh", _) if block.mark.starts_with("<!-- retried: ") => {
                eventually(&at, || self.shell(&block.text).status.success().then_some(()));
            }
            ("sh", _) => {
                let output = self.shell(&block.text);
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{at}: {}\n{said}\n{}", output.status, block.text);
                self.output = format!("{}{said}", String::from_utf8_lossy(&output.stdout));
            }
            ("text", _) if block.mark == "<!-- output -->" => self.compare(&at, &block.text),
            _ => {}
        }
    }

    /// Fails if a line of a block is not in the last output, behind the lines before it.
    fn compare(&self, at: &str, block: &str) {
        let mut lines = self.output.lines();
        for expected in block.lines() {
            let is_found = lines.any(|line| match expected.strip_suffix(" …") {
                Some(start) => line.starts_with(start),
                None => line == expected,
            });
            assert!(is_found, "{at}: the output has no line `{expected}` at this place:\n{}", self.output);
        }
    }

    /// Starts the server of the page, after the one before has stopped.
    fn serve(&mut self, block: &str) {
        drop(self.server.take());
        let arguments: Vec<&str> = block.split_whitespace().skip(2).collect();
        self.server = Some(Server::start_at(self.folder, &arguments));
    }

    /// Runs a block with the variables of the blocks before it.
    fn shell(&self, block: &str) -> Output {
        let url = self.server.as_ref().map_or("http://127.0.0.1:9", |server| server.url.as_str());
        let block = block.replace("http://127.0.0.1:8888", url);
        let script =
            format!("[ -f .variables ] && . ./.variables\nFLOWMETER_URL={url}\nset -e\n{block}\nexport -p > .variables\n");
        let program = Path::new(env!("CARGO_BIN_EXE_flowmeter")).parent().unwrap();
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new("sh");
        shell.args(["-ac", &script]).current_dir(self.folder).env("PATH", path);
        shell.env("no_proxy", "127.0.0.1");
        shell.output().unwrap()
    }
}

fn is_serve(block: &str) -> bool {
    block.starts_with("flowmeter serve") && !block.contains("--print-config")
}

/// Checks meter types and targets that a page shows without a whole pipeline.
fn check_part(at: &str, part: &str) {
    let meter_types = "meterTypes:\n  - { name: Any, category: any }\n";
    let rest = match part.lines().next() {
        Some("meterTypes:") => part.to_owned(),
        Some("targets:") => format!("{meter_types}{part}"),
        _ => return,
    };
    let categories = rest.split("category: ").skip(1).map(|behind| behind.split([',', '\n', ' ']).next().unwrap());
    let rules: BTreeSet<String> = categories.map(|category| format!("{{ category: {category} }}")).collect();
    let rules: Vec<String> = rules.into_iter().collect();
    let document = format!(
        "pipeline: part\nsource: {{ http: {{}} }}\noperators:\n  - meter: {{ key: {KEY}, match: all, rules: [{}] }}\n{rest}",
        rules.join(", ")
    );
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("part.yaml"), document).unwrap();
    let mut check = Command::new(env!("CARGO_BIN_EXE_flowmeter"));
    let output = check.args(["check", "--quiet", "part.yaml"]).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{at}: {}", String::from_utf8_lossy(&output.stderr));
}

fn read_page(page: &str) {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(fs::canonicalize(root().join("examples")).unwrap(), folder.path().join("examples")).unwrap();
    let mut reader = Reader { page, folder: folder.path(), server: None, output: String::new() };
    blocks(&text).iter().for_each(|block| reader.run(block));
}

/// Reads every page whose place in the list has this remainder, so that pages run side by side.
fn read_pages(remainder: usize) {
    PAGES.iter().skip(remainder).step_by(3).for_each(|page| read_page(page));
}

#[test]
fn examples_of_the_manual_work_first_part() {
    read_pages(0);
}

#[test]
fn examples_of_the_manual_work_second_part() {
    read_pages(1);
}

#[test]
fn examples_of_the_manual_work_third_part() {
    read_pages(2);
}

#[test]
fn every_page_with_examples_is_read() {
    let mut pages = vec!["README.md".to_owned()];
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        pages.push(format!("docs/{}", entry.unwrap().file_name().to_str().unwrap()));
    }
    let has_examples = |page: &&String| {
        page.ends_with(".md") && blocks(&fs::read_to_string(root().join(page)).unwrap()).iter().any(|one| one.language == "sh")
    };
    let found: BTreeSet<&str> = pages.iter().filter(has_examples).map(String::as_str).collect();
    let known: BTreeSet<&str> = PAGES.iter().chain(COVERED_ELSEWHERE).copied().collect();
    let missing: Vec<&&str> = found.difference(&known).collect();
    assert!(missing.is_empty(), "add these pages to PAGES: {missing:?}");
}
