//! Real etcd clusters on loopback, for tests: started on free ports, killed when dropped.
//!
//! Needs `etcd` and `etcdctl` on the path (Debian: `etcd-server`, `etcd-client`).

use std::{
    collections::VecDeque,
    fs,
    io::{self, BufRead as _, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{sync::watch, time::timeout};

/// How long a member may take to serve.
const START: Duration = Duration::from_secs(30);
/// A port may be taken between its choice and its use; then others are chosen.
const TRIES: usize = 3;
/// What etcd says when it has a leader and serves.
const READY: &str = "serving client traffic";
/// Lines of output kept to explain a failed start.
const TAIL: usize = 15;

/// A cluster of real etcd processes.
#[derive(Debug)]
pub struct EtcdCluster {
    folder: TempDir,
    /// Of the clients' side: `http` or `https`.
    scheme: &'static str,
    extra: Vec<String>,
    members: Vec<Member>,
    restores: u32,
}

#[derive(Debug)]
struct Member {
    name: String,
    client: String,
    peer: String,
    data: PathBuf,
    process: Option<Process>,
}

#[derive(Debug)]
struct Process {
    child: Child,
    state: watch::Receiver<Stage>,
    tail: Arc<Mutex<VecDeque<String>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Starting,
    Ready,
    Ended,
}

// === impl EtcdCluster ===

impl EtcdCluster {
    /// Starts a cluster of that many members and waits until all serve.
    ///
    /// # Errors
    /// When `etcd` is not there or does not come up; with the last lines it wrote.
    pub async fn start(members: usize) -> io::Result<Self> {
        Self::start_as(members, "http", &[]).await
    }

    /// As [`EtcdCluster::start`], with further flags for each member.
    ///
    /// # Errors
    /// As [`EtcdCluster::start`].
    pub async fn start_with(members: usize, extra: &[&str]) -> io::Result<Self> {
        Self::start_as(members, "http", extra).await
    }

    /// As [`EtcdCluster::start_with`], for clients with TLS; the flags name the certificates.
    ///
    /// # Errors
    /// As [`EtcdCluster::start`].
    pub async fn start_with_tls(members: usize, extra: &[&str]) -> io::Result<Self> {
        Self::start_as(members, "https", extra).await
    }

    async fn start_as(members: usize, scheme: &'static str, extra: &[&str]) -> io::Result<Self> {
        let mut failed = io::Error::other("no member");
        for _ in 0..TRIES {
            let folder = TempDir::new()?;
            let ports = free_ports(members * 2)?;
            let members = ports.chunks_exact(2).enumerate().map(|(number, ports)| {
                let [client, peer] = [0, 1].map(|at| format!("127.0.0.1:{}", ports.get(at).unwrap_or(&0)));
                let name = format!("m{number}");
                Member { data: folder.path().join(&name), name, client, peer, process: None }
            });
            let members = members.collect();
            let extra = extra.iter().map(|&flag| flag.to_owned()).collect();
            let mut cluster = Self { folder, scheme, extra, members, restores: 0 };
            match cluster.start_all().await {
                Ok(()) => return Ok(cluster),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// The address for [`super::etcd::EtcdSettings::parse`].
    pub fn url(&self) -> String {
        let members: Vec<_> = self.members.iter().map(|member| member.client.as_str()).collect();
        let scheme = if self.scheme == "https" { "etcds" } else { "etcd" };
        format!("{scheme}://{}", members.join(","))
    }

    /// `host:port` of a member.
    pub fn address(&self, number: usize) -> &str {
        self.members.get(number).map_or("", |member| &member.client)
    }

    /// The folder of the cluster; gone when it is dropped.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// SIGKILL, as a crash.
    ///
    /// # Errors
    /// When the member does not run.
    pub fn kill(&mut self, number: usize) -> io::Result<()> {
        let member = self.member(number)?;
        let mut process = member.process.take().ok_or_else(not_running)?;
        process.child.kill()?;
        process.child.wait().map(drop)
    }

    /// SIGSTOP: its connections stay open and silent.
    ///
    /// # Errors
    /// When the member does not run.
    pub fn freeze(&mut self, number: usize) -> io::Result<()> {
        self.signal(number, Signal::STOP)
    }

    /// Ends [`EtcdCluster::freeze`].
    ///
    /// # Errors
    /// When the member does not run.
    pub fn thaw(&mut self, number: usize) -> io::Result<()> {
        self.signal(number, Signal::CONT)
    }

    /// Starts a killed member again, with its data and address, and waits until it serves.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&mut self, number: usize) -> io::Result<()> {
        self.spawn(number)?;
        self.ready(number).await
    }

    /// The number of the member that leads.
    ///
    /// # Errors
    /// When no member answers or none leads.
    pub fn leader(&self) -> io::Result<usize> {
        for (number, member) in self.members.iter().enumerate() {
            if member.process.is_none() {
                continue;
            }
            let status = self.etcdctl(&[
                &format!("--endpoints={}", member.client),
                "--command-timeout=5s",
                "endpoint",
                "status",
                "--write-out=fields",
            ]);
            let Ok(status) = status else { continue };
            let field = |name: &str| {
                status.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
            };
            if field("\"MemberID\" :").is_some() && field("\"MemberID\" :") == field("\"Leader\" :") {
                return Ok(number);
            }
        }
        Err(io::Error::other("no member leads"))
    }

    /// Runs `etcdctl` (API 3) and gives what it wrote.
    ///
    /// # Errors
    /// When it fails; with what it wrote.
    pub fn etcdctl(&self, arguments: &[&str]) -> io::Result<String> {
        let output = Command::new("etcdctl").env("ETCDCTL_API", "3").args(arguments).output()?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
        }
    }

    /// Saves a backup to `file` in the cluster's folder.
    ///
    /// # Errors
    /// When `etcdctl` fails.
    pub fn save(&self, file: &str) -> io::Result<()> {
        let path = self.folder.path().join(file);
        let endpoint = format!("--endpoints={}", self.address(0));
        self.etcdctl(&[&endpoint, "snapshot", "save", &path.to_string_lossy()]).map(drop)
    }

    /// Kills all members and starts them from a backup. With `new_cluster` they become another cluster, otherwise
    /// only the revision tells.
    ///
    /// # Errors
    /// When `etcdctl` fails or the members do not come up.
    pub async fn restore(&mut self, file: &str, new_cluster: bool) -> io::Result<()> {
        for number in 0..self.members.len() {
            self.kill(number)?;
        }
        if new_cluster {
            self.restores += 1;
        }
        let path = self.folder.path().join(file);
        for member in &self.members {
            fs::remove_dir_all(&member.data)?;
            let data = member.data.to_string_lossy();
            self.etcdctl(&[
                "snapshot",
                "restore",
                &path.to_string_lossy(),
                "--data-dir",
                &data,
                "--name",
                &member.name,
                "--initial-cluster",
                &self.peers(),
                "--initial-cluster-token",
                &self.token(),
                "--initial-advertise-peer-urls",
                &format!("http://{}", member.peer),
            ])?;
        }
        self.start_all().await
    }

    async fn start_all(&mut self) -> io::Result<()> {
        for number in 0..self.members.len() {
            self.spawn(number)?;
        }
        for number in 0..self.members.len() {
            self.ready(number).await?;
        }
        Ok(())
    }

    fn token(&self) -> String {
        format!("kt-test-{}", self.restores)
    }

    fn peers(&self) -> String {
        let peers: Vec<_> =
            self.members.iter().map(|member| format!("{}=http://{}", member.name, member.peer)).collect();
        peers.join(",")
    }

    fn member(&mut self, number: usize) -> io::Result<&mut Member> {
        self.members.get_mut(number).ok_or_else(|| io::Error::other("there is no such member"))
    }

    fn signal(&mut self, number: usize, signal: Signal) -> io::Result<()> {
        let process = self.member(number)?.process.as_ref().ok_or_else(not_running)?;
        let pid = i32::try_from(process.child.id()).ok().and_then(Pid::from_raw).ok_or_else(not_running)?;
        Ok(kill_process(pid, signal)?)
    }

    fn spawn(&mut self, number: usize) -> io::Result<()> {
        let (peers, token, extra, scheme) = (self.peers(), self.token(), self.extra.clone(), self.scheme);
        let member = self.member(number)?;
        let (client, peer) = (format!("{scheme}://{}", member.client), format!("http://{}", member.peer));
        let mut child = Command::new("etcd")
            .args(["--name", &member.name, "--logger", "zap", "--log-outputs", "stderr"])
            .arg("--data-dir")
            .arg(&member.data)
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &peers, "--initial-cluster-token", &token])
            .args(extra)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take().ok_or_else(|| io::Error::other("no pipe"))?;
        let (sender, state) = watch::channel(Stage::Starting);
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        let lines = Arc::clone(&tail);
        // Reads to the end, so that etcd never waits for its log to be read.
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if line.contains(READY) {
                    sender.send_replace(Stage::Ready);
                }
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                lines.push_back(line);
                if lines.len() > TAIL {
                    lines.pop_front();
                }
            }
            sender.send_replace(Stage::Ended);
        });
        member.process = Some(Process { child, state, tail });
        Ok(())
    }

    async fn ready(&mut self, number: usize) -> io::Result<()> {
        let process = self.member(number)?.process.as_mut().ok_or_else(not_running)?;
        let reached = timeout(START, process.state.wait_for(|stage| *stage != Stage::Starting)).await;
        if matches!(&reached, Ok(Ok(stage)) if **stage == Stage::Ready) {
            return Ok(());
        }
        drop(reached);
        let tail = process.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let tail: Vec<_> = tail.iter().map(String::as_str).collect();
        Err(io::Error::other(format!("etcd does not come up: {}", tail.join("\n"))))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL reaches a stopped process too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn not_running() -> io::Error {
    io::Error::other("the member does not run")
}

/// Ports that are free now; all are held until all are chosen, so that they differ.
fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    let listeners: Vec<_> =
        (0..count).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect::<io::Result<_>>()?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}
