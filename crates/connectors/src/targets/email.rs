//! Letters to people, each with a file of the records of one window.
//!
//! A window has the same records again after a crash, so its letters have the same `Message-ID`, made
//! of the numbers of their records, the same name of the file and the same rows. The mail server
//! confirms a letter by taking it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flowmeter_core::decimal::{self, Decimal};
use flowmeter_document::{EmailPlan, FileFormat};
use flowmeter_engine::node::Clock;
use flowmeter_engine::outbox::{Answer, Outgoing, Span, Target};
use flowmeter_engine::{Error, Kind};
use lettre::Message;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::client::{Certificate, Identity, TlsParameters};
use rustls::ClientConfig;
use serde::Deserialize;
use serde_json::value::RawValue;
use xxhash_rust::xxh3::Xxh3;

use super::place::{self, WINDOW, window_name};
use super::{Around, all_unavailable};
use crate::calls::Calls;
use crate::export::{Export, Format, Groups, Labels};
use crate::mail::{self, MailServer, Untaken};
use crate::{expand, tls};

/// Bytes of a file: mail servers take 10 to 25 MiB, and Base64 adds a third.
const FILE_BYTES_MAX: usize = 7 << 20;
/// Time of the check whether the server takes the login.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Letters over one mail server.
pub(super) struct Letters {
    plan: EmailPlan,
    server: MailServer,
    from: Mailbox,
    to: Vec<Mailbox>,
    tls: Arc<ClientConfig>,
    starttls: TlsParameters,
    calls: Calls,
    clock: Arc<dyn Clock>,
    /// The pipeline and the target, for ids of letters.
    owner: String,
    /// The name of the pipeline.
    pipeline: String,
    needs_a_person: bool,
}

/// The fields of a record that a letter names.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    timezone: &'a str,
    period_start: Option<&'a str>,
    period_end: Option<&'a str>,
    unit: String,
    #[serde(borrow)]
    value: &'a RawValue,
}

impl Letters {
    /// # Errors
    /// An address is none, or a secret is missing.
    pub(super) fn new(plan: &EmailPlan, around: &Around<'_>) -> Result<Letters, Error> {
        let invalid = |why: String| Error::new(Kind::Invalid, why);
        let smtp = expand(&plan.smtp)?;
        let server = server(&smtp, plan)?;
        let mailbox = |text: &String| {
            let text = expand(text)?;
            text.parse::<Mailbox>().map_err(|why| invalid(format!("e-mail: `{text}` is no address: {why}")))
        };
        let starttls = starttls(plan, &server.host)?;
        Ok(Letters {
            server,
            from: mailbox(&plan.from)?,
            to: plan.to.iter().map(mailbox).collect::<Result<_, _>>()?,
            tls: Arc::new(tls::of(&plan.tls)?),
            starttls,
            calls: Calls::new(&around.abandon)?,
            clock: Arc::clone(&around.clock),
            owner: around.owner.clone(),
            pipeline: around.pipeline.to_owned(),
            needs_a_person: false,
            plan: plan.clone(),
        })
    }

    fn deliver(&mut self, window: Span, records: &[Outgoing<'_>]) -> Result<Vec<Answer>, Error> {
        let mut files: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (at, record) in records.iter().enumerate() {
            let name = place::fill(&self.plan.file, record)?.replace(WINDOW, &window_name(window.first));
            files.entry(name).or_default().push(at);
        }
        let mut answers = vec![Answer::NotTried; records.len()];
        for (name, members) in files {
            let chosen: Vec<Outgoing<'_>> = members.iter().map(|at| records[*at]).collect();
            let answer = self.one(window.first, &name, &chosen)?;
            let stops = matches!(answer, Answer::Unavailable { .. });
            members.iter().for_each(|at| answers[*at] = answer.clone());
            if stops {
                break;
            }
        }
        Ok(answers)
    }

    /// Sends the letter of one file, and judges the answer.
    fn one(&mut self, first: u64, name: &str, records: &[Outgoing<'_>]) -> Result<Answer, Error> {
        let file = self.file(records)?;
        if file.len() > FILE_BYTES_MAX {
            let (has, max) = (file.len() >> 20, FILE_BYTES_MAX >> 20);
            let why = format!(
                "{name} has {has} MiB, and mail servers take about {max}; let `file` have {{window}} or {{userId}}, or write files"
            );
            return Ok(Answer::Refused(why));
        }
        let letter = self.letter(first, name, records, file)?;
        let limit = Duration::from_nanos(u64::try_from(self.plan.timeout).unwrap_or(0));
        let sending = mail::hand_over(&letter, &self.server, &self.tls, self.starttls.clone());
        let sent = self.calls.within(limit, sending);
        self.needs_a_person = matches!(sent, Ok(Err(Untaken::Login(_))));
        Ok(match sent {
            Ok(Ok(_)) => Answer::Accepted,
            Ok(Err(Untaken::Unavailable(why))) => Answer::Unavailable { why, after: None },
            Ok(Err(Untaken::Login(why))) => Answer::Unavailable { why: refused_login(&why), after: None },
            Ok(Err(Untaken::Refused(why))) => Answer::Refused(why),
            // The same letter is sent again: its records stay together.
            Ok(Err(Untaken::InDoubt(why))) => Answer::Unavailable { why, after: None },
            Err(cut) => Answer::Unavailable { why: cut.to_string(), after: None },
        })
    }

    fn file(&self, records: &[Outgoing<'_>]) -> Result<Vec<u8>, Error> {
        let format = match self.plan.format {
            FileFormat::Csv => Format::Csv,
            FileFormat::Xlsx => Format::Xlsx,
        };
        let sink = Memory::default();
        let mut export = Export::new(format, Groups::Column, Box::new(sink.clone()))?.without_formulas();
        for record in records {
            let fields = fields(record)?;
            let labels = Labels::of(&self.pipeline, fields.timezone, fields.period_start, fields.period_end);
            export.push(record.json, &labels)?;
        }
        export.finish()?;
        Ok(sink.bytes())
    }

    fn letter(&self, first: u64, name: &str, records: &[Outgoing<'_>], file: Vec<u8>) -> Result<Message, Error> {
        let bug = |why: String| Error::new(Kind::Invalid, format!("the letter with {name} cannot be written: {why}"));
        let Some(record) = records.first() else { return Err(bug("it has no record".to_owned())) };
        let subject = place::text(&self.plan.subject, record)?.replace(WINDOW, &window_name(first));
        let subject: String = subject.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(200).collect();
        // A letter with other records is another letter, though its file has the same name.
        let mut id = Xxh3::new();
        id.update(format!("{}\n{name}\n", self.owner).as_bytes());
        records.iter().for_each(|record| id.update(&record.number.to_le_bytes()));
        let id = format!("<{:032x}@{}>", id.digest128(), self.from.email.domain());
        let content = match self.plan.format {
            FileFormat::Csv => "text/csv; charset=utf-8",
            FileFormat::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        };
        let content = ContentType::parse(content).map_err(|why| bug(why.to_string()))?;
        let since = Duration::from_nanos(u64::try_from(self.clock.now().nanos()).unwrap_or(0));
        let mut letter = Message::builder().from(self.from.clone()).message_id(Some(id)).date(std::time::UNIX_EPOCH + since);
        for to in &self.to {
            letter = letter.to(to.clone());
        }
        let text = SinglePart::plain(self.text(name, records)?);
        let attached = Attachment::new(name.to_owned()).body(file, content);
        letter
            .subject(subject)
            .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()))
            .multipart(MultiPart::mixed().singlepart(text).singlepart(attached))
            .map_err(|why| bug(why.to_string()))
    }

    /// Returns the text of a letter: what the file has, and its sums by unit.
    fn text(&self, name: &str, records: &[Outgoing<'_>]) -> Result<String, Error> {
        let mut sums: BTreeMap<String, Option<Decimal>> = BTreeMap::new();
        for record in records {
            let fields = fields(record)?;
            let value = decimal::parse(fields.value.get().as_bytes()).ok();
            let sum = sums.entry(fields.unit).or_insert(Some(Decimal::ZERO));
            // A record without a value adds nothing.
            if let Some(value) = value {
                *sum = sum.and_then(|sum| sum.add(value));
            }
        }
        let count = records.len();
        let mut text = format!(
            "{name} has {count} metered {} of the pipeline {}.\n\n",
            if count == 1 { "record" } else { "records" },
            self.pipeline
        );
        for (unit, sum) in sums {
            text.push_str(&match sum {
                Some(sum) => format!("Sum of the values: {sum} {unit}\n"),
                None => format!("Sum of the values: more than 20 digits of {unit}\n"),
            });
        }
        text.push_str("\nEach row has its recordId. A row with the recordId of an earlier letter is the same record.\n");
        Ok(text)
    }
}

fn fields<'r>(record: &Outgoing<'r>) -> Result<Fields<'r>, Error> {
    serde_json::from_slice(record.json).map_err(|why| Error::new(Kind::Bug, format!("record {} is none: {why}", record.number)))
}

fn server(smtp: &str, plan: &EmailPlan) -> Result<MailServer, Error> {
    let parts = smtp.split_once("://").and_then(|(scheme, address)| Some((scheme, address.rsplit_once(':')?)));
    let Some((scheme @ ("smtp" | "smtps"), (host, port))) = parts.filter(|(_, (host, _))| !host.contains('@')) else {
        return Err(Error::new(
            Kind::Invalid,
            "e-mail: `smtp` must be smtps://HOST:465, or smtp://HOST:587 for STARTTLS, without a login",
        ));
    };
    let port = port.parse().map_err(|_| Error::new(Kind::Invalid, format!("e-mail: `{port}` is no port")))?;
    let login = match (&plan.username, &plan.password) {
        (Some(name), Some(password)) => Some((expand(name)?, expand(password)?)),
        _ => None,
    };
    Ok(MailServer { host: host.to_owned(), port, implicit_tls: scheme == "smtps", login })
}

/// Returns the TLS of a connection that switches to it.
fn starttls(plan: &EmailPlan, host: &str) -> Result<TlsParameters, Error> {
    let wrong = |why: &dyn std::fmt::Display| Error::new(Kind::Invalid, format!("e-mail: tls: {why}"));
    let mut tls = TlsParameters::builder(host.to_owned());
    if let Some(ca) = &plan.tls.ca {
        tls = tls.add_root_certificate(Certificate::from_pem(expand(ca)?.as_bytes()).map_err(|why| wrong(&why))?);
    }
    if let (Some(certificate), Some(key)) = (&plan.tls.certificate, &plan.tls.key) {
        let identity = Identity::from_pem(expand(certificate)?.as_bytes(), expand(key)?.as_bytes());
        tls = tls.identify_with(identity.map_err(|why| wrong(&why))?);
    }
    tls.build_rustls().map_err(|why| wrong(&why))
}

fn refused_login(why: &str) -> String {
    format!("the mail server refuses the login: {why}; check `username` and `password`")
}

/// A file in memory that an export writes to.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn bytes(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Target for Letters {
    fn probe(&mut self) -> Result<(), Error> {
        let looking = mail::probe(&self.server, &self.tls, self.starttls.clone());
        let away = |why: String| {
            let (host, port) = (&self.server.host, self.server.port);
            Error::new(Kind::Unavailable, format!("e-mail: {host}:{port}: {why}; check `smtp` and `tls`"))
        };
        match self.calls.within(PROBE_TIMEOUT, looking) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Untaken::Login(why))) => Err(Error::new(Kind::Invalid, format!("e-mail: {}", refused_login(&why)))),
            Ok(Err(why)) => Err(away(why.into_text())),
            Err(cut) => Err(away(cut.to_string())),
        }
    }

    fn address(&self) -> String {
        format!("{}:{}", self.server.host, self.server.port)
    }

    fn needs_a_person(&self) -> bool {
        self.needs_a_person
    }

    fn send(&mut self, window: Span, records: &[Outgoing<'_>]) -> Vec<Answer> {
        self.deliver(window, records).unwrap_or_else(|why| all_unavailable(&why, records.len()))
    }
}
