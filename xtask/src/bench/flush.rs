//! `cargo xtask bench flush`: a million meters end at one instant and are delivered to a file and
//! to Postgres, while events keep arriving, or with `--idle` without other load.

#![allow(clippy::disallowed_methods)] // measuring is what it is for: it may look at clocks

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};

use super::ingest::{Load, Server, load, rate};

/// Runs both targets and prints the table.
pub(crate) fn flush(root: &Path, rest: &[&str]) -> anyhow::Result<()> {
    let option = |name: &str| rest.iter().position(|word| *word == name).and_then(|at| rest.get(at + 1)).copied();
    let meters: u64 = option("--meters").unwrap_or("1000000").parse().context("--meters takes a number")?;
    let only = option("--only");
    let idle = rest.contains(&"--idle");
    super::run(crate::cargo(root).args(["build", "--release", "--bin", "flowmeter"]))?;
    println!(
        "| target | records | flushed s | records/s | and delivered s | records/s | ingestion before /s | meanwhile /s | beside |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |");
    for target in ["file", "postgres"] {
        if only.is_none_or(|only| only == target) {
            one(root, target, meters, idle)?;
        }
    }
    Ok(())
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn one(root: &Path, target: &str, meters: u64, idle: bool) -> anyhow::Result<()> {
    let folder = root.join("bench-data/flush");
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder)?;
    let postgres = if target == "postgres" { Some(Postgres::start(&folder.join("postgres"))?) } else { None };
    let place = match &postgres {
        None => format!("  - file: {{ path: '{}' }}", folder.join("out.ndjson").display()),
        Some(postgres) => format!("  - postgres: {{ url: '{}' }}", postgres.url()),
    };
    // The meters are opened first; then all of them end at one minute of the hour.
    let making = Duration::from_secs(30 + meters / 50_000);
    let boundary = (seconds_now() + making.as_secs()) / 60 * 60 + 60;
    let minute = boundary / 60 % 60;
    let text = std::fs::read_to_string(root.join("benches/ingest.yaml"))?;
    let schedule = format!("resetSchedule: {{ minute: '{minute}', hour: '*', day: '*', month: '*', weekday: '*' }}");
    let text = format!("{}\ntargets:\n{place}\n", text.replace("resetSchedule: monthly", &schedule));
    let document = folder.join("flush.yaml");
    std::fs::write(&document, text)?;
    let mut server = Server::start_with(root, &folder.join("data"), &document)?;
    let fill = Load { events: meters, first: 0, batch: 500, users: meters, late_percent: 0 };
    load(root, &server, &fill)?;
    server.wait_counted(meters)?;
    // The rate of events while nothing is flushed.
    let calm = 4_000_000;
    let few = Load { events: calm, first: meters, users: 10_000, ..fill };
    let before = load(root, &server, &few)?;
    server.wait_counted(meters + calm)?;
    ensure!(seconds_now() < boundary, "the meters were not made in time; the boundary has passed");
    let meters = server.metric("flowmeter_count_meters{")? as u64;
    while seconds_now() < boundary {
        std::thread::sleep(Duration::from_millis(5));
    }
    let begun = Instant::now();
    let busy = std::thread::scope(|scope| -> anyhow::Result<(Duration, Duration, u64, f64)> {
        let loading = (!idle).then(|| scope.spawn(|| load(root, &server, &Load { first: few.first + calm, ..few })));
        let (mut flushed, mut done, mut records) = (None, None, 0);
        while done.is_none() {
            std::thread::sleep(Duration::from_millis(50));
            let (delivered, all) = server.delivered()?;
            if all >= meters {
                flushed.get_or_insert_with(|| begun.elapsed());
            }
            if all >= meters && delivered >= all {
                (done, records) = (Some(begun.elapsed()), all);
            }
            ensure!(begun.elapsed() < Duration::from_secs(300), "{delivered} of {all} records were delivered in 5 minutes");
        }
        let meanwhile = match loading.map(std::thread::ScopedJoinHandle::join) {
            None => 0.0,
            Some(report) => rate(&report.map_err(|_| anyhow::anyhow!("the load ended in a panic"))??),
        };
        Ok((flushed.unwrap_or_default(), done.unwrap_or_default(), records, meanwhile))
    })?;
    let (flushed, took, records, meanwhile) = busy;
    let beside = match &postgres {
        None => String::new(),
        Some(postgres) => {
            let rows = postgres.rows(&folder)?;
            let times =
                |bare: Duration| format!("{:.2} s: {:.2} times", bare.as_secs_f64(), took.as_secs_f64() / bare.as_secs_f64());
            let alone = times(postgres.bare_copy("alone", &rows)?);
            if idle {
                format!("bare COPY of the same rows {alone}")
            } else {
                // Its own processes share the machine with the events, with either way of copying.
                let again = Load { first: few.first + 2 * calm, ..few };
                let (bare, beside) = std::thread::scope(|scope| -> anyhow::Result<(Duration, f64)> {
                    let loading = scope.spawn(|| load(root, &server, &again));
                    let bare = postgres.bare_copy("beside", &rows)?;
                    let report = loading.join().map_err(|_| anyhow::anyhow!("the load ended in a panic"))??;
                    Ok((bare, rate(&report)))
                })?;
                format!(
                    "bare COPY of the same rows alone {alone}; beside the same events {}, of which then come {beside:.0}/s",
                    times(bare)
                )
            }
        }
    };
    println!(
        "| {target} | {records} | {:.2} | {:.0} | {:.2} | {:.0} | {:.0} | {meanwhile:.0} | {beside} |",
        flushed.as_secs_f64(),
        records as f64 / flushed.as_secs_f64(),
        took.as_secs_f64(),
        records as f64 / took.as_secs_f64(),
        rate(&before),
    );
    server.stop();
    Ok(())
}

/// A Postgres cluster of the benchmark's own.
struct Postgres {
    folder: PathBuf,
    programs: PathBuf,
    port: u16,
    is_root: bool,
}

impl Postgres {
    fn start(folder: &Path) -> anyhow::Result<Postgres> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").context("no Postgres; install the package `postgresql`")?;
        let programs = versions.flatten().map(|entry| entry.path().join("bin")).find(|path| path.join("initdb").exists());
        let programs = programs.context("no Postgres; install the package `postgresql`")?;
        std::fs::create_dir_all(folder)?;
        let is_root = Command::new("id").arg("-u").output()?.stdout.trim_ascii() == b"0";
        if is_root {
            // Postgres does not run as root, and its user needs access to the folder.
            super::run(Command::new("chown").arg("postgres").arg(folder))?;
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let postgres = Postgres { folder: folder.to_owned(), programs, port, is_root };
        let data = folder.join("data").to_string_lossy().into_owned();
        super::run(postgres.program("initdb").args(["-D", &data, "-U", "postgres", "-A", "trust", "-E", "UTF8"]))?;
        let options = format!("-p {port} -c listen_addresses=127.0.0.1 -c max_wal_size=8GB -k {}", folder.display());
        let log = folder.join("log").to_string_lossy().into_owned();
        super::run(postgres.program("pg_ctl").args(["-D", &data, "-w", "-l", &log, "-o", &options, "start"]))?;
        Ok(postgres)
    }

    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = Command::new(if self.is_root { "setpriv".as_ref() } else { program.as_os_str() });
        if self.is_root {
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
        }
        command.current_dir("/").stdout(Stdio::null());
        command
    }

    fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    fn ask(&self, sql: &str) -> anyhow::Result<()> {
        let mut psql = self.program("psql");
        psql.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        super::run(&mut psql)
    }

    /// Writes the delivered rows to a file.
    fn rows(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let rows = folder.join("postgres/rows.txt");
        self.ask(&format!("COPY metered_records TO '{}'", rows.display()))?;
        Ok(rows)
    }

    /// Measures the copy of the same rows from a file into a similar table, by Postgres's own
    /// client.
    fn bare_copy(&self, table: &str, rows: &Path) -> anyhow::Result<Duration> {
        self.ask(&format!("CREATE TABLE {table} (LIKE metered_records INCLUDING ALL)"))?;
        let begun = Instant::now();
        let mut psql = self.program("psql");
        psql.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres", "-q", "-v", "ON_ERROR_STOP=1"]);
        let mut running = psql.stdin(Stdio::piped()).spawn()?;
        let stdin = running.stdin.take().context("no input")?;
        { stdin }.write_all(format!("\\copy {table} from '{}'\n", rows.display()).as_bytes())?;
        ensure!(running.wait()?.success(), "the bare copy failed");
        Ok(begun.elapsed())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.folder.join("data").to_string_lossy().into_owned();
        drop(self.program("pg_ctl").args(["-D", &data, "-w", "-m", "immediate", "stop"]).status());
    }
}
