//! The plan of files on an SFTP server.

use flowmeter_core::time::parse_duration;

use super::Compiling;
use super::stored::{TargetFormat, check_placeholders, format};
use crate::tree::Node as Tree;

/// Files on an SFTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SftpPlan {
    /// Name or address of the server.
    pub host: String,
    /// The port of the server.
    pub port: u16,
    /// The name of the login.
    pub user: String,
    /// The password of the login.
    pub password: Option<String>,
    /// The private key of the login.
    pub key: Option<String>,
    /// The passphrase of the private key.
    pub passphrase: Option<String>,
    /// The keys by which the server is recognised: fingerprints, and lines of `known_hosts`.
    pub host_keys: Vec<String>,
    /// The path of a file; holds `{window}`.
    pub path: String,
    /// The format in which records are written.
    pub format: TargetFormat,
    /// Nanoseconds until an answer must be there.
    pub timeout: i64,
}

/// The path of files, unless another one is given. It needs no folder.
const PATH: &str = "{meterType}-{window}.csv";
/// The port of SSH.
const PORT: u16 = 22;
/// Time in which a server answers by default.
const TIMEOUT: i64 = 60_000_000_000;
/// Characters of a SHA-256 fingerprint behind its prefix.
const FINGERPRINT_CHARS: usize = 43;

pub(super) fn sftp(node: &Tree, part: &mut Compiling<'_>) -> SftpPlan {
    let at = |name: &str| node.get(name).unwrap_or(node);
    let text = |name: &str| node.text(name).map(str::to_owned);
    let path = node.text("path").unwrap_or(PATH);
    check_placeholders(node, "path", path, part);
    if path.split_once("{window}").is_none_or(|(_, behind)| behind.contains('/')) {
        let message = "files do not grow: the last part of the path must hold {window}, the number of the file's first record";
        part.wrong(at("path"), "path", message);
    }
    if node.get("password").is_none() && node.get("key").is_none() {
        part.wrong(node, "key", "a login is needed: write `password` or `key`, as ${env:NAME} or ${file:PATH}");
    }
    if node.get("passphrase").is_some() && node.get("key").is_none() {
        part.wrong(at("passphrase"), "passphrase", "it belongs to a `key`, and there is none");
    }
    let host_keys = node.get("hostKey").map(texts).unwrap_or_default();
    if let Some(written) = node.get("hostKey")
        && (host_keys.is_empty() || !host_keys.iter().all(|text| is_host_key(text)))
    {
        let message = "write 'SHA256:…' as `ssh-keyscan HOST | ssh-keygen -lf -` shows it, or a line of known_hosts";
        part.wrong(written, "hostKey", message);
    }
    SftpPlan {
        host: text("host").unwrap_or_default(),
        port: node.text("port").and_then(|port| port.parse().ok()).unwrap_or(PORT),
        user: text("user").unwrap_or_default(),
        password: text("password"),
        key: text("key"),
        passphrase: text("passphrase"),
        host_keys,
        path: path.to_owned(),
        format: format(node, path),
        timeout: node.text("timeout").and_then(parse_duration).unwrap_or(TIMEOUT),
    }
}

/// Returns one text, or those of a list.
fn texts(node: &Tree) -> Vec<String> {
    match node.scalar() {
        Some(one) => vec![one.to_owned()],
        None => node.items().iter().filter_map(Tree::scalar).map(str::to_owned).collect(),
    }
}

/// Returns whether each line of a text may be a host key. Whether a line is about the server is
/// checked when the target is opened.
fn is_host_key(text: &str) -> bool {
    let is_fingerprint = |word: &str| {
        let digits = word.strip_prefix("SHA256:").map(|digits| digits.trim_end_matches('='));
        digits.is_some_and(|digits| digits.len() == FINGERPRINT_CHARS)
    };
    // The Base64 of every public key begins with its length.
    let is_key = |line: &str| line.split_whitespace().any(|word| is_fingerprint(word) || word.starts_with("AAAA"));
    text.contains("${") || text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).all(is_key)
}

#[cfg(test)]
mod tests {
    use crate::{Pipeline, TargetFormat, TargetKind};

    const HOST_KEY: &str = "SHA256:T7SvZ2cslqpPj6nKzitCBHHlpVF3r3MvLwmFL0fk0IE";

    fn read(fields: &str) -> Result<super::SftpPlan, String> {
        let document = format!(
            "pipeline: p\nsource: {{ http: {{}} }}\noperators:\n  - meter: {{ key: a1f8797b-c827-4483-b6cf-6d3d3baa18a7, rules: [{{ category: llm }}] }}\n\
             meterTypes:\n  - {{ name: LLM tokens, category: llm }}\ntargets:\n  - sftp: {{ host: h, user: u, {fields} }}\n"
        );
        let pipeline = Pipeline::read(&document).map_err(|problems| problems.to_string())?;
        match pipeline.targets.into_iter().next().map(|target| target.kind) {
            Some(TargetKind::Sftp(plan)) => Ok(*plan),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn defaults_need_no_folder_on_the_server() {
        let plan = read(&format!("password: p, hostKey: '{HOST_KEY}'")).unwrap();
        assert_eq!((plan.port, plan.path.as_str(), plan.format), (22, "{meterType}-{window}.csv", TargetFormat::Csv));
        let plan =
            read(&format!("key: k, hostKey: ['{HOST_KEY}', '${{file:known_hosts}}'], path: '/in/{{window}}.parquet'")).unwrap();
        assert_eq!((plan.host_keys.len(), plan.format), (2, TargetFormat::Parquet));
    }

    #[test]
    fn logins_host_keys_and_paths_are_checked() {
        for (fields, expected) in [
            ("password: p".to_owned(), "`ssh-keyscan HOST | ssh-keygen -lf -` shows it"),
            ("password: p, hostKey: 'MD5:00:11'".to_owned(), "sftp.hostKey: write 'SHA256:…'"),
            ("password: p, hostKey: []".to_owned(), "sftp.hostKey: write 'SHA256:…'"),
            (format!("hostKey: '{HOST_KEY}'"), "sftp.key: a login is needed"),
            (format!("password: p, passphrase: x, hostKey: '{HOST_KEY}'"), "sftp.passphrase: it belongs to a `key`"),
            (format!("password: p, hostKey: '{HOST_KEY}', path: 'all.csv'"), "must hold {window}"),
            (format!("password: p, hostKey: '{HOST_KEY}', path: '{{window}}/all.csv'"), "must hold {window}"),
            (format!("password: p, hostKey: '{HOST_KEY}', path: '{{meterTyp}}-{{window}}.csv'"), "did you mean {meterType}?"),
        ] {
            let why = read(&fields).unwrap_err();
            assert!(why.contains(expected), "{fields}: {why}");
        }
    }
}
