//! `flowmeter serve`: settings, logging, signals; the server does the rest.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use flowmeter_document::Pipeline;
use flowmeter_engine::node::{Clock, SteadyClock};
use flowmeter_node::settings::{Flag, Layers, Settings};
use flowmeter_node::spans::TARGET;
use flowmeter_server::run::{Document, run};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::Serve;
use crate::clock::{SinceBoot, Wall};
use crate::failure::{self, Wrong};
use crate::{load, test_clock, traces};

/// The maximum time for sending the last traces.
const TRACES_END: Duration = Duration::from_secs(1);

pub(crate) fn serve(serve: &Serve) -> anyhow::Result<ExitCode> {
    let settings = settings(serve)?;
    if serve.print_config {
        return failure::print(&settings.print());
    }
    let traces = settings.otlp.as_ref().map(traces::exporter).transpose()?;
    log(&settings, traces.as_ref());
    for warning in settings.warnings() {
        tracing::warn!("{warning}");
    }
    let documents = serve.pipeline.iter().map(|path| document(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let config = serve.config.as_ref().map(|path| path.display().to_string());
    let test_clock = test_clock::open(serve.test_clock.as_deref(), &settings)?;
    let clock = test_clock.map(|clock| clock as Arc<dyn Clock>);
    work(settings, documents, config.as_deref(), (traces, clock), |_| ())
}

/// Runs the server until a signal ends it. `ready` is given the address of the dashboard.
pub(crate) fn work(
    settings: Settings,
    documents: Vec<Document>,
    config: Option<&str>,
    (traces, clock): (Option<SdkTracerProvider>, Option<Arc<dyn Clock>>),
    ready: impl FnOnce(&str),
) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("threads")?;
    let data = settings.data.clone();
    let has_dashboard = settings.dashboard.enabled;
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let stop = async {
        let signal = stopped().await;
        tracing::info!(signal, "shutdown started: running requests finish, new ones are refused");
    };
    let jump_max = settings.clock_jump_max.map(|max| i64::try_from(max.as_nanos()).unwrap_or(i64::MAX));
    let steady = || Arc::new(SteadyClock::new(Arc::new(Wall), Arc::new(SinceBoot), jump_max)) as Arc<dyn Clock>;
    let clock = clock.unwrap_or_else(steady);
    let served = runtime.block_on(run(settings, documents, clock, stop, |address, installation| {
        // The reader of the output may be gone: that is no reason to stop.
        let mut out = std::io::stdout().lock();
        let version = env!("CARGO_PKG_VERSION");
        tracing::info!(
            version,
            listen = format!("{scheme}://{address}"),
            data = data.display().to_string(),
            settings = config.unwrap_or("none"),
            "flowmeter started"
        );
        drop(writeln!(out, "flowmeter {version} listens on {scheme}://{address}, data in {}", data.display()));
        for served in installation.served() {
            // A pipeline without a session stays loaded for its meters and records.
            let state = match (served.session(), served.board().is_paused()) {
                (0, _) => continue,
                (_, true) => "is paused",
                (_, false) => "is running",
            };
            drop(writeln!(out, "pipeline {} {state}", served.kept.name));
        }
        if has_dashboard {
            drop(writeln!(out, "dashboard: {scheme}://{address}/"));
        }
        drop(out);
        ready(&format!("{scheme}://{address}"));
    }));
    // Tasks that still run belong to closed connections.
    runtime.shutdown_background();
    served?;
    if let Some(why) = traces.and_then(|traces| traces.shutdown_with_timeout(TRACES_END).err()) {
        tracing::warn!("the last traces did not arrive: {why}");
    }
    tracing::info!("shutdown complete");
    Ok(ExitCode::SUCCESS)
}

fn document(path: &Path) -> anyhow::Result<Document> {
    let text = std::fs::read_to_string(path).map_err(|why| Wrong(format!("{}: {why}", path.display())))?;
    let with_code = Pipeline::with_code(&text, &|file| load::script(path, file));
    let with_code = with_code.with_context(|| path.display().to_string())?;
    Ok(Document { name: path.display().to_string(), text: with_code.unwrap_or(text) })
}

/// Returns the effective settings of a command line.
pub(crate) fn settings(serve: &Serve) -> anyhow::Result<Settings> {
    let file = match &serve.config {
        None => None,
        Some(path) => Some((path, std::fs::read_to_string(path).map_err(|why| Wrong(format!("{}: {why}", path.display())))?)),
    };
    let mut flags = Vec::new();
    if let Some(data) = &serve.data {
        flags.push(Flag::named("--data", "data", data.to_string_lossy()));
    }
    if let Some(listen) = &serve.listen {
        flags.push(Flag::named("--listen", "listen", listen));
    }
    for assignment in &serve.set {
        flags.push(Flag::set(assignment).map_err(Wrong)?);
    }
    let layers = Layers {
        file: file.as_ref().map(|(path, text)| (path.as_path(), text.as_str())),
        environment: std::env::vars().collect(),
        other_variables: &["FLOWMETER_URL", "FLOWMETER_KEY"],
        flags,
    };
    Ok(Settings::read(&layers).map_err(|problems| Wrong(problems.to_string()))?)
}

/// Sets up the log to standard error, and traces to a collector, if one is configured.
pub(crate) fn log(settings: &Settings, traces: Option<&SdkTracerProvider>) {
    let level = settings.tracing.level.parse().unwrap_or(LevelFilter::INFO);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    // A file or a journal would keep colour codes as text.
    let lines = lines.with_ansi(std::io::stderr().is_terminal());
    let lines = if settings.tracing.json { lines.json().boxed() } else { lines.boxed() };
    let lines = lines.with_filter(Targets::new().with_default(level).with_target(TARGET, LevelFilter::OFF));
    // An existing subscriber is fine.
    drop(tracing_subscriber::registry().with(lines).with(traces.map(traces::layer)).try_init());
}

/// Waits for a signal to stop.
async fn stopped() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
