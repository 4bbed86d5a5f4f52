//! A connection to an SFTP server: the check of its host key, the login, the subsystem.

use std::sync::Arc;
use std::time::Duration;

use flowmeter_document::SftpPlan;
use flowmeter_engine::{Error, Kind};
use russh::client::{self, AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate, decode_secret_key};
use russh::{ChannelMsg, MethodKind, MethodSet, Preferred, SshId};
use russh_sftp::client::{Config, RawSftpSession};
use russh_sftp::extensions::{FSYNC, HARDLINK, LIMITS};

use super::host_key::{self, HostKeys};

/// How long a kept connection has to answer before it is replaced.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a request to read or write if the server names no limit: what every server takes.
const CHUNK_BYTES: u64 = 32 << 10;
/// The most bytes of a request. OpenSSH takes as many.
const CHUNK_BYTES_MAX: u64 = 255 << 10;
/// Bytes of a packet of the server, some more than a chunk.
const PACKET_BYTES_MAX: u32 = 256 << 10;
/// Rounds of questions in a login that is asked for its password.
const PROMPTS_MAX: usize = 4;

/// The address of a server and the login.
pub(super) struct Server {
    host: String,
    port: u16,
    user: String,
    password: Option<String>,
    key: Option<Arc<PrivateKey>>,
    host_keys: Arc<HostKeys>,
    config: Arc<client::Config>,
    timeout: Duration,
}

/// A connection with its session of SFTP.
pub(super) struct Link {
    pub(super) sftp: RawSftpSession,
    /// The name of the server in errors.
    pub(super) place: String,
    pub(super) timeout: Duration,
    /// Bytes of a request to read or write.
    pub(super) chunk_bytes: usize,
    /// Whether the server can sync a file.
    pub(super) can_sync: bool,
    /// Whether the server can make hard links.
    pub(super) can_link: bool,
    /// Closes the connection when it is dropped.
    _connection: Handle<Check>,
}

/// The check of the host key while a connection is made.
struct Check(Arc<HostKeys>);

/// The reason why a connection was not made.
#[derive(Debug)]
enum Broken {
    Ssh(russh::Error),
    /// The fingerprint and the algorithm of the key that the server has.
    HostKey(String),
}

impl From<russh::Error> for Broken {
    fn from(why: russh::Error) -> Broken {
        Broken::Ssh(why)
    }
}

impl client::Handler for Check {
    type Error = Broken;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Broken> {
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } if self.0.has(key) => Ok(true),
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                Err(Broken::HostKey(format!("{} ({})", host_key::fingerprint(key), key.algorithm().as_str())))
            }
            // Certificates of hosts are not asked for.
            PublicKeyOrCertificate::Certificate(_) => Ok(false),
        }
    }
}

impl Server {
    /// # Errors
    /// A secret is missing, or a key cannot be read.
    pub(super) fn new(plan: &SftpPlan) -> Result<Server, Error> {
        let text = |written: &Option<String>| written.as_deref().map(crate::expand).transpose();
        let (host, port) = (crate::expand(&plan.host)?, plan.port);
        let host_keys = plan.host_keys.iter().map(|written| crate::expand(written)).collect::<Result<Vec<_>, _>>()?;
        let host_keys = HostKeys::read(&host_keys, &host, port)?;
        let passphrase = text(&plan.passphrase)?;
        let key = text(&plan.key)?.map(|key| decode_secret_key(&key, passphrase.as_deref())).transpose();
        let key = key.map_err(|why| {
            let message = format!("sftp.key: {why}; write ${{file:PATH}} of a private key, with its `passphrase` if it has one");
            Error::new(Kind::Invalid, message)
        })?;
        let algorithms = Preferred::DEFAULT.key.iter().filter(|algorithm| host_keys.may_be(algorithm)).cloned();
        let config = client::Config {
            client_id: SshId::Standard(concat!("SSH-2.0-Flowmeter_", env!("CARGO_PKG_VERSION")).into()),
            preferred: Preferred { key: algorithms.collect(), ..Preferred::DEFAULT },
            nodelay: true,
            ..client::Config::default()
        };
        Ok(Server {
            user: crate::expand(&plan.user)?,
            password: text(&plan.password)?,
            key: key.map(Arc::new),
            host_keys: Arc::new(host_keys),
            config: Arc::new(config),
            timeout: Duration::from_nanos(plan.timeout.unsigned_abs()),
            host,
            port,
        })
    }

    /// Returns its name in errors.
    pub(super) fn place(&self) -> String {
        format!("sftp {}:{}", self.host, self.port)
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns the connection that was kept, if the server still answers, or a new one.
    ///
    /// # Errors
    /// The server does not answer, is not the right one, or refuses the login.
    pub(super) async fn link(&self, kept: Option<Link>) -> Result<Link, Error> {
        if let Some(link) = kept
            && matches!(tokio::time::timeout(CHECK_TIMEOUT, link.sftp.realpath(".")).await, Ok(Ok(_)))
        {
            return Ok(link);
        }
        let check = Check(Arc::clone(&self.host_keys));
        let connecting = client::connect(Arc::clone(&self.config), (self.host.as_str(), self.port), check);
        let mut connection = connecting.await.map_err(|why| self.broken(&why))?;
        self.log_in(&mut connection).await?;
        self.open(connection).await
    }

    async fn log_in(&self, connection: &mut Handle<Check>) -> Result<(), Error> {
        let mut left = MethodSet::empty();
        if let Some(key) = &self.key {
            let hash = match key.algorithm().is_rsa() {
                true => connection.best_supported_rsa_hash().await.map_err(|why| self.broken(&why.into()))?.flatten(),
                false => None,
            };
            let key = PrivateKeyWithHashAlg::new(Arc::clone(key), hash);
            match connection.authenticate_publickey(&self.user, key).await.map_err(|why| self.broken(&why.into()))? {
                AuthResult::Success => return Ok(()),
                AuthResult::Failure { remaining_methods, .. } => left = remaining_methods,
            }
        }
        if let Some(password) = &self.password {
            match connection.authenticate_password(&self.user, password).await.map_err(|why| self.broken(&why.into()))? {
                AuthResult::Success => return Ok(()),
                AuthResult::Failure { remaining_methods, .. } => left = remaining_methods,
            }
            if left.contains(&MethodKind::KeyboardInteractive) && self.answer_prompts(connection, password).await? {
                return Ok(());
            }
        }
        if connection.is_closed() {
            return Err(self.away("the connection was closed during the login"));
        }
        let left: Vec<String> = left.iter().map(<&str>::from).map(str::to_owned).collect();
        let message = format!("the login `{}` is refused; the server takes: {}", self.user, left.join(", "));
        Err(self.lasting(&format!("{message}; check `user`, and `password` or `key`")))
    }

    /// Answers the questions of a server that asks for the password.
    async fn answer_prompts(&self, connection: &mut Handle<Check>, password: &str) -> Result<bool, Error> {
        let mut asked = connection.authenticate_keyboard_interactive_start(&self.user, None).await;
        for _ in 0..PROMPTS_MAX {
            asked = match asked.map_err(|why| self.broken(&why.into()))? {
                KeyboardInteractiveAuthResponse::Success => return Ok(true),
                KeyboardInteractiveAuthResponse::Failure { .. } => return Ok(false),
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                    let answers = prompts.iter().map(|_| password.to_owned()).collect();
                    connection.authenticate_keyboard_interactive_respond(answers).await
                }
            };
        }
        Ok(false)
    }

    /// Opens the subsystem of a connection.
    async fn open(&self, connection: Handle<Check>) -> Result<Link, Error> {
        let broken = |why: russh::Error| self.broken(&why.into());
        let mut channel = connection.channel_open_session().await.map_err(broken)?;
        channel.request_subsystem(true, "sftp").await.map_err(broken)?;
        loop {
            match channel.wait().await {
                Some(ChannelMsg::Success) => break,
                Some(ChannelMsg::Failure) => return Err(self.lasting("the server has no SFTP; enable its subsystem `sftp`")),
                None => return Err(self.away("the connection was closed")),
                Some(_) => {}
            }
        }
        let request_timeout_secs = self.timeout.as_secs().max(1);
        let config = Config { request_timeout_secs, max_packet_len: PACKET_BYTES_MAX, ..Config::default() };
        let sftp = RawSftpSession::new_with_config(channel.into_stream(), config);
        let has = sftp.init().await.map_err(|why| self.away(&why.to_string()))?.extensions;
        let mut chunk_bytes = CHUNK_BYTES;
        if has.contains_key(LIMITS) {
            let limits = sftp.limits().await.map_err(|why| self.away(&why.to_string()))?;
            // 0: there is no limit.
            let limits = [limits.max_read_len, limits.max_write_len].into_iter().filter(|limit| *limit > 0);
            chunk_bytes = limits.min().unwrap_or(CHUNK_BYTES).clamp(1, CHUNK_BYTES_MAX);
        }
        Ok(Link {
            sftp,
            place: self.place(),
            timeout: self.timeout,
            chunk_bytes: chunk_bytes as usize,
            can_sync: has.contains_key(FSYNC),
            can_link: has.contains_key(HARDLINK),
            _connection: connection,
        })
    }

    fn broken(&self, why: &Broken) -> Error {
        match why {
            Broken::HostKey(shown) => self.lasting(&format!(
                "the server has the host key {shown}, which is not in `hostKey`; it may be another machine that poses as the \
                 server. Ask its operator for the fingerprint, compare it with `{}`, and write it into `hostKey`",
                host_key::command(&self.host, self.port)
            )),
            Broken::Ssh(russh::Error::NoCommonAlgo { kind, theirs, .. }) => {
                self.lasting(&format!("no {kind:?} algorithm in common; the server offers {}", theirs.join(", ")))
            }
            Broken::Ssh(russh::Error::IO(why)) => {
                self.away(&format!("no connection: {why}; check `host` and `port`, and that the server runs"))
            }
            Broken::Ssh(why) => self.away(&why.to_string()),
        }
    }

    fn away(&self, why: &str) -> Error {
        Error::new(Kind::Unavailable, format!("{}: {why}", self.place()))
    }

    fn lasting(&self, why: &str) -> Error {
        Error::new(Kind::Invalid, format!("{}: {why}", self.place()))
    }
}
