//! One message to a mail server, always over TLS, reading little of what it answers.
//!
//! The library bounds an answer once its line has ended. A line that never ends is bounded
//! here: a server may say so many bytes in all, for one message.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use lettre::Message;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::notifications::channels::Outside;
use crate::notifications::channels::email::whole;
use crate::settings::Smtp;

/// Bytes that a mail server may say: some ten answers of a few hundred bytes, and the
/// handshake of TLS.
const ANSWERS_BYTES_MAX: usize = 256 << 10;
/// The ways to log in, as mail servers have them behind TLS.
const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

/// Hands a message over. The text is what the server said.
pub(crate) async fn hand_over(letter: &Message, smtp: &Smtp, tls: TlsParameters, outside: &Outside) -> Result<String, String> {
    let stream = TcpStream::connect((smtp.host.as_str(), smtp.port)).await.map_err(|why| whole(&why))?;
    let peer = stream.peer_addr().map_err(|why| whole(&why))?;
    let hello = ClientId::default();
    let mut mail = if smtp.implicit_tls {
        let name = ServerName::try_from(smtp.host.clone()).map_err(|why| whole(&why))?;
        let connector = TlsConnector::from(std::sync::Arc::clone(&outside.tls));
        let stream = connector.connect(name, stream).await.map_err(|why| whole(&why))?;
        AsyncSmtpConnection::connect_with_transport(Bounded::boxed(stream, peer), &hello).await.map_err(|why| whole(&why))?
    } else {
        let mail = AsyncSmtpConnection::connect_with_transport(Bounded::boxed(stream, peer), &hello).await;
        let mut mail = mail.map_err(|why| whole(&why))?;
        mail.starttls(tls, &hello).await.map_err(|why| whole(&why))?;
        mail
    };
    if let (Some(username), Some(password)) = (&smtp.username, &smtp.password) {
        let credentials = Credentials::new(username.clone(), password.reveal()?);
        mail.auth(&MECHANISMS, &credentials).await.map_err(|why| whole(&why))?;
    }
    let answer = mail.send(letter.envelope(), &letter.formatted()).await.map_err(|why| whole(&why))?;
    // It has the message; whether it says goodbye changes nothing.
    drop(mail.quit().await);
    Ok(answer.message().collect::<Vec<_>>().join(" "))
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
