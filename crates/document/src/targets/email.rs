//! Records as files that are sent to people by e-mail.

use flowmeter_core::service::TlsPlan;
use flowmeter_core::time::parse_duration;

use super::stored::check_placeholders;
use super::{Compiling, tls};
use crate::tree::Node as Tree;

/// Letters, each with a file of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailPlan {
    /// The address of the mail server: `smtps://HOST:PORT`, or `smtp://HOST:PORT` for STARTTLS.
    pub smtp: String,
    /// The login; `None`: the server asks for none.
    pub username: Option<String>,
    /// The password of the login.
    pub password: Option<String>,
    /// The address of the sender.
    pub from: String,
    /// The addresses of receivers.
    pub to: Vec<String>,
    /// The subject, which may hold placeholders.
    pub subject: String,
    /// The name of the file, which may hold placeholders. Records with the same name go in one file.
    pub file: String,
    /// The format of the file.
    pub format: FileFormat,
    /// The trusted authorities and the client certificate.
    pub tls: TlsPlan,
    /// Nanoseconds until the mail server must have answered.
    pub timeout: i64,
}

/// The format of a file for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// Rows, with texts that no spreadsheet evaluates.
    Csv,
    /// A workbook with one sheet.
    Xlsx,
}

const SUBJECT: &str = "Usage {meterType} {period}";
const FILE: &str = "{meterType}_{period}.csv";
/// Receivers of one target: more would be a mailing list.
const RECEIVERS_MAX: usize = 50;
/// Time in which a mail server answers by default: some check a letter before they take it.
const TIMEOUT: i64 = 60_000_000_000;

pub(super) fn email(node: &Tree, part: &mut Compiling<'_>) -> EmailPlan {
    let text = |name: &str| node.text(name).map(str::to_owned);
    let at = |name: &str| node.get(name).unwrap_or(node);
    let smtp = node.text("smtp").unwrap_or_default();
    let is_address = smtp.split_once("://").is_some_and(|(scheme, host)| {
        let port = host.rsplit_once(':').filter(|(host, _)| !host.is_empty() && !host.contains('@')).map(|(_, port)| port);
        ["smtps", "smtp"].contains(&scheme) && port.is_some_and(|port| port.parse::<u16>().is_ok())
    });
    if !is_address && !smtp.starts_with("${") {
        let message = "write smtps://HOST:465, or smtp://HOST:587 for STARTTLS; mail goes nowhere without TLS";
        part.wrong(at("smtp"), "smtp", message);
    }
    if node.text("username").is_some() != node.text("password").is_some() {
        part.wrong(node, "password", "username and password belong together; write both");
    }
    let from = node.text("from").unwrap_or_default();
    check_address(at("from"), "from", from, part);
    let to: Vec<&str> = match node.get("to") {
        Some(list) if list.items().is_empty() => list.scalar().into_iter().collect(),
        Some(list) => list.items().iter().filter_map(Tree::scalar).collect(),
        None => Vec::new(),
    };
    if to.is_empty() || to.len() > RECEIVERS_MAX {
        part.wrong(at("to"), "to", format!("write 1 to {RECEIVERS_MAX} addresses"));
    }
    to.iter().for_each(|address| check_address(at("to"), "to", address, part));
    let (subject, file) = (node.text("subject").unwrap_or(SUBJECT), node.text("file").unwrap_or(FILE));
    check_placeholders(node, "subject", subject, part);
    check_placeholders(node, "file", file, part);
    if file.contains('/') || file.is_empty() {
        part.wrong(at("file"), "file", format!("`{file}` is no name of a file; write it without folders"));
    }
    let format = match file.ends_with(".xlsx") {
        true => FileFormat::Xlsx,
        false => FileFormat::Csv,
    };
    if format == FileFormat::Csv && !file.ends_with(".csv") {
        part.wrong(at("file"), "file", format!("the name `{file}` must end in .csv or .xlsx: it says the format"));
    }
    EmailPlan {
        smtp: smtp.to_owned(),
        username: text("username"),
        password: text("password"),
        from: from.to_owned(),
        to: to.into_iter().map(str::to_owned).collect(),
        subject: subject.to_owned(),
        file: file.to_owned(),
        format,
        tls: tls(node),
        timeout: node.text("timeout").and_then(parse_duration).unwrap_or(TIMEOUT),
    }
}

/// Finds addresses that are none. The mail library reads them again.
fn check_address(node: &Tree, name: &str, address: &str, part: &mut Compiling<'_>) {
    let bare = address.rsplit_once('<').map_or(address, |(_, bare)| bare.trim_end_matches('>'));
    let is_address = bare.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    if (!is_address || address.contains(char::is_control)) && !address.contains("${") {
        part.wrong(node, name, format!("`{address}` is no address; write ADDRESS or NAME <ADDRESS>"));
    }
}
