//! Traces to a collector, over OTLP/HTTP with protobuf.
//!
//! Spans wait in a bounded queue and are sent in batches from a thread of their own. An unavailable
//! or slow collector holds nothing up, and costs spans, never events.

use std::time::Duration;

use anyhow::Context;
use flowmeter_node::settings::Otlp;
use flowmeter_node::spans::TARGET;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;

/// The path of traces in OTLP/HTTP, below a collector's address.
const PATH: &str = "/v1/traces";
/// The maximum time for sending a batch.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the exporter of spans. OpenTelemetry reads headers for the collector from
/// `OTEL_EXPORTER_OTLP_HEADERS`.
pub(crate) fn exporter(otlp: &Otlp) -> anyhow::Result<SdkTracerProvider> {
    let client = flowmeter_connectors::blocking_client(TIMEOUT).context("otlp.endpoint")?;
    let base = otlp.endpoint.trim_end_matches('/');
    let endpoint = if base.ends_with(PATH) { base.to_owned() } else { format!("{base}{PATH}") };
    let exporter = SpanExporter::builder().with_http().with_http_client(client).with_endpoint(endpoint).with_timeout(TIMEOUT);
    let exporter = exporter.build().context("otlp.endpoint")?;
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let here = [KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))];
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(sampler(otlp.one_in))
        .with_resource(Resource::builder().with_service_name("flowmeter").with_attributes(here).build())
        .build())
}

/// Follows the caller's sampling decision; of traces that begin here, samples one in a number.
fn sampler(one_in: u64) -> Sampler {
    let here = if one_in <= 1 { Sampler::AlwaysOn } else { Sampler::TraceIdRatioBased(1.0 / one_in as f64) };
    Sampler::ParentBased(Box::new(here))
}

/// Returns the layer that makes spans.
pub(crate) fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(traces: &SdkTracerProvider) -> impl Layer<S> + use<S> {
    tracing_opentelemetry::layer()
        .with_tracer(traces.tracer("flowmeter"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(Targets::new().with_target(TARGET, LevelFilter::INFO))
}
