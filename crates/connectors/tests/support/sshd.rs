//! A real OpenSSH server, from the installation of the machine. A `sshd -i` serves each connection;
//! the bytes pass through this file, which can cut a connection at any byte.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::skipped;

const PROGRAM: &str = "/usr/sbin/sshd";
/// The folder that OpenSSH wants if it is started by root.
const SEPARATION_FOLDER: &str = "/run/sshd";

/// A server for the user of the test. Relative paths are those of its folder.
pub struct Sshd {
    folder: tempfile::TempDir,
    pub port: u16,
    pub user: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    is_away: AtomicBool,
    is_over: AtomicBool,
    connections: AtomicU64,
    /// Bytes of clients after which all connections are cut.
    left: Mutex<Option<usize>>,
    /// The connections: their sockets and servers.
    served: Mutex<Vec<(TcpStream, Child)>>,
}

impl State {
    fn cut(&self) {
        for (socket, mut server) in self.served.lock().unwrap().drain(..) {
            drop(socket.shutdown(Shutdown::Both));
            // A server of root has a process more.
            drop(Command::new("kill").args(["-KILL", "--", &format!("-{}", server.id())]).stderr(Stdio::null()).status());
            drop(server.wait());
        }
    }

    /// Counts bytes of a client; returns whether the connection continues.
    fn passes(&self, bytes: usize) -> bool {
        let mut left = self.left.lock().unwrap();
        let Some(some) = *left else { return true };
        *left = some.checked_sub(bytes);
        if left.is_none() {
            self.is_away.store(true, Ordering::Relaxed);
        }
        left.is_some()
    }
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Sshd {
    /// Starts a server; `None`, with a message, if OpenSSH is not installed.
    pub fn start(what: &str) -> Option<Sshd> {
        if !Path::new(PROGRAM).exists() || Command::new("ssh-keygen").arg("--help").output().is_err() {
            skipped(what, "no OpenSSH server on this machine; install the package `openssh-server`");
            return None;
        }
        let user = output(Command::new("id").arg("-un"));
        if user == "root" && std::fs::create_dir_all(SEPARATION_FOLDER).is_err() {
            skipped(what, &format!("{SEPARATION_FOLDER} cannot be created, which OpenSSH needs"));
            return None;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let sshd = Sshd { folder: tempfile::tempdir().unwrap(), port, user, state: Arc::default() };
        std::fs::create_dir(sshd.files()).unwrap();
        sshd.make_key("host", "ed25519", "");
        sshd.make_key("login", "ed25519", "");
        std::fs::copy(sshd.at("login.pub"), sshd.at("authorized")).unwrap();
        let at = |name: &str| sshd.at(name).display().to_string();
        // Without PAM, a server that root did not start takes every account for a locked one.
        let pam = if sshd.user == "root" { "no" } else { "yes" };
        let config = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM {pam}\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPermitRootLogin yes\nSubsystem sftp internal-sftp -d {}\n",
            at("host"),
            at("authorized"),
            at("files")
        );
        std::fs::write(sshd.at("config"), config).unwrap();
        let (state, config) = (Arc::clone(&sshd.state), sshd.at("config"));
        std::thread::spawn(move || serve(&listener, &config, &state));
        Some(sshd)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the folder of the files.
    pub fn files(&self) -> PathBuf {
        self.at("files")
    }

    /// Makes a key pair and returns the path of the private key.
    pub fn make_key(&self, name: &str, kind: &str, passphrase: &str) -> String {
        let path = self.at(name);
        output(Command::new("ssh-keygen").args(["-q", "-t", kind, "-N", passphrase, "-f"]).arg(&path));
        path.display().to_string()
    }

    /// Adds a key to those of the login.
    pub fn authorize(&self, name: &str) {
        let line = std::fs::read(self.at(&format!("{name}.pub"))).unwrap();
        let mut file = std::fs::OpenOptions::new().append(true).open(self.at("authorized")).unwrap();
        file.write_all(&line).unwrap();
    }

    /// Returns the path of the private key of the login.
    pub fn key(&self) -> String {
        self.at("login").display().to_string()
    }

    /// Returns the fingerprint of a key of this folder.
    pub fn fingerprint(&self, name: &str) -> String {
        let line = output(Command::new("ssh-keygen").arg("-lf").arg(self.at(&format!("{name}.pub"))));
        line.split_whitespace().nth(1).unwrap().to_owned()
    }

    /// Returns the line of `known_hosts`.
    pub fn known_host(&self) -> String {
        format!("[127.0.0.1]:{} {}", self.port, std::fs::read_to_string(self.at("host.pub")).unwrap().trim())
    }

    /// Replaces the host key by one of another kind.
    pub fn change_host_key(&self, kind: &str) {
        for name in ["host", "host.pub"] {
            std::fs::remove_file(self.at(name)).unwrap();
        }
        self.make_key("host", kind, "");
    }

    /// Kills the server once it has got so many bytes more.
    pub fn kill_after(&self, bytes: usize) {
        *self.state.left.lock().unwrap() = Some(bytes);
    }

    /// Kills the server and its connections.
    pub fn kill(&self) {
        self.state.is_away.store(true, Ordering::Relaxed);
        self.state.cut();
    }

    /// Starts the server again.
    pub fn go(&self) {
        self.state.cut();
        self.state.is_away.store(false, Ordering::Relaxed);
    }

    /// Returns the number of connections that were made.
    pub fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Relaxed);
        // Wakes the thread that listens.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        self.state.cut();
    }
}

fn serve(listener: &TcpListener, config: &Path, state: &Arc<State>) {
    for socket in listener.incoming() {
        if state.is_over.load(Ordering::Relaxed) {
            return;
        }
        let Ok(socket) = socket else { continue };
        if state.is_away.load(Ordering::Relaxed) {
            continue;
        }
        state.connections.fetch_add(1, Ordering::Relaxed);
        let mut command = Command::new(PROGRAM);
        command.arg("-i").arg("-f").arg(config).process_group(0);
        let mut server = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (mut stdin, mut stdout) = (server.stdin.take().unwrap(), server.stdout.take().unwrap());
        let (mut from, mut to) = (socket.try_clone().unwrap(), socket.try_clone().unwrap());
        state.served.lock().unwrap().push((socket, server));
        let passing = Arc::clone(state);
        std::thread::spawn(move || {
            let mut bytes = vec![0; 8 << 10];
            while let Ok(length @ 1..) = from.read(&mut bytes) {
                if !passing.passes(length) {
                    passing.cut();
                    break;
                }
                if stdin.write_all(&bytes[..length]).is_err() {
                    break;
                }
            }
        });
        std::thread::spawn(move || {
            drop(std::io::copy(&mut stdout, &mut to));
            drop(to.shutdown(Shutdown::Both));
        });
    }
}
