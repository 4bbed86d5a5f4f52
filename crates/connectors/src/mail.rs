//! One letter to a mail server, always over TLS, reading little of what it answers.
//!
//! The library bounds an answer once its line has ended. A line that never ends is bounded
//! here: a server may say so many bytes in all, for one message.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use lettre::Message;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Bytes that a mail server may say: some ten answers of a few hundred bytes, and the
/// handshake of TLS.
const ANSWERS_BYTES_MAX: usize = 256 << 10;
/// The ways to log in, as mail servers have them behind TLS.
const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

/// A mail server, and the login it asks for.
#[derive(Clone, Debug)]
pub struct MailServer {
    /// The name of its host.
    pub host: String,
    /// The TCP port of the server.
    pub port: u16,
    /// Whether the connection begins with TLS (`smtps://`) or switches to it (`smtp://`, STARTTLS).
    pub implicit_tls: bool,
    /// User name and password; `None`: the server asks for none.
    pub login: Option<(String, String)>,
}

/// The reason why a mail server has not taken a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Untaken {
    /// It cannot be reached, or takes no letter now.
    Unavailable(String),
    /// It refuses the login.
    Login(String),
    /// It refuses this letter for good.
    Refused(String),
    /// The connection broke after the letter was sent: it may have it.
    InDoubt(String),
}

impl Untaken {
    /// Returns the error or the server's answer.
    pub fn into_text(self) -> String {
        match self {
            Untaken::Unavailable(why) | Untaken::Login(why) | Untaken::Refused(why) | Untaken::InDoubt(why) => why,
        }
    }
}

/// Hands a letter over. Returns the server's answer.
///
/// # Errors
/// The server has not taken it, or may not have.
pub async fn hand_over(
    letter: &Message,
    server: &MailServer,
    tls: &Arc<ClientConfig>,
    starttls: TlsParameters,
) -> Result<String, Untaken> {
    let mut mail = log_in(server, tls, starttls).await?;
    let answer = mail.send(letter.envelope(), &letter.formatted()).await.map_err(|why| match &why {
        why if why.is_permanent() => Untaken::Refused(whole(why)),
        why if why.is_transient() || why.is_client() => Untaken::Unavailable(whole(why)),
        why => Untaken::InDoubt(whole(why)),
    })?;
    // It has the letter; whether it says goodbye changes nothing.
    drop(mail.quit().await);
    Ok(answer.message().collect::<Vec<_>>().join(" "))
}

/// Checks whether a server can be reached and accepts the login.
///
/// # Errors
/// It cannot, or does not.
pub async fn probe(server: &MailServer, tls: &Arc<ClientConfig>, starttls: TlsParameters) -> Result<(), Untaken> {
    drop(log_in(server, tls, starttls).await?.quit().await);
    Ok(())
}

async fn log_in(server: &MailServer, tls: &Arc<ClientConfig>, starttls: TlsParameters) -> Result<AsyncSmtpConnection, Untaken> {
    let away = |why: &dyn std::error::Error| Untaken::Unavailable(whole(why));
    let stream = TcpStream::connect((server.host.as_str(), server.port)).await.map_err(|why| away(&why))?;
    let peer = stream.peer_addr().map_err(|why| away(&why))?;
    let hello = ClientId::default();
    let mut mail = if server.implicit_tls {
        let name = ServerName::try_from(server.host.clone()).map_err(|why| away(&why))?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await.map_err(|why| away(&why))?;
        AsyncSmtpConnection::connect_with_transport(Bounded::boxed(stream, peer), &hello).await.map_err(|why| away(&why))?
    } else {
        let mail = AsyncSmtpConnection::connect_with_transport(Bounded::boxed(stream, peer), &hello).await;
        let mut mail = mail.map_err(|why| away(&why))?;
        mail.starttls(starttls, &hello).await.map_err(|why| away(&why))?;
        mail
    };
    if let Some((name, password)) = &server.login {
        let credentials = Credentials::new(name.clone(), password.clone());
        mail.auth(&MECHANISMS, &credentials).await.map_err(|why| match why.is_permanent() {
            true => Untaken::Login(whole(&why)),
            false => away(&why),
        })?;
    }
    Ok(mail)
}

/// Returns an error with its causes, in one line.
fn whole(why: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(why.source(), |cause| cause.source());
    causes.fold(why.to_string(), |said, cause| format!("{said}: {cause}"))
}

/// A connection that gives so many bytes and then breaks.
#[derive(Debug)]
struct Bounded<S> {
    stream: S,
    peer: SocketAddr,
    left: usize,
}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin + std::fmt::Debug + 'static> Bounded<S> {
    fn boxed(stream: S, peer: SocketAddr) -> Box<dyn AsyncTokioStream> {
        Box::new(Bounded { stream, peer, left: ANSWERS_BYTES_MAX })
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin + std::fmt::Debug> AsyncTokioStream for Bounded<S> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        match self.left.checked_sub(buffer.filled().len() - before) {
            Some(left) => {
                self.left = left;
                polled
            }
            None => {
                // Of what is not taken nothing may be in the buffer.
                buffer.set_filled(before);
                let why = format!("the mail server said more than {ANSWERS_BYTES_MAX} bytes, which is the bound");
                Poll::Ready(Err(io::Error::other(why)))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_server_that_talks_without_end_is_cut_off() {
        let (mut server, client) = tokio::io::duplex(1 << 16);
        let talking = tokio::spawn(async move { while server.write_all(&[b'x'; 1000]).await.is_ok() {} });
        let mut bounded = Bounded::boxed(client, ([127, 0, 0, 1], 25).into());
        let mut said = Vec::new();
        let why = bounded.read_to_end(&mut said).await.unwrap_err();
        assert!(why.to_string().contains("more than 262144 bytes"), "{why}");
        assert!(said.len() <= ANSWERS_BYTES_MAX);
        drop(bounded);
        talking.await.unwrap();
    }
}
