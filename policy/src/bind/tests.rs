use super::*;

const PACK: &str = "
pack: {name: p, version: 1.0.0}
policies: {chain: []}
providers:
  targets:
    - id: one
      provider: databricks:chat:databricks-meta-llama-3-3-70b-instruct
      base_url: https://{workspace}.azuredatabricks.net/serving-endpoints/
      secret_key_ref: {env: DATABRICKS_TOKEN}
    - id: two
      provider: databricks:chat:databricks-gpt-oss-20b
      base_url: https://${KT_PACK_HOST}/serving-endpoints
      secret_key_ref: {file: databricks/token}
";

fn compiled(source: &str) -> CompiledPack {
    let (parsed, findings) = crate::pack::parse(source.as_bytes());
    assert!(parsed.is_some(), "{findings:?}");
    crate::compile::compile(&parsed.unwrap()).0.unwrap()
}

fn settings() -> BindSettings {
    BindSettings { workspace: Some("adb-1.2".to_owned()), has_secrets_dir: true, ..BindSettings::default() }
}

fn host(name: &str) -> Option<String> {
    (name == "KT_PACK_HOST").then(|| "dbc-1.cloud.databricks.com".to_owned())
}

fn codes_of(result: Result<Binding, Vec<Diagnostic>>) -> Vec<String> {
    result.unwrap_err().iter().map(|finding| finding.code.to_string()).collect()
}

#[test]
fn placeholders_are_filled_from_the_gateways_own_settings() {
    let binding = bind(&compiled(PACK), &settings(), &host).unwrap();
    let urls: Vec<&str> = binding.targets.iter().map(|target| target.base_url.as_str()).collect();
    assert_eq!(
        urls,
        [
            "https://adb-1.2.azuredatabricks.net/serving-endpoints",
            "https://dbc-1.cloud.databricks.com/serving-endpoints"
        ]
    );
    assert_eq!(binding.targets[1].secret, Some(SecretKeyRef::File("databricks/token".to_owned())));
}

#[test]
fn what_is_not_filled_or_not_allowed_is_refused_all_at_once() {
    let refused = bind(&compiled(PACK), &BindSettings::default(), &|_: &str| None);
    assert_eq!(codes_of(refused), ["KT0501", "KT0503", "KT0505"]);
    let settings = BindSettings { pack_env: vec!["OTHER_*".to_owned()], ..settings() };
    assert_eq!(codes_of(bind(&compiled(PACK), &settings, &host)), ["KT0502", "KT0502"]);
}

#[test]
fn hosts_must_be_allowed_and_a_wild_card_never_means_the_own_host() {
    for (url, allow, accepted) in [
        ("https://evil.example/x", &[][..], false),
        ("https://azuredatabricks.net/x", &[], false),
        ("https://a.azuredatabricks.net.evil.example/x", &[], false),
        ("https://llm.example/x", &["llm.example"], true),
        ("https://a.llm.example/x", &["*.llm.example"], true),
        ("http://llm.example/x", &["llm.example"], false),
        ("http://127.0.0.1:8080/x", &[], false),
        ("http://127.0.0.1:8080/x", &["*.0.0.1"], false),
        ("http://127.0.0.1:8080/x", &["127.0.0.1"], true),
        ("http://localhost:8080/x", &["127.0.0.1"], false),
        ("http://[::1]:8080/x", &["::1"], true),
        ("http://[::ffff:127.0.0.1]:8080/x", &[], false),
    ] {
        let source = format!(
            "pack: {{name: p, version: 1.0.0}}\npolicies: {{chain: []}}\nproviders:\n  targets:\n    - {{id: a, provider: databricks, model: m, base_url: '{url}'}}\n"
        );
        let settings = BindSettings {
            allow_upstream: allow.iter().map(|host| (*host).to_owned()).collect(),
            ..settings()
        };
        assert_eq!(bind(&compiled(&source), &settings, &host).is_ok(), accepted, "{url} with {allow:?}");
    }
}

#[test]
fn an_override_replaces_scheme_and_host_and_needs_no_workspace() {
    let settings = BindSettings {
        upstream: vec!["*=http://127.0.0.1:9".to_owned(), "two=https://other.example".to_owned()],
        has_secrets_dir: true,
        ..BindSettings::default()
    };
    let binding = bind(&compiled(PACK), &settings, &|_: &str| None).unwrap();
    let urls: Vec<&str> = binding.targets.iter().map(|target| target.base_url.as_str()).collect();
    assert_eq!(urls, ["http://127.0.0.1:9/serving-endpoints", "https://other.example/serving-endpoints"]);
    assert!(binding.targets.iter().all(|target| target.is_overridden));
    let codes: Vec<String> = binding.warnings.iter().map(|finding| finding.code.to_string()).collect();
    assert_eq!(codes, ["KT0511", "KT0511", "KT0510"]);
}

#[test]
fn a_bad_override_is_refused_without_showing_it() {
    for written in
        ["one=http://u:secret@h", "one=ftp://h", "one=http://h/path", "http://h", "one=", "three=http://h"]
    {
        let settings = BindSettings { upstream: vec![written.to_owned()], ..settings() };
        let findings = bind(&compiled(PACK), &settings, &host).unwrap_err();
        assert!(findings.iter().all(|finding| !finding.message.contains("secret")), "{findings:?}");
    }
}

#[test]
fn a_workspace_that_is_more_than_a_host_part_is_refused() {
    for workspace in ["", "a/b", "a@b", "evil.example#", "-a", "a..b", "a:443"] {
        let settings = BindSettings { workspace: Some(workspace.to_owned()), ..settings() };
        assert_eq!(codes_of(bind(&compiled(PACK), &settings, &host)), ["KT0509"], "{workspace}");
    }
}

#[test]
fn a_disabled_pack_is_refused() {
    let source = PACK.replace("version: 1.0.0", "version: 1.0.0, enabled: false");
    assert_eq!(codes_of(bind(&compiled(&source), &settings(), &host)), ["KT0508"]);
}
