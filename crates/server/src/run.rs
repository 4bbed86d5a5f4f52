//! The server, from its start to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flowmeter_engine::node::{Clock, WallOf};
use flowmeter_engine::{Error, Kind, StateChoices};
use flowmeter_node::audit::Who;
use flowmeter_node::background::Yields;
use flowmeter_node::indexing::Indexing;
use flowmeter_node::installation::Installation;
use flowmeter_node::keys::browsers::Browsers;
use flowmeter_node::keys::{KeyRing, StoredKey};
use flowmeter_node::notifications::courier::Courier;
use flowmeter_node::refusal::Refused;
use flowmeter_node::sessions::StartOptions;
use flowmeter_node::settings::Settings;
use flowmeter_node::{background, notifications};
use flowmeter_store::catalog::Table;
use tokio::net::TcpListener;

use crate::api::{self, App, Metrics, Parts};
use crate::limits::{Gate, RateLimits};
use crate::security_headers::{self, Transport};
use crate::serve::{self, Bounds, Served, descriptors};
use crate::tls::Tls;
use crate::{access, compressed, loopback};

/// The pipeline of a new installation: it counts every event, by user and type, and in the
/// installation's meter types of the category `DEFAULT`.
pub const FIRST_PIPELINE: &str = include_str!("first-pipeline.yaml");

/// Interval of the periodic checks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Number of checks between two removals of expired data.
const RETAIN_EVERY: u64 = 600;
/// Interval of the check for events of meters.
const TELL_EVERY: Duration = Duration::from_millis(250);
/// Time in which the thread of notifications must finish its work at the end.
const LOOKS_END: Duration = Duration::from_secs(1);
/// Interval at which the certificate is read again.
const RENEW_EVERY: Duration = Duration::from_secs(60);

/// A document to serve: its name for messages, and its text.
#[derive(Clone, Debug)]
pub struct Document {
    /// Name of the file.
    pub name: String,
    /// Text of the document.
    pub text: String,
}

/// Serves until `stop` completes. `ready` is called with the address once events are accepted.
///
/// # Errors
/// An error that prevents the start; problems of a document, with its name.
pub async fn run(
    settings: Settings,
    documents: Vec<Document>,
    clock: Arc<dyn Clock>,
    stop: impl Future<Output = ()>,
    ready: impl FnOnce(SocketAddr, &Installation),
) -> Result<(), Error> {
    let listen = settings.listen;
    let tls = match &settings.tls {
        None => None,
        Some(files) => Some(Arc::new(Tls::load(&files.cert, &files.key).map_err(|why| invalid(why.to_string()))?)),
    };
    let descriptors = descriptors::raise();
    let bounds = Bounds::new(&settings.limits, settings.drain, descriptors);
    if (bounds.connections as u64) < settings.limits.connections {
        tracing::info!(
            connections = bounds.connections,
            "fewer connections than limits.connections: the process may open {} files",
            descriptors.unwrap_or(u64::MAX)
        );
    }
    let opening = (settings.clone(), Arc::clone(&clock));
    let opened = tokio::task::spawn_blocking(move || Installation::open(opening.0, opening.1)).await;
    let (installation, recovered) = opened.map_err(|why| Error::new(Kind::Bug, why.to_string()))??;
    if recovered.torn_bytes > 0 {
        tracing::warn!(bytes = recovered.torn_bytes, "the log's torn end was cut off; none of it had been acknowledged");
    }
    if let Some((from, until)) = recovered.lost {
        tracing::error!(from, until, "entries of the log are damaged; pipelines that had counted them continue, others fail");
    }
    let keys = keys(&installation, &settings, clock.as_ref())?;
    settings.check(keys.has_usable(clock.wall())).map_err(invalid)?;
    let starting = Arc::clone(&installation);
    let started = tokio::task::spawn_blocking(move || start_documents(&starting, &documents)).await;
    started.map_err(|why| Error::new(Kind::Bug, why.to_string()))??;

    let (told, stopping) = tokio::sync::watch::channel(false);
    let (ending, drain) = (Arc::clone(&installation), settings.drain);
    let stop = async move {
        stop.await;
        told.send_replace(true);
        // Targets and connections have the same time to finish.
        ending.end_deliveries();
        let ending = Arc::downgrade(&ending);
        tokio::spawn(async move {
            tokio::time::sleep(drain).await;
            if let Some(ending) = ending.upgrade() {
                ending.abandon_deliveries();
            }
        });
    };
    let opening = Arc::clone(&installation);
    let courier = tokio::task::spawn_blocking(move || Courier::open(opening)).await;
    let courier = Arc::new(courier.map_err(|why| Error::new(Kind::Bug, why.to_string()))??);
    let metrics = Arc::new(Metrics::default());
    let unread = metrics.unread();
    let app = App::new(Parts {
        installation: Arc::clone(&installation),
        courier: Arc::clone(&courier),
        keys: Arc::new(keys),
        rates: Arc::new(RateLimits::new(settings.rates)),
        gate: Arc::new(Gate::new(settings.limits.requests_in_flight)),
        metrics: Arc::clone(&metrics),
        answers: Arc::default(),
        browsers: Browsers::open(installation.catalog())?,
        started_at: clock.wall(),
        tls: tls.clone(),
        stopping,
    });
    let transport = if tls.is_some() { Transport::Tls } else { Transport::Plain };
    let mut router = security_headers::apply(compressed::apply(api::router(app)), transport);
    if !settings.auth.required {
        router = loopback::apply(router, transport);
    }
    let served = Served { router: access::apply(router, Arc::new(WallOf(clock))), bounds, unread };
    let listener = TcpListener::bind(listen).await.map_err(|why| Error::io(format!("listening on {listen}"), &why))?;
    let address = listener.local_addr().map_err(|why| Error::io("listening", &why))?;
    let watching = tokio::spawn(watch(Arc::clone(&installation)));
    let telling = tokio::spawn(tell_of_meters(Arc::clone(&installation)));
    let sampling = tokio::spawn(sample(Arc::clone(&installation), metrics));
    let renewing = tls.clone().map(|tls| tokio::spawn(renew(tls)));
    let notifying = Notifying::start(Arc::clone(&installation), courier)?;
    let indexing = Indexing::start(&installation)?;
    ready(address, &installation);
    match &tls {
        None => serve::plain(listener, served, stop).await,
        Some(tls) => serve::tls(listener, tls, served, stop).await,
    }
    watching.abort();
    telling.abort();
    sampling.abort();
    renewing.inspect(tokio::task::JoinHandle::abort);
    let closing = tokio::task::spawn_blocking(move || {
        notifying.stop();
        indexing.stop();
        if let Err(why) = installation.save_history() {
            tracing::error!("numbers over time of the last minute were not kept: {why}");
        }
        installation.close();
    })
    .await;
    closing.map_err(|why| Error::new(Kind::Bug, why.to_string()))
}

/// The thread of notifications, with its own runtime and a lower priority than events.
struct Notifying {
    end: tokio::sync::oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Notifying {
    fn start(installation: Arc<Installation>, courier: Arc<Courier>) -> Result<Notifying, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().thread_name("notify").enable_all().build();
        let runtime = runtime.map_err(|why| Error::new(Kind::Unavailable, format!("no runtime: {why}")))?;
        let (end, ended) = tokio::sync::oneshot::channel();
        let thread = background::spawn("notify", Yields::Wholly, move || {
            runtime.block_on(async {
                tokio::select! {
                    () = notifications::worker::run(installation, courier) => {}
                    _ = ended => {}
                }
            });
            // A name that is being resolved must not delay the end.
            runtime.shutdown_timeout(LOOKS_END);
        })?;
        Ok(Notifying { end, thread })
    }

    /// Cancels attempts in progress; they are repeated after the next start.
    fn stop(self) {
        drop(self.end);
        drop(self.thread.join());
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, message)
}

/// Returns the stored keys and the bootstrap key.
fn keys(installation: &Installation, settings: &Settings, clock: &dyn Clock) -> Result<KeyRing, Error> {
    let found = installation.catalog().scan(Table::Keys, b"", None, usize::MAX)?;
    let read = |(_, value): &(Vec<u8>, Vec<u8>)| serde_json::from_slice::<StoredKey>(value);
    let stored = found.iter().map(read).collect::<Result<Vec<_>, _>>();
    let keys = KeyRing::new(stored.map_err(|why| Error::new(Kind::Corrupt, format!("the catalog's keys: {why}")))?);
    if let Some(secret) = &settings.auth.bootstrap_key {
        let text = secret.reveal().map_err(invalid)?;
        let bootstrap = StoredKey::bootstrap(&text, &settings.namespace, clock.wall());
        keys.put_new(bootstrap.map_err(|why| invalid(why.to_string()))?);
    }
    Ok(keys)
}

/// Starts a session of each document; a new installation without documents starts with a built-in
/// pipeline.
fn start_documents(installation: &Arc<Installation>, documents: &[Document]) -> Result<(), Error> {
    let who = Who::named("serve", installation.settings().namespace.as_str());
    if documents.is_empty() && installation.pipelines(&who.namespace)?.is_empty() {
        let first = Document { name: "the first pipeline".to_owned(), text: FIRST_PIPELINE.to_owned() };
        return start(installation, &who, &first);
    }
    documents.iter().try_for_each(|document| start(installation, &who, document))
}

fn start(installation: &Arc<Installation>, who: &Who, document: &Document) -> Result<(), Error> {
    let told = |refused: Refused| Error::new(Kind::Invalid, format!("{}: {}", document.name, refused.detail));
    let compiled = installation.check_document(&who.namespace, &document.text).map_err(told)?;
    for warning in &compiled.warnings {
        tracing::warn!("{}: {warning}", document.name);
    }
    let known = installation.pipelines(&who.namespace)?.into_iter().find(|known| known.name == compiled.plan.name);
    let pipeline = match known {
        None => installation.create_pipeline(who, &document.text, false).map_err(told)?,
        // A file that is unchanged since the last start does not revert later changes.
        Some(known) => match installation.newest_by(&known, &who.name)? {
            Some(version) if version.document == document.text => known,
            _ => installation.update_pipeline(who, &known, &document.text, &StateChoices::new()).map_err(told)?,
        },
    };
    // A schedule starts sessions at its times.
    if installation.session_at_work(pipeline.id).is_none() && compiled.plan.schedule.is_none() {
        // An unreachable target does not prevent the start: its records wait for it.
        if let Err(refused) = installation.probe_targets(&pipeline) {
            tracing::error!(pipeline = pipeline.name, "{}; its records wait until it takes them", refused.detail);
        }
        let read = installation.read_asked_of(&pipeline).map_err(told)?;
        installation.start_unprobed(who, &pipeline, StartOptions::default(), &read).map_err(told)?;
    }
    Ok(())
}

/// Reads the certificate at intervals, so that a renewed one needs no restart. A certificate that
/// cannot be read leaves the old one in use, with an error in the log at each attempt.
async fn renew(tls: Arc<Tls>) {
    let mut rounds = tokio::time::interval(RENEW_EVERY);
    loop {
        rounds.tick().await;
        let reading = Arc::clone(&tls);
        if let Ok(Err(why)) = tokio::task::spawn_blocking(move || reading.reload()).await {
            tracing::error!("the certificate in use stays: {why}");
        }
    }
}

/// Creates the events of meters. Without any, a check reads two numbers of a board and two of the
/// catalog for each pipeline; a large number of events blocks no other task.
async fn tell_of_meters(installation: Arc<Installation>) {
    let mut rounds = tokio::time::interval(TELL_EVERY);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let telling = Arc::clone(&installation);
        if let Ok(Err(why)) = tokio::task::spawn_blocking(move || telling.tell_of_meters()).await {
            tracing::error!("telling what happened to meters: {why}");
        }
    }
}

/// Samples counters and groups parked events, for the dashboard.
async fn sample(installation: Arc<Installation>, metrics: Arc<Metrics>) {
    let mut rounds = tokio::time::interval(LOOK_EVERY);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let (looking, rejected) = (Arc::clone(&installation), metrics.rejected_by_namespace());
        let sampled = tokio::task::spawn_blocking(move || {
            looking.sample_history(&rejected)?;
            looking.follow_parked()
        });
        if let Ok(Err(why)) = sampled.await {
            tracing::error!("keeping numbers over time: {why}");
        }
    }
}

/// Checks the pipelines at intervals.
async fn watch(installation: Arc<Installation>) {
    let mut rounds = tokio::time::interval(LOOK_EVERY);
    for look in 0_u64.. {
        rounds.tick().await;
        let looking = Arc::clone(&installation);
        let looked = tokio::task::spawn_blocking(move || {
            looking.release_log();
            if look.is_multiple_of(RETAIN_EVERY) {
                looking.let_go_of_told()?;
            }
            // Checked every second, so that `since` of `/health/ready` is right to the second.
            looking.conditions();
            let told = looking.tell_of_sessions();
            looking.look_after();
            told
        });
        if let Ok(Err(why)) = looked.await {
            tracing::error!("looking after pipelines: {why}");
        }
    }
}
