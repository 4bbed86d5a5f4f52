//! An SFTP server in memory, without extensions, that can be made to lie.

use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard};

use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::{HashAlg, PrivateKey};
use russh::server::{self, Auth, Msg, Response, Session};
use russh::{Channel, ChannelId};
use russh_sftp::protocol::{Attrs, Data, File, FileAttributes, Handle, Name, OpenFlags, Status, StatusCode, Version};
use russh_sftp::server::StatusReply;
use tokio::runtime::Builder;

pub(super) const PASSWORD: &str = "secret";
/// The mode of a folder.
const FOLDER_MODE: u32 = 0o40_755;
/// The mode of a file.
const FILE_MODE: u32 = 0o100_644;

/// The way in which the server does not keep to the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    RenamesAndReportsAFailure,
    ReportsAFailureOfWrites,
    LosesTheEndOfWrites,
    CutsTheConnectionAtTheRename,
    NeverAnswersTheRename,
    /// Files of the folder are not found by their names.
    ForgetsThatTheNameIsTaken,
    SendsMoreThanWasAskedFor,
    SendsWithoutEnd,
    SendsAFewBytesAtATime,
    DeniesEverything,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    folders: Vec<String>,
    lie: Option<Lie>,
    hangs: Vec<Sender<()>>,
}

/// A server on a port of its own.
pub(super) struct Peer {
    pub(super) port: u16,
    /// The fingerprint of its key.
    pub(super) host_key: String,
    state: Arc<Mutex<State>>,
}

impl Peer {
    /// Starts a server. It takes a password, or asks for it.
    pub(super) fn start(asks: bool) -> Peer {
        let key = PrivateKey::new(KeypairData::from(Ed25519Keypair::from_seed(&[7; 32])), "").unwrap();
        let host_key = key.public_key().fingerprint(HashAlg::Sha256).to_string();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::<Mutex<State>>::default();
        let config = server::Config { keys: vec![key], auth_rejection_time: std::time::Duration::ZERO, ..Default::default() };
        let (config, serving) = (Arc::new(config), Arc::clone(&state));
        std::thread::spawn(move || {
            Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                listener.set_nonblocking(true).unwrap();
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((socket, _)) = listener.accept().await {
                    let client = Client { asks, state: Arc::clone(&serving), channels: HashMap::new() };
                    let config = Arc::clone(&config);
                    tokio::spawn(async move {
                        let session = server::run_stream(config, socket, client).await.unwrap();
                        drop(session.await);
                    });
                }
            });
        });
        Peer { port, host_key, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn lie(&self, lie: Lie) {
        self.state().lie = Some(lie);
    }

    pub(super) fn tell_the_truth(&self) {
        self.state().lie = None;
    }

    /// Returns a channel that gets a message when a request hangs.
    pub(super) fn hangs(&self) -> Receiver<()> {
        let (sender, receiver) = mpsc::channel();
        self.state().hangs.push(sender);
        receiver
    }

    pub(super) fn remove(&self, path: &str) {
        self.state().files.remove(path).unwrap();
    }

    pub(super) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.state().files.clone()
    }
}

/// A connection of a client.
struct Client {
    asks: bool,
    state: Arc<Mutex<State>>,
    channels: HashMap<ChannelId, Channel<Msg>>,
}

impl server::Handler for Client {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, russh::Error> {
        let is_right = !self.asks && user == "me" && password == PASSWORD;
        Ok(if is_right { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        let Some(mut response) = response else {
            let prompts = vec![("Password: ".into(), false)];
            return Ok(Auth::Partial { name: "".into(), instructions: "".into(), prompts: prompts.into() });
        };
        let is_right = self.asks && response.next().is_some_and(|answer| &*answer == PASSWORD.as_bytes());
        Ok(if is_right { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: server::ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(&mut self, id: ChannelId, _: &str, session: &mut Session) -> Result<(), russh::Error> {
        let channel = self.channels.remove(&id).unwrap();
        session.channel_success(id)?;
        let files = Files { state: Arc::clone(&self.state), listed: false, closing: session.handle() };
        russh_sftp::server::run(channel.into_stream(), files).await;
        Ok(())
    }
}

/// The files of a connection. A handle is the path of its file.
struct Files {
    state: Arc<Mutex<State>>,
    listed: bool,
    closing: server::Handle,
}

fn done(id: u32) -> Status {
    Status { id, status_code: StatusCode::Ok, error_message: String::new(), language_tag: String::new() }
}

fn plain(path: &str) -> String {
    path.trim_end_matches('/').to_owned()
}

impl Files {
    fn state(&self) -> Result<MutexGuard<'_, State>, StatusReply> {
        let state = self.state.lock().unwrap();
        match state.lie {
            Some(Lie::DeniesEverything) => Err(StatusCode::PermissionDenied.with_message("no entry\u{7}")),
            _ => Ok(state),
        }
    }

    fn look(&self, id: u32, path: &str) -> Result<Attrs, StatusReply> {
        let (state, path) = (self.state()?, plain(path));
        let mut attrs = FileAttributes::empty();
        if path == "." || state.folders.contains(&path) {
            attrs.permissions = Some(FOLDER_MODE);
        } else {
            let is_hidden = state.lie == Some(Lie::ForgetsThatTheNameIsTaken);
            let found = state.files.get(&path).filter(|_| !is_hidden).ok_or(StatusCode::NoSuchFile)?;
            (attrs.permissions, attrs.size) = (Some(FILE_MODE), Some(found.len() as u64));
        }
        Ok(Attrs { id, attrs })
    }
}

impl russh_sftp::server::Handler for Files {
    type Error = StatusReply;

    fn unimplemented(&self) -> StatusReply {
        StatusCode::OpUnsupported.into()
    }

    async fn init(&mut self, _: u32, _: HashMap<String, String>) -> Result<Version, StatusReply> {
        Ok(Version::new())
    }

    async fn realpath(&mut self, id: u32, path: String) -> Result<Name, StatusReply> {
        Ok(Name { id, files: vec![File::dummy(path)] })
    }

    async fn lstat(&mut self, id: u32, path: String) -> Result<Attrs, StatusReply> {
        self.look(id, &path)
    }

    async fn stat(&mut self, id: u32, path: String) -> Result<Attrs, StatusReply> {
        self.look(id, &path)
    }

    async fn mkdir(&mut self, id: u32, path: String, _: FileAttributes) -> Result<Status, StatusReply> {
        self.state()?.folders.push(plain(&path));
        Ok(done(id))
    }

    async fn open(&mut self, id: u32, path: String, flags: OpenFlags, _: FileAttributes) -> Result<Handle, StatusReply> {
        let mut state = self.state()?;
        let is_there = state.files.contains_key(&path);
        if flags.contains(OpenFlags::CREATE) {
            let folder = path.rfind('/').map_or(".", |slash| &path[..slash]);
            if folder != "." && !state.folders.iter().any(|known| known == folder) {
                return Err(StatusCode::NoSuchFile.into());
            }
            if is_there && flags.contains(OpenFlags::EXCLUDE) {
                return Err(StatusCode::Failure.into());
            }
            state.files.insert(path.clone(), Vec::new());
        } else if !is_there {
            return Err(StatusCode::NoSuchFile.into());
        }
        Ok(Handle { id, handle: path })
    }

    async fn close(&mut self, id: u32, _: String) -> Result<Status, StatusReply> {
        Ok(done(id))
    }

    async fn write(&mut self, id: u32, handle: String, offset: u64, data: Vec<u8>) -> Result<Status, StatusReply> {
        let mut state = self.state()?;
        let kept = match state.lie {
            Some(Lie::LosesTheEndOfWrites) => data.len() / 2,
            _ => data.len(),
        };
        let fails = state.lie == Some(Lie::ReportsAFailureOfWrites);
        let bytes = state.files.get_mut(&handle).ok_or(StatusCode::Failure)?;
        bytes.resize(bytes.len().max(offset as usize + kept), 0);
        bytes[offset as usize..offset as usize + kept].copy_from_slice(&data[..kept]);
        if fails { Err(StatusCode::Failure.into()) } else { Ok(done(id)) }
    }

    async fn read(&mut self, id: u32, handle: String, offset: u64, length: u32) -> Result<Data, StatusReply> {
        let state = self.state()?;
        let bytes = &state.files[&handle];
        let left = &bytes[(offset as usize).min(bytes.len())..];
        let data = match state.lie {
            Some(Lie::SendsMoreThanWasAskedFor) => vec![b'x'; length as usize + 1],
            Some(Lie::SendsWithoutEnd) => vec![b'x'; length as usize],
            Some(Lie::SendsAFewBytesAtATime) => left[..left.len().min(1_000).min(length as usize)].to_vec(),
            _ => left[..left.len().min(length as usize)].to_vec(),
        };
        if data.is_empty() { Err(StatusCode::Eof.into()) } else { Ok(Data { id, data }) }
    }

    async fn remove(&mut self, id: u32, path: String) -> Result<Status, StatusReply> {
        self.state()?.files.remove(&path).map(|_| done(id)).ok_or(StatusCode::NoSuchFile.into())
    }

    async fn rename(&mut self, id: u32, from: String, to: String) -> Result<Status, StatusReply> {
        let lie = {
            let mut state = self.state()?;
            if state.files.contains_key(&to) {
                return Err(StatusCode::Failure.into());
            }
            let bytes = state.files.remove(&from).ok_or(StatusCode::NoSuchFile)?;
            state.files.insert(to, bytes);
            state.lie
        };
        match lie {
            Some(Lie::RenamesAndReportsAFailure) => Err(StatusCode::Failure.into()),
            Some(Lie::NeverAnswersTheRename) => {
                self.state()?.hangs.drain(..).for_each(|sender| sender.send(()).unwrap());
                std::future::pending().await
            }
            Some(Lie::CutsTheConnectionAtTheRename) => {
                drop(self.closing.disconnect(russh::Disconnect::ByApplication, String::new(), String::new()).await);
                std::future::pending().await
            }
            _ => Ok(done(id)),
        }
    }

    async fn opendir(&mut self, id: u32, path: String) -> Result<Handle, StatusReply> {
        self.look(id, &path)?;
        self.listed = false;
        Ok(Handle { id, handle: plain(&path) })
    }

    async fn readdir(&mut self, id: u32, handle: String) -> Result<Name, StatusReply> {
        if std::mem::replace(&mut self.listed, true) {
            return Err(StatusCode::Eof.into());
        }
        let state = self.state()?;
        let names = state.files.keys().filter_map(|path| path.strip_prefix(&handle)?.strip_prefix('/'));
        Ok(Name { id, files: names.map(File::dummy).collect() })
    }
}
