//! The CLI's reference page is what `--help` says; `KT_UPDATE_DOCS=1 cargo test -p kt --test reference` renews it.

#[expect(dead_code, reason = "another test binary uses the rest of it")]
#[cfg(test)]
mod common;

use std::fmt::Write as _;

use common::{repository, run};

const COMMANDS: &[&str] = &[
    "",
    "control-plane run",
    "gateway run",
    "gateway list",
    "gateway token create",
    "gateway token list",
    "gateway token revoke",
    "gateway-key create",
    "gateway-key list",
    "gateway-key revoke",
    "gateway-key rotate",
    "policy lint",
    "policy test",
    "policy scan",
    "policy schema",
    "pack publish",
    "pack rollback",
    "pack versions",
    "pack show",
    "pack diff",
    "pack download",
    "pack sign",
    "fleet list",
    "fleet create",
    "fleet status",
    "fleet history",
    "fleet recover",
    "key generate",
    "key show",
    "auth login",
    "auth logout",
    "auth whoami",
    "auth contexts",
    "auth use",
    "auth token create",
    "auth token list",
    "auth token revoke",
    "changes list",
    "init",
    "doctor",
    "events list",
    "events tail",
    "events show",
    "events stats",
    "events export",
    "audit verify",
    "audit erase",
    "audit hold create",
    "audit hold list",
    "audit hold release",
    "spool inspect",
    "spool verify",
    "spool ship",
    "explain",
    "completions",
    "version",
];

#[test]
fn the_reference_page_is_what_help_says() {
    let mut page = String::from(
        "# Commands\n\nMade from `--help`. Data goes to stdout, the rest to stderr. Exit codes: 0 done, 1 something was found or\nfailed, 2 called wrongly.\n",
    );
    for command in COMMANDS {
        let mut arguments: Vec<&str> = command.split_whitespace().collect();
        arguments.push("--help");
        let (code, help, err) = run(&arguments);
        assert_eq!(code, 0, "{err}");
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        let title = if command.is_empty() { "kt".to_owned() } else { format!("kt {command}") };
        write!(page, "\n## {title}\n\n```text\n{}\n```\n", lines.join("\n").trim_end()).unwrap();
    }
    let path = repository("docs/reference/cli.md");
    if std::env::var_os("KT_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "`{}` is not what `--help` says: run with KT_UPDATE_DOCS=1", path.display());
}
