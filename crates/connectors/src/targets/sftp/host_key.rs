//! The host keys that a document trusts: fingerprints, lines of `known_hosts`, and public keys.

use flowmeter_engine::{Error, Kind};
use russh::keys::{Algorithm, HashAlg, PublicKey};

/// The keys by which a server is recognised.
#[derive(Debug, Default)]
pub(super) struct HostKeys {
    fingerprints: Vec<String>,
    keys: Vec<PublicKey>,
}

/// The beginning of a fingerprint.
const SHA256: &str = "SHA256:";

impl HostKeys {
    /// Reads keys of a server, each text with one or more lines.
    ///
    /// # Errors
    /// A line cannot be read, or no line is about this server.
    pub(super) fn read(texts: &[String], host: &str, port: u16) -> Result<HostKeys, Error> {
        let mut found = HostKeys::default();
        let lines = texts.iter().flat_map(|text| text.lines()).map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            // One word may be a secret that was written here by mistake.
            let shown = if line.contains(' ') { format!("`{line}`") } else { "a line".to_owned() };
            found.add(line, host, port).map_err(|why| wrong(&format!("{shown}: {why}"), host, port))?;
        }
        match found.fingerprints.is_empty() && found.keys.is_empty() {
            true => Err(wrong(&format!("no line is about {}", names(host, port)[0]), host, port)),
            false => Ok(found),
        }
    }

    fn add(&mut self, line: &str, host: &str, port: u16) -> Result<(), String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        // A line of `ssh-keygen -l` has the fingerprint as its second word.
        if let Some(fingerprint) = words.iter().find(|word| word.starts_with(SHA256)) {
            self.fingerprints.push(fingerprint.trim_end_matches('=').to_owned());
            return Ok(());
        }
        let key = match words.as_slice() {
            [marker, ..] if marker.starts_with('@') => return Err("lines with a marker are not supported".to_owned()),
            [hashed, ..] if hashed.starts_with("|1|") => return Err("lines with a hashed name are not supported".to_owned()),
            // The name of a server may begin as an algorithm does.
            [patterns, algorithm, key, ..] if is_algorithm(algorithm) => {
                let is_meant = patterns.split(',').any(|pattern| names(host, port).iter().any(|name| name == pattern));
                if !is_meant {
                    return Ok(());
                }
                format!("{algorithm} {key}")
            }
            [algorithm, key, ..] if is_algorithm(algorithm) => format!("{algorithm} {key}"),
            _ => return Err("this is neither a fingerprint nor a line of known_hosts".to_owned()),
        };
        self.keys.push(PublicKey::from_openssh(&key).map_err(|why| why.to_string())?);
        Ok(())
    }

    /// Returns whether the key is one of these.
    pub(super) fn has(&self, key: &PublicKey) -> bool {
        self.keys.iter().any(|known| known.key_data() == key.key_data()) || self.fingerprints.contains(&fingerprint(key))
    }

    /// Returns whether a server may be asked for a key of this algorithm. With fingerprints alone,
    /// the algorithm of the key is not known.
    pub(super) fn may_be(&self, algorithm: &Algorithm) -> bool {
        // A key of RSA can be used with several algorithms.
        let is_same = |known: Algorithm| known == *algorithm || (known.is_rsa() && algorithm.clone().is_rsa());
        !self.fingerprints.is_empty() || self.keys.iter().any(|key| is_same(key.algorithm()))
    }
}

/// Returns the fingerprint of a key, as `ssh-keygen -l` shows it.
pub(super) fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

fn is_algorithm(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"].iter().any(|start| word.starts_with(start))
}

/// Returns the names of a server in `known_hosts`.
fn names(host: &str, port: u16) -> Vec<String> {
    let with_port = format!("[{host}]:{port}");
    if port == 22 { vec![host.to_owned(), with_port] } else { vec![with_port] }
}

fn wrong(why: &str, host: &str, port: u16) -> Error {
    let advice = format!("write the fingerprint of the server's key, as `{}` shows it", command(host, port));
    Error::new(Kind::Invalid, format!("sftp.hostKey: {why}; {advice}"))
}

/// Returns the command that shows the fingerprints of a server.
pub(super) fn command(host: &str, port: u16) -> String {
    let port = if port == 22 { String::new() } else { format!("-p {port} ") };
    format!("ssh-keyscan {port}{host} | ssh-keygen -lf -")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const FINGERPRINT: &str = "SHA256:T7SvZ2cslqpPj6nKzitCBHHlpVF3r3MvLwmFL0fk0IE";

    fn has(text: &str, port: u16) -> Result<bool, String> {
        let read = HostKeys::read(&[text.to_owned()], "files.example.com", port);
        read.map(|keys| keys.has(&PublicKey::from_openssh(KEY).unwrap())).map_err(|why| why.to_string())
    }

    #[test]
    fn fingerprints_known_hosts_and_public_keys_are_recognised() {
        let other = FINGERPRINT.replace("T7S", "T7A");
        for (label, text, port, expected) in [
            ("a fingerprint", FINGERPRINT.to_owned(), 22, true),
            ("another fingerprint", other.clone(), 22, false),
            ("two fingerprints", format!("{other}\n{FINGERPRINT}"), 22, true),
            ("a line of ssh-keygen", format!("256 {FINGERPRINT} files.example.com (ED25519)"), 22, true),
            ("a line of known_hosts", format!("# a remark\n\nfiles.example.com,192.0.2.1 {KEY}"), 22, true),
            ("a line with a port", format!("[files.example.com]:2222 {KEY}"), 2222, true),
            ("a public key", format!("{KEY} root@files"), 22, true),
            ("names like algorithms", format!("ssh-old.example.com,files.example.com {KEY}"), 22, true),
            ("lines of several servers", format!("other.example.com {KEY}\n{other}"), 22, false),
        ] {
            assert_eq!(has(&text, port), Ok(expected), "{label}");
        }
    }

    #[test]
    fn lines_that_cannot_be_used_are_refused_with_the_command_to_run() {
        for (text, port, expected) in [
            (String::new(), 22, "no line is about files.example.com"),
            (format!("other.example.com {KEY}"), 22, "no line is about files.example.com"),
            (format!("files.example.com {KEY}"), 2222, "no line is about [files.example.com]:2222"),
            (format!("|1|c2FsdA==|aGFzaA== {KEY}"), 22, "hashed name"),
            (format!("@cert-authority *.example.com {KEY}"), 22, "marker"),
            ("MD5:00:11:22".to_owned(), 22, "neither a fingerprint nor a line of known_hosts"),
            ("ssh-ed25519 AAAA".to_owned(), 22, "`ssh-ed25519 AAAA`"),
        ] {
            let why = has(&text, port).unwrap_err();
            assert!(
                why.contains(expected) && why.contains("ssh-keyscan ") && why.contains("| ssh-keygen -lf -"),
                "{text}: {why}"
            );
        }
    }
}
