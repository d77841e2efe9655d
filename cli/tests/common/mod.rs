//! A fake Databricks, and the real `kt` in front of it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use kt_tests::{fake_databricks::FakeDatabricks, process::Process};
use serde_json::Value;

/// Nothing here takes longer, or something is wrong.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The `kt` under test.
pub(crate) fn kt() -> Command {
    Command::new(env!("CARGO_BIN_EXE_kt"))
}

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Runs `kt` to its end: exit code, stdout, stderr.
pub(crate) fn run(arguments: &[&str]) -> (i32, String, String) {
    // Help is wrapped to the terminal; here there is none, whatever the shell says.
    let output = kt().args(arguments).env("COLUMNS", "100").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Makes a key in a keys file and returns it.
pub(crate) fn make_key(keys_file: &Path, user: &str, role: &str) -> String {
    let keys_file = keys_file.to_str().unwrap();
    let (code, out, err) = run(&[
        "gateway-key",
        "create",
        "--keys-file",
        keys_file,
        "--user",
        user,
        "--role",
        role,
        "-o",
        "json",
    ]);
    assert_eq!(code, 0, "{err}");
    let made: Value = serde_json::from_str(&out).unwrap();
    made["key"].as_str().unwrap().to_owned()
}

/// A gateway process that serves.
pub(crate) struct Gateway {
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
}

/// Starts `kt gateway run` in front of `fake`, and waits until it serves.
pub(crate) async fn gateway(fake: &FakeDatabricks, pack: &Path, audit_dir: &Path, more: &[&str]) -> Gateway {
    let upstream = format!("*={}", fake.url());
    let mut arguments = vec![
        "gateway",
        "run",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
        "--log-format",
        "json",
        "--upstream",
        &upstream,
        "--policy-config",
        pack.to_str().unwrap(),
        "--audit-dir",
        audit_dir.to_str().unwrap(),
    ];
    arguments.extend(more);
    let token = fake.token().to_owned();
    let environment = [("DATABRICKS_TOKEN", token.as_str())];
    let mut process =
        Process::start_at("kt", Path::new(env!("CARGO_BIN_EXE_kt")), &arguments, &environment).unwrap();
    let rest = process.wait_for("\"Gateway serves.\"", PATIENCE).await.unwrap();
    let addr = rest
        .split_once("\"address\":\"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .unwrap_or_else(|| panic!("no address in {rest}"))
        .0
        .parse()
        .unwrap();
    Gateway { process, addr }
}
