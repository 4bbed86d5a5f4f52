//! Messages by e-mail, sent over the mail server of the settings, always with TLS.
//!
//! The operator chooses the server, the sender and the password, not the author of a notification:
//! a password is sent to no other server than its own.

use flowmeter_connectors::mail::{self, MailServer, Untaken};
use lettre::Message as Letter;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::client::{Certificate, TlsParameters};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::notifications::channels::{Message, Outside, Sent, TIMEOUT, headline};

/// The fields of this channel.
pub(crate) const FIELDS: [&str; 1] = ["to"];
/// Receivers of one channel: more would be a mailing list.
const RECEIVERS_MAX: usize = 50;

/// The receivers of e-mail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Email {
    /// The addresses of receivers.
    to: Vec<String>,
}

impl Email {
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        if self.to.is_empty() || self.to.len() > RECEIVERS_MAX {
            return Err(("to", format!("1 to {RECEIVERS_MAX} addresses")));
        }
        let wrong = |to: &&String| to.parse::<Mailbox>().is_err();
        match self.to.iter().find(wrong) {
            Some(to) => Err(("to", format!("`{to}` is no address; write NAME <ADDRESS> or ADDRESS"))),
            None => Ok(()),
        }
    }

    pub(crate) async fn send(&self, message: &Message<'_>, outside: &Outside) -> Sent {
        let subject = format!("[flowmeter] {}", headline(message.event));
        let request = json!({"to": self.to, "subject": subject});
        match tokio::time::timeout(TIMEOUT, self.hand_over(&subject, message, outside)).await {
            Err(_) => Sent::failed(request, format!("no answer within {} s", TIMEOUT.as_secs())),
            Ok(Err(why)) => Sent::failed(request, why),
            Ok(Ok(answer)) => Sent { accepted: true, request, answer: json!({"answer": answer}), retry_after: None },
        }
    }

    async fn hand_over(&self, subject: &str, message: &Message<'_>, outside: &Outside) -> Result<String, String> {
        let Some(server) = &outside.settings.notifications.smtp else {
            return Err("there is no mail server; set notifications.smtp and notifications.smtp_from".to_owned());
        };
        let mailbox = |text: &str| text.parse::<Mailbox>().map_err(|why| format!("{text}: {why}"));
        let from = mailbox(&server.from)?;
        let domain = from.email.domain().to_owned();
        // The same for every attempt: a mail server that has it already may drop it.
        let mut letter = Letter::builder().from(from).message_id(Some(format!("<{}@{domain}>", message.id)));
        for to in &self.to {
            letter = letter.to(mailbox(to)?);
        }
        let since = std::time::Duration::from_nanos(u64::try_from(message.at.nanos()).unwrap_or(0));
        let letter = letter
            .subject(subject)
            .date(std::time::UNIX_EPOCH + since)
            .raw_header(raw("Auto-Submitted", "auto-generated"))
            .raw_header(raw("Flowmeter-Attempt-Id", message.attempt))
            .multipart(MultiPart::alternative_plain_html(text(subject, message), html(subject, message)))
            .map_err(|why| why.to_string())?;
        let mut tls = TlsParameters::builder(server.host.clone());
        if let Some(pem) = &outside.ca {
            tls = tls.add_root_certificate(Certificate::from_pem(pem).map_err(|why| why.to_string())?);
        }
        let tls = tls.build_rustls().map_err(|why| why.to_string())?;
        let login = match (&server.username, &server.password) {
            (Some(name), Some(password)) => Some((name.clone(), password.reveal()?)),
            _ => None,
        };
        let server = MailServer { host: server.host.clone(), port: server.port, implicit_tls: server.implicit_tls, login };
        mail::hand_over(&letter, &server, &outside.tls, tls).await.map_err(Untaken::into_text)
    }
}

fn raw(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

fn facts<'a>(message: &'a Message<'_>) -> impl Iterator<Item = (&'a String, String)> {
    let payload = message.event.payload.as_object().into_iter().flatten();
    payload.map(|(name, value)| (name, value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
}

/// Returns the last lines of a message: its notification, event and id.
fn foot(message: &Message<'_>) -> String {
    format!("Notification {} · {} · {} · {}", message.notification, message.event.event_type, message.event.at, message.id)
}

fn text(subject: &str, message: &Message<'_>) -> String {
    let width = facts(message).map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: String = facts(message).map(|(name, value)| format!("{name:width$}  {value}\n")).collect();
    format!("{subject}\n\n{lines}\n-- \n{}\n", foot(message))
}

fn html(subject: &str, message: &Message<'_>) -> String {
    let rows: String = facts(message)
        .map(|(name, value)| {
            let cell = "padding:2px 12px 2px 0;vertical-align:top";
            format!(
                "<tr><th align=\"left\" style=\"{cell};font-weight:600\">{}</th><td style=\"{cell}\">{}</td></tr>",
                escape(name),
                escape(&value)
            )
        })
        .collect();
    format!(
        "<!doctype html><html><body style=\"font-family:sans-serif;font-size:14px\"><h2 style=\"font-size:18px\">{}</h2><table \
         style=\"border-collapse:collapse\">{rows}</table><p style=\"color:#666;font-size:12px\">{}</p></body></html>",
        escape(subject),
        escape(&foot(message))
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::SessionEvent;
    use flowmeter_core::time::Timestamp;

    #[test]
    fn nothing_in_an_event_is_markup() {
        let payload = json!({"meterName": "<b>p</b>", "sessionId": "R-1", "sessionStatus": "FAILED", "sessionError": "a\nb & c"});
        let event = SessionEvent {
            number: 1,
            at: String::new(),
            event_type: crate::notifications::vocabulary::STATUS.to_owned(),
            namespace: "default".to_owned(),
            payload,
        };
        assert_eq!(headline(&event), "<b>p</b> R-1: FAILED (a b & c)");
        let message = Message { id: "msg_1", attempt: "a", notification: "n", at: Timestamp::from_nanos(0), event: &event };
        let html = html("s", &message);
        assert!(html.contains("&lt;b&gt;p&lt;/b&gt;") && !html.contains("<b>"), "{html}");
    }

    #[test]
    fn receivers_are_addresses() {
        let check = |to: &[&str]| Email { to: to.iter().map(|to| (*to).to_owned()).collect() }.check();
        assert!(check(&["ops@example.com", "Night <night@example.com>"]).is_ok());
        assert!(check(&[]).is_err());
        assert!(check(&["ops"]).is_err());
        assert!(check(&["a@example.com\r\nBcc: b@example.com"]).is_err());
    }
}
