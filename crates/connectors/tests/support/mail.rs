//! A mail server: PyPI's `aiosmtpd`, with TLS and a login. It keeps every letter in memory.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::skipped;

const SERVER: &str = r#"
import asyncio, base64, email, email.policy, json, ssl, sys
from aiosmtpd.smtp import SMTP, AuthResult

folder, implicit = sys.argv[1], sys.argv[2] == "smtps"
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(folder + "/cert.pem", folder + "/key.pem")
answers = []

class Mailbox:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("unknown@"):
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        letter = email.message_from_bytes(envelope.content, policy=email.policy.default)
        files = [{"name": part.get_filename(), "type": part.get_content_type(), "bytes": base64.b64encode(part.get_payload(decode=True)).decode()}
                 for part in letter.iter_attachments()]
        said = answers.pop(0) if answers else "250 taken"
        print(json.dumps({
            "from": letter["From"], "to": letter["To"], "subject": letter["Subject"], "id": letter["Message-ID"],
            "text": letter.get_body().get_content(), "files": files, "user": session.auth_data, "said": said,
        }), flush=True)
        if said == "hang up":
            server.transport.abort()
            return "421 bye"
        return said

def authenticate(server, session, envelope, mechanism, data):
    right = (data.login, data.password) == (b"flowmeter", b"s3cret")
    return AuthResult(success=right, handled=right, auth_data=data.login.decode())

def smtp():
    starttls = {} if implicit else {"tls_context": context, "require_starttls": True}
    return SMTP(Mailbox(), hostname="localhost", authenticator=authenticate, auth_required=True, auth_require_tls=not implicit, **starttls)

def listen():
    for line in sys.stdin:
        answers.append(line.strip())

async def main():
    server = await asyncio.get_running_loop().create_server(smtp, "127.0.0.1", 0, ssl=context if implicit else None)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, listen)

asyncio.run(main())
"#;

pub struct MailServer {
    child: Child,
    pub port: u16,
    letters: Arc<Mutex<Vec<Value>>>,
}

impl MailServer {
    /// Starts one; `None`, and a line that says so, where Python cannot have it. The folder has the
    /// certificate that a client must trust: `cert.pem`.
    pub fn start(what: &str, folder: &Path, scheme: &str) -> Option<MailServer> {
        let python = python(what)?;
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let script = folder.join("mail.py");
        std::fs::write(&script, SERVER).unwrap();
        let mut command = Command::new(python);
        command.args(["-W", "ignore", "-u"]).arg(&script).arg(folder).arg(scheme);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first: Value = serde_json::from_str(&lines.next().expect("the mail server ended").unwrap()).unwrap();
        let letters = Arc::<Mutex<Vec<Value>>>::default();
        let kept = Arc::clone(&letters);
        std::thread::spawn(move || keep(lines, &kept));
        Some(MailServer { child, port: u16::try_from(first["port"].as_u64().unwrap()).unwrap(), letters })
    }

    /// Answers the next letter with a line of SMTP, or with `hang up`.
    pub fn answer(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
        // The line goes through a pipe to a thread of the server.
        std::thread::park_timeout(std::time::Duration::from_millis(300));
    }

    /// Returns the letters that came so far.
    pub fn letters(&self) -> Vec<Value> {
        // The server prints a letter before it answers; the line may still be on its way.
        std::thread::park_timeout(std::time::Duration::from_millis(100));
        self.letters.lock().unwrap().clone()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        // It ends with its standard input.
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}

fn keep(lines: std::io::Lines<BufReader<ChildStdout>>, letters: &Mutex<Vec<Value>>) {
    for line in lines.map_while(Result::ok) {
        letters.lock().unwrap().push(serde_json::from_str(&line).unwrap());
    }
}

/// Returns a Python with the server, created once and kept with the build.
fn python(what: &str) -> Option<PathBuf> {
    static MAKING: Mutex<()> = Mutex::new(());
    let _one = MAKING.lock().unwrap();
    let room = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-mail");
    let python = room.join("bin/python");
    let runs = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    if runs(Command::new(&python).args(["-c", "import aiosmtpd"]))
        || runs(Command::new("python3").args(["-m", "venv"]).arg(&room))
            && runs(Command::new(&python).args(["-m", "pip", "install", "--quiet", "aiosmtpd"]))
    {
        return Some(python);
    }
    skipped(what, "no python3 with aiosmtpd on this machine, and pip cannot install it");
    None
}
