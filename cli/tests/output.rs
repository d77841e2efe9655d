//! What `kt` prints, word for word, in each of its forms: `tests/snapshots/`. Ids and times that differ from run to run
//! stand there as `<ID>` and `<TIME>`. `INSTA_UPDATE=always` writes them anew; read what changed.

#[expect(dead_code, reason = "another test binary uses the rest of it")]
#[cfg(test)]
mod common;

#[cfg(test)]
mod printed {
    use std::{fmt::Write as _, path::Path};

    use super::common::{kt, repository};

    /// Three findings of two kinds, and a warning.
    const BAD: &str = "pack: {name: bad, version: 1.0.0}\npolicies: {chain: [dlp-filtr, audit-logger]}\npolicy:\n  \
                       audit-logger: {retention_dayz: 30}\n  rbac: {roles: {analyst: {}}}\n";
    const SAYS_HELLO: &str = "{\"name\": \"greeting\", \"input\": {\"messages\": [{\"role\": \"user\", \"content\": \
                              \"hello\"}]}, \"expected\": {\"verdict\": \"block\"}}";

    /// A command, its exit code and all that it prints.
    fn said(dir: &Path, arguments: &[&str]) -> String {
        let mut command = kt();
        for name in [
            "KEEPTRUSTS_API_TOKEN",
            "KEEPTRUSTS_API_URL",
            "KEEPTRUSTS_GATEWAY_AUDIT_DIR",
            "KEEPTRUSTS_GATEWAY_KEYS_FILE",
            "KT_CONTEXT",
            "NO_COLOR",
        ] {
            command.env_remove(name);
        }
        // The contexts of whoever runs the tests are none of ours.
        command.env("KT_CONFIG", dir.join("no-contexts.yaml"));
        let output = command.args(arguments).current_dir(dir).env("COLUMNS", "100").output().unwrap();
        let mut said = format!("$ kt {}\nexit {}\n", arguments.join(" "), output.status.code().unwrap());
        for (name, bytes) in [("stdout", output.stdout), ("stderr", output.stderr)] {
            let text = String::from_utf8(bytes).unwrap();
            assert!(!text.contains('\x1b'), "no colours where nobody looks");
            if !text.is_empty() {
                write!(said, "--- {name}\n{}\n", text.trim_end()).unwrap();
            }
        }
        let said = said.replace(repository("").to_str().unwrap(), "<REPOSITORY>/");
        said.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    /// The same command in its three forms.
    fn in_each_form(dir: &Path, arguments: &[&str]) -> String {
        let forms = ["table", "json", "yaml"].map(|form| said(dir, &[arguments, &["-o", form]].concat()));
        forms.join("\n\n")
    }

    /// A folder with a pack that passes its tests, one that does not, and a bad one.
    fn packs() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        assert!(
            kt().args(["init", ".", "--template", "secrets"])
                .current_dir(dir.path())
                .output()
                .unwrap()
                .status
                .success()
        );
        std::fs::write(dir.path().join("bad.yaml"), BAD).unwrap();
        std::fs::create_dir(dir.path().join("failing")).unwrap();
        std::fs::write(dir.path().join("failing/greeting.json"), SAYS_HELLO).unwrap();
        dir
    }

    /// The directory that the format was laid down with: it never changes.
    fn records() -> String {
        repository("audit/tests/fixtures/v1").to_str().unwrap().to_owned()
    }

    const REQUEST: &str = "0192f0c2-1b2c-7d3e-8f40-a1b2c3d4e5f6";

    #[test]
    fn policy_lint() {
        let dir = packs();
        let good = in_each_form(dir.path(), &["policy", "lint", "policy-config.yaml"]);
        let bad = in_each_form(dir.path(), &["policy", "lint", "bad.yaml"]);
        insta::assert_snapshot!([good, bad].join("\n\n"));
    }

    #[test]
    fn policy_test() {
        let dir = packs();
        let good = in_each_form(dir.path(), &["policy", "test"]);
        let bad = in_each_form(dir.path(), &["policy", "test", "--tests", "failing"]);
        insta::assert_snapshot!([good, bad].join("\n\n"));
    }

    #[test]
    fn events_list() {
        let (dir, records) = (packs(), records());
        let all = in_each_form(dir.path(), &["events", "list", "--audit-dir", &records]);
        let none =
            in_each_form(dir.path(), &["events", "list", "--audit-dir", &records, "--verdict", "block"]);
        insta::assert_snapshot!([all, none].join("\n\n"));
    }

    #[test]
    fn events_show() {
        let (dir, records) = (packs(), records());
        let shown = in_each_form(dir.path(), &["events", "show", "--audit-dir", &records, REQUEST]);
        let other = "0192f0c2-1b2c-7d3e-8f40-000000000000";
        let missing = said(dir.path(), &["events", "show", "--audit-dir", &records, other]);
        insta::assert_snapshot!([shown, missing].join("\n\n"));
    }

    #[test]
    fn audit_verify() {
        let (dir, records) = (packs(), records());
        let intact = in_each_form(dir.path(), &["audit", "verify", "--audit-dir", &records]);
        // The same with one byte of one record turned over.
        let copy = dir.path().join("copy");
        std::fs::create_dir(&copy).unwrap();
        for entry in std::fs::read_dir(&records).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
        }
        let segment = copy.join("00000000000000000001.ktseg");
        let mut bytes = std::fs::read(&segment).unwrap();
        bytes[1000] ^= 1;
        std::fs::write(&segment, bytes).unwrap();
        let broken = in_each_form(dir.path(), &["audit", "verify", "--audit-dir", "copy"]);
        insta::assert_snapshot!([intact, broken].join("\n\n"));
    }

    /// A copy of the fixture that may be written to.
    fn copy_of_records(dir: &Path, name: &str) {
        let copy = dir.join(name);
        std::fs::create_dir(&copy).unwrap();
        for entry in std::fs::read_dir(records()).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
        }
    }

    #[test]
    fn spool() {
        let dir = tempfile::tempdir().unwrap();
        copy_of_records(dir.path(), "audit");
        std::fs::write(dir.path().join("token"), kt_tests::fake_control_plane::TOKEN).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let store = kt_tests::fake_ingest::FakeIngest::new();
        let server = runtime.block_on(store.serve(0)).unwrap();
        let url = server.url();
        let ship = ["spool", "ship", "--audit-dir", "audit", "--token-file", "token", "--read-only"];
        let ship = [&ship[..], &["--control-plane", &url]].concat();
        let mut told = vec![in_each_form(dir.path(), &["spool", "inspect", "--audit-dir", "audit"])];
        told.push(in_each_form(dir.path(), &ship));
        told.push(in_each_form(dir.path(), &["spool", "inspect", "--audit-dir", "audit"]));
        told.push(said(dir.path(), &["spool", "verify", "--audit-dir", "audit"]));
        assert_eq!(store.kept().breaks(), Vec::<String>::new());
        // The record that was acknowledged last is gone.
        let shipped = std::fs::read_to_string(dir.path().join("audit/shipped.json")).unwrap();
        let mut shipped: serde_json::Value = serde_json::from_str(&shipped).unwrap();
        shipped["marks"][0]["sequence"] = 99.into();
        std::fs::write(dir.path().join("audit/shipped.json"), shipped.to_string()).unwrap();
        told.push(said(dir.path(), &["spool", "verify", "--audit-dir", "audit"]));
        // Nobody is there, the address is none, and there is no directory.
        drop((server, runtime));
        told.push(said(dir.path(), &ship));
        let wrong = [&ship[..8], &["http://cp.example.com:7443"]].concat();
        told.push(said(dir.path(), &wrong));
        told.push(said(dir.path(), &["spool", "inspect", "--audit-dir", "nowhere"]));
        let port = regex::Regex::new(r"127\.0\.0\.1:\d+").unwrap();
        // The system's own words for a refused connection.
        let refused = regex::Regex::new(r"can't be reached: .*").unwrap();
        let told = told.join("\n\n");
        let told = refused.replace_all(&told, "can't be reached: <REASON>");
        let told = port.replace_all(&told, "127.0.0.1:<PORT>");
        insta::assert_snapshot!(told.replace(&store.key().id().to_string(), "<KEY>"));
    }

    #[test]
    fn gateway_key_list() {
        let dir = packs();
        let path = dir.path().join("keys.json");
        super::common::make_key(&path, "ann@example.com", "analyst");
        super::common::make_key(&path, "sam@example.com", "data-scientist");
        let keys: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let listed = in_each_form(dir.path(), &["gateway-key", "list", "--keys-file", "keys.json"]);
        insta::assert_snapshot!(redacted(&listed, &keys));
    }

    #[test]
    fn doctor() {
        let dir = packs();
        let listen = ["--listen", "127.0.0.1:0"];
        let missing =
            in_each_form(dir.path(), &[&["doctor", "--policy-config", "none.yaml"][..], &listen].concat());
        let bad =
            in_each_form(dir.path(), &[&["doctor", "--policy-config", "bad.yaml"][..], &listen].concat());
        insta::assert_snapshot!([missing, bad].join("\n\n"));
    }

    #[test]
    fn explain_and_version() {
        let dir = packs();
        let explained = in_each_form(dir.path(), &["explain", "KT0106"]);
        let version = in_each_form(dir.path(), &["version"]);
        let text = [explained, version].join("\n\n").replace(env!("CARGO_PKG_VERSION"), "<VERSION>");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn wrong_usage_exits_2_and_says_what_is_wrong() {
        let (dir, records) = (packs(), records());
        let wrong: [&[&str]; 14] = [
            &["nonsense"],
            &["policy", "lintt"],
            &["policy", "lint"],
            &["policy", "lint", "none.yaml"],
            &["policy", "lint", "policy-config.yaml", "-o", "xml"],
            &["policy", "test", "none.yaml"],
            &["gateway", "run"],
            &["gateway", "run", "--listen", "nonsense", "--policy-config", "policy-config.yaml"],
            &["gateway-key", "list"],
            &["gateway-key", "list", "--keys-file", "none.json"],
            &["events", "list"],
            &["events", "show", "--audit-dir", &records, "nonsense"],
            &["audit", "verify", "--audit-dir", "none"],
            &["explain", "KT9999"],
        ];
        let said: Vec<String> = wrong.iter().map(|arguments| said(dir.path(), arguments)).collect();
        for said in &said {
            assert!(said.contains("\nexit 2\n") && !said.contains("--- stdout"), "{said}");
        }
        insta::assert_snapshot!(said.join("\n\n"));
    }

    /// Each id and time of a key, as long as it was: tables keep their columns.
    fn redacted(said: &str, keys: &serde_json::Value) -> String {
        fn values<'v>(value: &'v serde_json::Value, found: &mut Vec<(&'static str, &'v str)>) {
            match value {
                serde_json::Value::Array(items) => items.iter().for_each(|item| values(item, found)),
                serde_json::Value::Object(members) => {
                    for (name, member) in members {
                        match (name.as_str(), member.as_str()) {
                            ("id", Some(text)) => found.push(("<ID>", text)),
                            ("created", Some(text)) => found.push(("<TIME>", text)),
                            _ => values(member, found),
                        }
                    }
                }
                _ => {}
            }
        }
        let mut found = Vec::new();
        values(keys, &mut found);
        assert!(!found.is_empty(), "{keys}");
        found.into_iter().fold(said.to_owned(), |said, (name, text)| {
            let width = text.chars().count();
            said.replace(&format!("{text}\""), &format!("{name}\""))
                .replace(text, &format!("{name:<width$}"))
                .lines()
                .map(str::trim_end)
                .collect::<Vec<_>>()
                .join("\n")
        })
    }
}
