//! `kt` as somebody who works with the double.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    common,
    double::{Double, TOKEN},
};

/// What a command left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A person with a home and a control plane.
pub(crate) struct Person {
    pub(crate) home: tempfile::TempDir,
    pub(crate) server: String,
    variables: Vec<(&'static str, String)>,
}

impl Person {
    /// Somebody whose shell names server and token.
    pub(crate) fn with_token(double: &Double) -> Self {
        Self::holding(format!("http://{}", double.addr), TOKEN)
    }

    /// Somebody whose shell names a server and this token.
    pub(crate) fn holding(server: String, token: &str) -> Self {
        let mut person = Self::of(server.clone());
        person.variables =
            vec![("KEEPTRUSTS_API_URL", server), ("KEEPTRUSTS_API_TOKEN", token.trim().to_owned())];
        person
    }

    /// Somebody who has nothing yet.
    pub(crate) fn stranger(double: &Double) -> Self {
        Self::of(format!("http://{}", double.addr))
    }

    /// Somebody who knows where a control plane is, and no more.
    pub(crate) fn of(server: String) -> Self {
        Self { home: tempfile::tempdir().unwrap(), server, variables: Vec::new() }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.file(name), text).unwrap();
        name.to_owned()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = common::kt();
        command
            .args(arguments)
            .current_dir(self.home.path())
            .env_clear()
            .env("HOME", self.home.path())
            .env("COLUMNS", "100")
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs `kt` to its end.
    pub(crate) fn kt(&self, arguments: &[&str]) -> Ended {
        ended(self.command(arguments), "")
    }

    /// The same with something on stdin.
    pub(crate) fn kt_with(&self, arguments: &[&str], stdin: &str) -> Ended {
        ended(self.command(arguments), stdin)
    }

    /// Runs `kt` and expects that it does what is asked.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let ended = self.kt(arguments);
        assert_eq!(ended.code, 0, "{arguments:?}: {}{}", ended.out, ended.err);
        ended.out
    }
}

/// Runs a command to its end; no output may show the token.
pub(crate) fn ended(mut command: Command, stdin: &str) -> Ended {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may end without having read.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let ended =
        Ended { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) };
    assert!(!format!("{ended:?}").contains(TOKEN), "the token is shown: {ended:?}");
    ended
}

impl Ended {
    /// Everything, with what differs from run to run made the same.
    pub(crate) fn shown(&self) -> String {
        let text = format!("exit {}\n--- stdout\n{}--- stderr\n{}", self.code, self.out, self.err);
        redact(&text)
    }
}

pub(crate) fn redact(text: &str) -> String {
    let rules = [
        (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
        (r"kt_gk_[0-9a-f]{64}", "KEY"),
        (r"gk_[0-9a-f]{12}", "KEY-ID"),
        (r"\b[0-9a-f]{64}\b", "DIGITS-64"),
        (r"\b[0-9a-f]{32}\b", "DIGITS-32"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
        (r"\d+[smhd] ago", "AGO"),
        (r"127\.0\.0\.1:\d+", "ADDRESS"),
        (r"[ ]+(\r?\n)", "$1"),
    ];
    rules.iter().fold(text.to_owned(), |text, (rule, with)| {
        regex::Regex::new(rule).unwrap().replace_all(&text, *with).into_owned()
    })
}

#[cfg(unix)]
pub(crate) fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A pack of that version which blocks, and redacts where asked.
pub(crate) fn pack(version: &str, more: &str) -> String {
    format!(
        "pack:
  name: demo
  version: {version}
policies:
  chain: [dlp-filter, audit-logger]
policy:
  dlp-filter:
    patterns:
      - name: databricks-pat
        regex: dapi[a-f0-9]{{32}}
        action: block
{more}providers:
  targets:
    - id: llama
      provider: databricks:chat:databricks-meta-llama-3-3-70b-instruct
      base_url: https://adb-1234567890123456.7.azuredatabricks.net/serving-endpoints
      secret_key_ref:
        env: DATABRICKS_TOKEN
"
    )
}

/// A rule more.
pub(crate) const RULE: &str = "      - name: ticket
        regex: TICKET-[0-9]{6}
        action: redact
";
