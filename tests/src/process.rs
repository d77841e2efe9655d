//! Real processes in tests: how one says that it is ready, how a test starts, watches and ends it.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Says where a server listens: `listening on ADDR` on stdout and, where asked, the address in a file, which
/// appears whole or not at all.
pub fn announce(addr: SocketAddr, port_file: Option<&Path>) -> io::Result<()> {
    if let Some(path) = port_file {
        let mut half = path.as_os_str().to_owned();
        half.push(".tmp");
        std::fs::write(&half, format!("{addr}\n"))?;
        std::fs::rename(&half, path)?;
    }
    let mut out = io::stdout().lock();
    writeln!(out, "listening on {addr}")?;
    out.flush()
}

/// Returns on SIGTERM or SIGINT.
pub async fn terminated() -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// What went wrong with a process.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The binary is not where cargo puts it.
    #[error("cannot find the binary `{name}`, build it first with `cargo build`: looked at `{}`", path.display())]
    Missing {
        /// Name of the binary.
        name: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The system does not start it.
    #[error("cannot start `{name}`: {source}")]
    Start {
        /// Name of the binary.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// It ended, or was silent for too long, before it said what was awaited.
    #[error("`{name}` did not say `{awaited}`; its output was:\n{output}")]
    NotReady {
        /// Name of the binary.
        name: String,
        /// Text that was waited for.
        awaited: String,
        /// All that it said.
        output: String,
    },
    /// The system does not tell how it ended.
    #[error("cannot wait for `{name}`: {source}")]
    Wait {
        /// Name of the binary.
        name: String,
        /// What the system says.
        source: io::Error,
    },
}

/// Where a binary of this workspace is: `CARGO_BIN_EXE_NAME` where cargo says so, else beside the running test.
pub fn binary(name: &str) -> Result<PathBuf, ProcessError> {
    if let Some(path) = std::env::var_os(format!("CARGO_BIN_EXE_{name}")) {
        return Ok(path.into());
    }
    // A test runs as target/PROFILE/deps/TEST, a binary as target/PROFILE/NAME.
    let own = std::env::current_exe().unwrap_or_default();
    let beside =
        own.parent().map(|dir| if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir });
    let path = beside.unwrap_or(Path::new("target/debug")).join(name);
    if path.is_file() { Ok(path) } else { Err(ProcessError::Missing { name: name.to_owned(), path }) }
}

/// A running process whose output is kept. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: Output,
    /// Readers of stdout and stderr; dropped with the process.
    readers: JoinSet<()>,
}

/// Lines of stdout and stderr, as they came. A mutex, held for an append and never across an await.
#[derive(Debug, Clone)]
struct Output {
    text: Arc<Mutex<String>>,
    lines: watch::Sender<usize>,
}

impl Output {
    fn push(&self, line: &str) {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(line);
        text.push('\n');
        drop(text);
        self.lines.send_modify(|count| *count += 1);
    }

    fn text(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn copy_lines(from: impl AsyncRead + Unpin, to: Output) {
    let mut lines = BufReader::new(from).lines();
    // A line that is no UTF-8 ends the copy; our own processes write none.
    while let Ok(Some(line)) = lines.next_line().await {
        to.push(&line);
    }
}

impl Process {
    /// Starts a binary of this workspace. `envs` are added to the environment of the test.
    pub fn start<A: AsRef<OsStr>>(
        name: &str,
        args: impl IntoIterator<Item = A>,
        envs: &[(&str, &str)],
    ) -> Result<Self, ProcessError> {
        Self::start_at(name, &binary(name)?, args, envs)
    }

    /// Starts any binary.
    pub fn start_at<A: AsRef<OsStr>>(
        name: &str,
        path: &Path,
        args: impl IntoIterator<Item = A>,
        envs: &[(&str, &str)],
    ) -> Result<Self, ProcessError> {
        let mut command = Command::new(path);
        command.args(args).envs(envs.iter().copied()).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(|source| ProcessError::Start { name: name.to_owned(), source })?;
        let output = Output { text: Arc::default(), lines: watch::Sender::new(0) };
        let mut readers = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            readers.spawn(copy_lines(stdout, output.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.spawn(copy_lines(stderr, output.clone()));
        }
        Ok(Self { name: name.to_owned(), child, output, readers })
    }

    /// Waits for a line that contains a text and returns what follows the text on that line.
    pub async fn wait_for(&mut self, awaited: &str, limit: Duration) -> Result<String, ProcessError> {
        let mut changes = self.output.lines.subscribe();
        let search = async {
            loop {
                changes.mark_unchanged();
                let text = self.output.text();
                if let Some((_, rest)) = text.lines().find_map(|line| line.split_once(awaited)) {
                    return Some(rest.trim().to_owned());
                }
                tokio::select! {
                    _ = changes.changed() => {}
                    // Both outputs closed: nothing more will come.
                    Some(_) = self.readers.join_next() => {}
                    else => return None,
                }
                if self.readers.is_empty() && !changes.has_changed().unwrap_or(false) {
                    return None;
                }
            }
        };
        match timeout(limit, search).await {
            Ok(Some(rest)) => Ok(rest),
            _ => Err(ProcessError::NotReady {
                name: self.name.clone(),
                awaited: awaited.to_owned(),
                output: self.output.text(),
            }),
        }
    }

    /// All of stdout and stderr so far.
    pub fn output(&self) -> String {
        self.output.text()
    }

    /// Its process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends SIGTERM and waits for the exit status.
    pub async fn terminate(mut self) -> Result<(std::process::ExitStatus, String), ProcessError> {
        let id =
            self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(id) = id {
            // Gone already: the status says so.
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
        self.wait().await
    }

    /// Sends SIGKILL and waits: what `kill -9` leaves behind.
    pub async fn kill(mut self) -> Result<(std::process::ExitStatus, String), ProcessError> {
        // Gone already: the status says so.
        let _ = self.child.start_kill();
        self.wait().await
    }

    /// Waits for it to end by itself, and returns its status and all that it said.
    pub async fn wait(&mut self) -> Result<(std::process::ExitStatus, String), ProcessError> {
        let status = self.child.wait().await;
        let status = status.map_err(|source| ProcessError::Wait { name: self.name.clone(), source })?;
        while self.readers.join_next().await.is_some() {}
        Ok((status, self.output.text()))
    }
}
