//! Connections to Postgres for reading.

use std::time::Duration;

use flowmeter_core::service::TlsPlan;
use flowmeter_engine::{Error, Kind};
use tokio_postgres::{Client, Config};

use crate::calls::Calls;

/// Timeout of connecting to the server.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout of a query.
pub(crate) const QUERY_TIMEOUT: Duration = Duration::from_secs(300);

/// Connects to a server.
///
/// # Errors
/// The server does not answer, or refuses the login.
pub(crate) fn connect(calls: &Calls, url: &str, tls: &TlsPlan) -> Result<Client, Error> {
    let mut config: Config = url.parse().map_err(|why| lasting(&why))?;
    config.application_name(concat!("flowmeter/", env!("CARGO_PKG_VERSION"))).connect_timeout(CONNECT_TIMEOUT);
    let connector = tokio_postgres_rustls::MakeRustlsConnect::new(crate::tls::of(tls)?);
    let connecting = async {
        let (client, connection) = config.connect(connector).await?;
        tokio::spawn(connection);
        // Texts of times in which nothing is lost, whatever the server is set to.
        client.batch_execute("SET DateStyle = ISO; SET TimeZone = 'UTC'; SET extra_float_digits = 1").await?;
        Ok(client)
    };
    let connected = calls.within(CONNECT_TIMEOUT * 2, connecting).map_err(|why| away(&why))?;
    connected.map_err(|why| judged(&why))
}

/// Returns an error that may pass.
pub(crate) fn away(why: &dyn std::fmt::Display) -> Error {
    Error::new(Kind::Unavailable, format!("postgres: {why}"))
}

/// Returns an error that only a person can mend.
pub(crate) fn lasting(why: &dyn std::fmt::Display) -> Error {
    Error::new(Kind::Invalid, format!("postgres: {why}"))
}

/// Returns the error of a statement: some of them only a person can mend.
pub(crate) fn judged(why: &tokio_postgres::Error) -> Error {
    use tokio_postgres::error::SqlState;
    let state = why.code();
    let cause = || std::error::Error::source(why).map(|cause| format!(": {cause}")).unwrap_or_default();
    let message = why.as_db_error().map_or_else(|| format!("{why}{}", cause()), |error| error.message().to_owned());
    let lasts = [
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_COLUMN,
        SqlState::UNDEFINED_FUNCTION,
        SqlState::SYNTAX_ERROR,
        SqlState::INSUFFICIENT_PRIVILEGE,
        SqlState::INVALID_CATALOG_NAME,
        SqlState::INVALID_PASSWORD,
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
    ];
    match state.is_some_and(|state| lasts.contains(state)) {
        true => lasting(&message),
        false => away(&message),
    }
}
