//! A real PostgreSQL server on loopback, for tests: started on a free port, killed when dropped.
//!
//! Needs the server's programs (Debian: `postgresql`). They refuse to run as root; then they run as `postgres`, or
//! `nobody` where there is no such user.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_postgres::{Config, NoTls, SimpleQueryMessage};

/// How long the server may take to serve, after a crash too.
const START: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(20);
/// Where Debian has the programs of each version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// A server with a folder of its own.
#[derive(Debug)]
pub struct PostgresServer {
    folder: TempDir,
    programs: PathBuf,
    user: Option<&'static str>,
    port: u16,
    flags: Vec<String>,
    process: Option<Child>,
}

// === impl PostgresServer ===

impl PostgresServer {
    /// Makes a server, starts it and waits until it serves. Whoever connects from this machine is let in.
    ///
    /// # Errors
    /// When the programs are not there or the server does not come up; with the last lines it wrote.
    pub async fn start() -> io::Result<Self> {
        Self::start_with(&[], &[]).await
    }

    /// As [`PostgresServer::start`], with settings (`name=value`) and files in the folder of the data, by name.
    ///
    /// # Errors
    /// As [`PostgresServer::start`].
    pub async fn start_with(settings: &[&str], files: &[(&str, &str)]) -> io::Result<Self> {
        let folder = TempDir::new()?;
        let user = rustix::process::geteuid().is_root().then(user).transpose()?;
        let flags = settings.iter().flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()]).collect();
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut server = Self { folder, programs: programs()?, user, port, flags, process: None };
        server.give()?;
        let data = server.data();
        let made = server
            .program("initdb")
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"])
            .arg("--pgdata")
            .arg(&data)
            .output()?;
        if !made.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&made.stderr).into_owned()));
        }
        for (name, text) in files {
            let mut options = fs::File::options();
            options.create(true).truncate(true).write(true);
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            options.open(data.join(name))?.write_all(text.as_bytes())?;
        }
        server.give()?;
        server.restart().await?;
        Ok(server)
    }

    /// The port on loopback.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The folder of the data.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Makes a database of a user of that name, and gives its address.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn database(&self, name: &str) -> io::Result<String> {
        self.ask("postgres", &format!("CREATE ROLE {name} LOGIN")).await?;
        self.ask("postgres", &format!("CREATE DATABASE {name} OWNER {name}")).await?;
        Ok(format!("postgres://{name}@127.0.0.1:{}/{name}", self.port))
    }

    /// Runs statements in a database with every right, and gives the first column of what they tell.
    ///
    /// # Errors
    /// When the server refuses or is not there.
    pub async fn ask(&self, database: &str, sql: &str) -> io::Result<Vec<String>> {
        let mut config = Config::new();
        config.host_path(self.folder.path()).port(self.port).user("postgres").dbname(database);
        let (client, connection) = config.connect(NoTls).await.map_err(io::Error::other)?;
        let mut driving = JoinSet::new();
        driving.spawn(connection);
        let told = client.simple_query(sql).await.map_err(io::Error::other)?;
        let rows = told.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(ToOwned::to_owned),
            _ => None,
        });
        Ok(rows.collect())
    }

    /// SIGKILL of the server and of every process of it, as a crash of the machine's memory would be.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> io::Result<()> {
        let all = self.processes()?;
        let mut process = self.process.take().ok_or_else(not_running)?;
        process.kill()?;
        for pid in all {
            // Some have gone with the first.
            let _ = kill_process(pid, Signal::KILL);
        }
        process.wait().map(drop)
    }

    /// SIGSTOP: its connections stay open and silent.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Ends [`PostgresServer::freeze`].
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Starts it, again after [`PostgresServer::kill`], and waits until it serves.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + START;
        loop {
            let log = fs::File::options().create(true).append(true).open(self.log())?;
            let child = self
                .program("postgres")
                .arg("-D")
                .arg(self.data())
                .arg("-k")
                .arg(self.folder.path())
                .args(["-p", &self.port.to_string(), "-h", "127.0.0.1"])
                .args(["-c", "shared_buffers=64MB", "-c", "max_connections=60"])
                .args(&self.flags)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()?;
            self.process = Some(child);
            while self.is_running()? {
                match self.ask("postgres", "SELECT 1").await {
                    Ok(_) => return Ok(()),
                    Err(_) if Instant::now() < deadline => sleep(PAUSE).await,
                    Err(error) => return Err(error),
                }
            }
            // Processes that outlived a kill still hold the memory.
            if Instant::now() > deadline {
                let log = fs::read_to_string(self.log())?;
                return Err(io::Error::other(format!("postgres does not come up: {log}")));
            }
            sleep(PAUSE).await;
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn is_running(&mut self) -> io::Result<bool> {
        let process = self.process.as_mut().ok_or_else(not_running)?;
        Ok(process.try_wait()?.is_none())
    }

    /// The server and the processes that it has started.
    fn processes(&self) -> io::Result<Vec<Pid>> {
        let pid = self.process.as_ref().ok_or_else(not_running)?.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let numbers = children.split_whitespace().filter_map(|number| number.parse().ok());
        Ok(i32::try_from(pid).into_iter().chain(numbers).filter_map(Pid::from_raw).collect())
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        for pid in self.processes()? {
            match kill_process(pid, signal) {
                // It has ended meanwhile.
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// A program of the server, as a user that it runs as.
    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = match self.user {
            None => Command::new(program),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", user, "--clear-groups", "--"]).arg(program);
                command
            }
        };
        // What the environment says about servers is meant for others.
        for variable in ["PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSWORD", "PGPASSFILE", "PGDATA"] {
            command.env_remove(variable);
        }
        command.current_dir("/");
        command
    }

    /// Gives the folder to that user.
    fn give(&self) -> io::Result<()> {
        let Some(user) = self.user else { return Ok(()) };
        let status = Command::new("chown").arg("-R").arg(user).arg(self.folder.path()).status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other("chown has failed")) }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if self.process.is_some() {
            // SIGKILL reaches stopped processes too.
            let _ = self.kill();
        }
    }
}

fn not_running() -> io::Error {
    io::Error::other("the server does not run")
}

fn user() -> io::Result<&'static str> {
    let users = fs::read_to_string("/etc/passwd")?;
    let is_there = |user: &&str| users.lines().any(|line| line.split(':').next() == Some(*user));
    ["postgres", "nobody"]
        .into_iter()
        .find(is_there)
        .ok_or_else(|| io::Error::other("no user to run postgres as"))
}

/// The folder of the newest version's programs.
fn programs() -> io::Result<PathBuf> {
    let is_there = |folder: &Path| folder.join("postgres").is_file() && folder.join("initdb").is_file();
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for entry in fs::read_dir(DEBIAN).into_iter().flatten() {
        let folder = entry?.path();
        let version = folder.file_name().and_then(OsStr::to_str).and_then(|name| name.parse().ok());
        if let (Some(version), true) = (version, is_there(&folder.join("bin"))) {
            found.push((version, folder.join("bin")));
        }
    }
    if let Some((_, folder)) = found.into_iter().max() {
        return Ok(folder);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).find(|folder| is_there(folder)).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, "postgres is not installed: scripts/setup.sh test")
    })
}
