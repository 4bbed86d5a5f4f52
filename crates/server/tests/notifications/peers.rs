//! Programs of others accept our messages: PyPI's `standardwebhooks` and `aiosmtpd`, and a TLS
//! server with its own certificate. Without Python or its packages the first two are skipped with a
//! message.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Hands, OLD_SECRET, Received, Receiver, SECRET, Server, here, secret, settings, stream_document};

/// Returns a Python with these packages, created once and kept with the build.
fn python(packages: &[&str]) -> Option<PathBuf> {
    let room = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("python-{}", packages.join("-")));
    let python = room.join("bin/python");
    let runs = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    let imports = packages.iter().map(|name| format!("import {name}\n")).collect::<String>();
    if runs(Command::new(&python).args(["-c", &imports])) {
        return Some(python);
    }
    let is_made = runs(Command::new("python3").args(["-m", "venv"]).arg(&room))
        && runs(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(packages));
    if !is_made {
        // Written past the captured output, so that a skipped test is visible.
        drop(writeln!(std::io::stderr(), "SKIPPED: no python3 with {} here; nothing was verified", packages.join(", ")));
        return None;
    }
    Some(python)
}

/// Starts a session and returns the first two notifications.
async fn two_notifications(receiver: &mut Receiver, server: &Server, channel: Value) -> [Received; 2] {
    let notification = json!({"name": "n", "eventType": "meter.session.status", "channels": [channel]});
    server.made("/api/v1/notifications", &notification).await;
    let (status, _) = server.call("POST", "/api/v1/pipelines", &stream_document("p", 1)).await;
    assert_eq!(status, 201);
    server.made("/api/v1/pipelines/p/run", &json!({})).await;
    [receiver.next().await, receiver.next().await]
}

const VERIFY: &str = r#"
import datetime, json, sys
import standardwebhooks.webhooks as library

message = json.load(open(sys.argv[1]))
headers = message["headers"]
sent_at = datetime.datetime.fromtimestamp(int(headers["webhook-timestamp"]), tz=datetime.timezone.utc)

class Clock(datetime.datetime):  # The test's clock is in 2023; the library asks for the time.
    @classmethod
    def now(cls, tz=None):
        return sent_at

library.datetime = Clock

def accepts(secret, body, headers):
    try:
        library.Webhook(secret).verify(body, headers)
        return True
    except library.WebhookVerificationError:
        return False

for secret in sys.argv[2:4]:
    assert accepts(secret, message["body"], headers), "refused what is right"
    assert not accepts(secret, message["body"].replace("RUNNING", "running").replace("INITIALIZING", "X"), headers), "body"
    for name in ["webhook-id", "webhook-timestamp"]:
        changed = dict(headers, **{name: headers[name][:-1] + ("1" if headers[name][-1] != "1" else "2")})
        assert not accepts(secret, message["body"], changed), name
assert not accepts("whsec_" + "A" * 40, message["body"], headers), "another secret"
print("ok")
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standardwebhooks_accepts_what_is_right_and_nothing_else() {
    let Some(python) = python(&["standardwebhooks"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start().await;
    let server = Server::start(here(&folder.path().join("data")), Hands::new()).await;
    let secrets = [secret(folder.path(), "new", SECRET), secret(folder.path(), "old", OLD_SECRET)];
    let channel = json!({"type": "webhook", "url": format!("http://{}/", receiver.address), "secrets": secrets});
    for received in two_notifications(&mut receiver, &server, channel).await {
        let headers = ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| (name, received.header(name)));
        let headers: std::collections::BTreeMap<&str, &str> = headers.into_iter().collect();
        let message = json!({"headers": headers, "body": String::from_utf8(received.body.clone()).unwrap()});
        let (file, script) = (folder.path().join("message.json"), folder.path().join("verify.py"));
        std::fs::write(&file, message.to_string()).unwrap();
        std::fs::write(&script, VERIFY).unwrap();
        let output = Command::new(&python).arg(&script).arg(&file).args([SECRET, OLD_SECRET]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "ok\n", "{}", String::from_utf8_lossy(&output.stderr));
    }
    server.stop().await;
}

const MAIL_SERVER: &str = r#"
import asyncio, email, email.policy, json, ssl, sys
from aiosmtpd.smtp import SMTP, AuthResult

folder, implicit = sys.argv[1], sys.argv[2] == "smtps"
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(folder + "/cert.pem", folder + "/key.pem")

class Mailbox:
    async def handle_DATA(self, server, session, envelope):
        letter = email.message_from_bytes(envelope.content, policy=email.policy.default)
        parts = {part.get_content_type(): part.get_content() for part in letter.walk() if not part.is_multipart()}
        print(json.dumps({
            "from": letter["From"], "to": letter["To"], "subject": letter["Subject"], "id": letter["Message-ID"],
            "parts": parts, "user": session.auth_data, "tls": session.ssl is not None or implicit,
        }), flush=True)
        return "250 taken"

def authenticate(server, session, envelope, mechanism, data):
    right = (data.login, data.password) == (b"flowmeter", b"s3cret")
    return AuthResult(success=right, auth_data=data.login.decode())

def smtp():
    starttls = {} if implicit else {"tls_context": context, "require_starttls": True}
    return SMTP(Mailbox(), hostname="localhost", authenticator=authenticate, auth_required=True, auth_require_tls=not implicit, **starttls)

async def main():
    server = await asyncio.get_running_loop().create_server(smtp, "localhost", 0, ssl=context if implicit else None)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main())
"#;

struct MailServer {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl MailServer {
    fn start(python: &Path, folder: &Path, scheme: &str) -> (MailServer, u64) {
        let script = folder.join("mail.py");
        std::fs::write(&script, MAIL_SERVER.replace("\"localhost\", 0", "\"127.0.0.1\", 0")).unwrap();
        let mut command = Command::new(python);
        command.arg("-u").arg(&script).arg(folder).arg(scheme).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut server = MailServer { child, lines };
        let port = server.next()["port"].as_u64().unwrap();
        (server, port)
    }

    fn next(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().expect("the mail server ended").unwrap()).unwrap()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        // It ends with its standard input.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn certificate(folder: &Path) -> PathBuf {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    folder.join("cert.pem")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_server_takes_mail_over_tls_with_a_password() {
    let Some(python) = python(&["aiosmtpd"]) else { return };
    for scheme in ["smtps", "smtp"] {
        let folder = tempfile::tempdir().unwrap();
        let ca = certificate(folder.path());
        let (mut mail, port) = MailServer::start(&python, folder.path(), scheme);
        let chosen = [
            format!("notifications.smtp={scheme}://127.0.0.1:{port}"),
            "notifications.smtp_from=Flowmeter <flowmeter@example.com>".to_owned(),
            "notifications.smtp_username=flowmeter".to_owned(),
            format!("notifications.smtp_password={}", secret(folder.path(), "password", "s3cret")),
            format!("notifications.ca={}", ca.display()),
        ];
        let chosen: Vec<&str> = chosen.iter().map(String::as_str).collect();
        let server = Server::start(settings(&folder.path().join("data"), &chosen), Hands::new()).await;
        let channel = json!({"type": "email", "to": ["Night Shift <night@example.com>"]});
        let notification = json!({"name": "n", "eventType": "meter.session.status", "channels": [channel]});
        server.made("/api/v1/notifications", &notification).await;
        let (status, _) = server.call("POST", "/api/v1/pipelines", &stream_document("p", 1)).await;
        assert_eq!(status, 201);
        server.made("/api/v1/pipelines/p/run", &json!({})).await;
        let (letters, mail) = tokio::task::spawn_blocking(move || ([mail.next(), mail.next()], mail)).await.unwrap();
        for (letter, status) in letters.iter().zip(["INITIALIZING", "RUNNING"]) {
            assert_eq!(letter["subject"], json!(format!("[flowmeter] p R-00000002: {status}")), "{scheme} {letter}");
            assert_eq!((&letter["to"], &letter["tls"]), (&json!("Night Shift <night@example.com>"), &json!(true)), "{letter}");
            assert_eq!(letter["user"], "flowmeter");
            assert!(letter["id"].as_str().unwrap().starts_with("<msg_"), "{letter}");
            for part in ["text/plain", "text/html"] {
                assert!(letter["parts"][part].as_str().unwrap().contains(status), "{letter}");
            }
        }
        server.stop().await;
        drop(mail);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_over_tls_trust_only_whom_they_should() {
    let folder = tempfile::tempdir().unwrap();
    let ca = certificate(folder.path());
    let tls = flowmeter_server::tls::Tls::load(&ca, &folder.path().join("key.pem")).unwrap();
    let serve = |listener, router| async move {
        let bounds = flowmeter_server::serve::Bounds::new(&flowmeter_node::settings::Limits::default(), Duration::ZERO, None);
        flowmeter_server::serve::tls(
            listener,
            &tls,
            flowmeter_server::serve::Served::new(router, bounds),
            std::future::pending(),
        )
        .await;
    };
    let mut receiver = Receiver::serving(serve).await;
    let url = format!("https://localhost:{}/hook", receiver.address.port());
    let channel = json!({"type": "webhook", "url": url, "secrets": [secret(folder.path(), "secret", SECRET)]});
    let trusted = format!("notifications.ca={}", ca.display());
    let chosen = settings(&folder.path().join("trusting"), &["notifications.allow_private=true", &trusted]);
    let server = Server::start(chosen, Hands::new()).await;
    let [first, second] = two_notifications(&mut receiver, &server, channel.clone()).await;
    assert_eq!(
        (first.step().as_str(), second.step().as_str()),
        ("R-00000002 NEVER_RUN>INITIALIZING", "R-00000002 INITIALIZING>RUNNING")
    );
    server.stop().await;
    let server = Server::start(here(&folder.path().join("wary")), Hands::new()).await;
    let notification = json!({"name": "n", "eventType": "meter.session.status", "channels": [channel]});
    server.made("/api/v1/notifications", &notification).await;
    let (status, _) = server.call("POST", "/api/v1/pipelines", &stream_document("p", 1)).await;
    assert_eq!(status, 201);
    server.made("/api/v1/pipelines/p/run", &json!({})).await;
    let error = loop {
        let (_, channels) = server.call("GET", "/api/v1/notifications/channels", "").await;
        if let Some(error) = channels["items"][0]["lastAnswer"]["error"].as_str() {
            break error.to_owned();
        }
    };
    assert!(error.contains("TLS with localhost"), "{error}");
    assert!(receiver.all().is_empty());
    server.stop().await;
}
