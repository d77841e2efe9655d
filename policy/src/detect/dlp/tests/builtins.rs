use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

use super::{
    samples::{Random, sample},
    *,
};

/// `before`, `after`
const AROUND: [(&str, &str); 8] = [
    ("", ""),
    ("My job fails with 401, the token is ", " - what is wrong?"),
    ("# .env\nDEBUG=1\nSECRET=", "\nPORT=8080"),
    ("config = {\n    \"key\": \"", "\"\n}"),
    ("Please review:\n```yaml\nservice:\n  secret: ", "\n```"),
    ("(", ")"),
    ("log line\\n", "\\nnext"),
    ("grüße ", " é"),
];

fn place(kind: Builtin, secret: &str, context: &str, round: usize) -> (String, usize) {
    let (before, after) = AROUND[round % AROUND.len()];
    // Kinds that quotes or brackets are part of don't stand inside of them.
    let (before, after) = match kind {
        Builtin::GenericSecret | Builtin::GcpServiceAccount if before.ends_with('"') => ("x: ", "\n"),
        Builtin::PrivateKey if before.contains("\\n") => ("", ""),
        _ => (before, after),
    };
    let before = if context.is_empty() { before.to_owned() } else { format!("# settings\n{context}") };
    (format!("{before}{secret}{after}"), before.len())
}

#[test]
fn each_kind_is_found_with_its_exact_span() {
    let scanner = all();
    for kind in Builtin::ALL {
        for round in 0..40 {
            let mut random = Random::new(round as u64 + 1);
            let made = sample(kind, &mut random);
            let (text, start) = place(kind, &made.secret, made.context, round);
            let hits = found(&scanner, &text);
            assert_eq!(
                hits,
                [(kind.as_str().to_owned(), &text[start..start + made.secret.len()])],
                "{} in {text:?}",
                kind.as_str()
            );
        }
    }
}

#[test]
fn a_kind_that_is_not_asked_for_is_not_found() {
    for kind in Builtin::ALL {
        let made = sample(kind, &mut Random::new(5));
        let text = format!("{}{}", made.context, made.secret);
        let only = |names: Vec<String>| {
            scanner(&DlpFilter { builtin: BuiltinSelection::Some(names), ..DlpFilter::default() })
        };
        let this = only(vec![kind.as_str().to_owned()]);
        assert_eq!(found(&this, &text).len(), 1, "{}", kind.as_str());
        let others =
            Builtin::ALL.iter().filter(|other| **other != kind).map(|other| other.as_str().to_owned());
        let hits = found(&only(others.collect()), &text);
        assert!(hits.iter().all(|(id, _)| id != kind.as_str()), "{hits:?}");
    }
}

#[test]
fn disguised_secrets_are_found_in_place() {
    type Disguise = fn(&str) -> String;
    let disguises: &[(&str, Disguise)] = &[
        ("zero width", |s| split(s, "\u{200b}")),
        ("soft hyphen", |s| split(s, "\u{ad}")),
        ("continued line", |s| split(s, "\\\n")),
        ("continued and indented", |s| split(s, "\\\n    ")),
        ("base64", |s| STANDARD.encode(s)),
        ("base64url", |s| URL_SAFE_NO_PAD.encode(s)),
        ("base64 twice", |s| STANDARD.encode(STANDARD.encode(s))),
        ("base64 of more", |s| STANDARD.encode(format!("export X={s}\n"))),
        ("hexadecimal", |s| hex::encode(s)),
        ("percent", |s| each(s, |c| format!("%{:02X}", u32::from(c)))),
        ("JSON", |s| each(s, |c| format!("\\u{:04x}", u32::from(c)))),
        ("HTML", |s| each(s, |c| format!("&#{};", u32::from(c)))),
        ("combining marks", |s| s.chars().flat_map(|c| [c, '\u{336}']).collect()),
        ("tag characters", |s| {
            s.chars().map(|c| char::from_u32(u32::from(c) + 0xe0000).unwrap_or(c)).collect()
        }),
    ];
    let scanner = all();
    for kind in Builtin::ALL {
        for (name, disguise) in disguises {
            // Where a line break or a control character is part of the secret, some of these are another thing.
            let lines = kind == Builtin::PrivateKey;
            if lines && matches!(*name, "percent" | "JSON" | "HTML" | "combining marks" | "tag characters") {
                continue;
            }
            for seed in 1..4 {
                let made = sample(kind, &mut Random::new(seed));
                let disguised = disguise(&made.secret);
                // The name beside a value is not encoded with it.
                if !made.context.is_empty() && *name == "base64 of more" {
                    continue;
                }
                let text = format!(
                    "# cfg\n{}{disguised}\nthe end",
                    if made.context.is_empty() { "t: " } else { made.context }
                );
                let hits = found(&scanner, &text);
                let whole = hits.iter().any(|(id, hit)| {
                    id == kind.as_str() && hit.len() * 10 >= disguised.trim_end_matches('=').len() * 9
                });
                assert!(whole, "{} as {name}: {hits:?} in {text:?}", kind.as_str());
            }
        }
    }
}

fn each(secret: &str, form: fn(char) -> String) -> String {
    secret.chars().map(form).collect::<Vec<_>>().concat()
}

fn split(secret: &str, with: &str) -> String {
    let (head, tail) = secret.split_at(secret.len() * 3 / 5);
    format!("{head}{with}{tail}")
}

#[test]
fn tokens_that_plain_line_breaks_cut_are_found() {
    let scanner = all();
    let kinds = [
        Builtin::DatabricksToken,
        Builtin::GithubToken,
        Builtin::AwsAccessKeyId,
        Builtin::AwsSecretAccessKey,
        Builtin::HuggingfaceToken,
        Builtin::TelegramToken,
        Builtin::SentryToken,
        Builtin::AnthropicKey,
    ];
    for kind in kinds {
        for with in ["\n", "\r\n", "\n    ", "\n> "] {
            let made = sample(kind, &mut Random::new(3));
            let text = format!("please check\n{}{}\nthanks", made.context, split(&made.secret, with));
            let hits = found(&scanner, &text);
            assert!(
                hits.iter().any(|(id, _)| id == kind.as_str()),
                "{}: {hits:?} in {text:?}",
                kind.as_str()
            );
        }
    }
}

#[test]
fn letters_of_other_widths_and_alphabets_and_spaced_letters_are_read() {
    let scanner = all();
    let secret = sample(Builtin::DatabricksToken, &mut Random::new(2)).secret;
    let wide: String = secret.chars().map(|c| char::from_u32(u32::from(c) + 0xfee0).unwrap()).collect();
    let alike = secret.replace('a', "а").replace('e', "е").replace('c', "с");
    let spaced: String = secret.chars().map(String::from).collect::<Vec<_>>().join(" ");
    let joined = split(&secret, "\" + \"");
    for disguised in [wide, alike, spaced, joined] {
        let text = format!("the token is \"{disguised}\" here");
        assert_eq!(found(&scanner, &text), [("DATABRICKS_TOKEN".to_owned(), disguised.as_str())]);
    }
}

#[test]
fn near_misses_and_stand_ins_are_left_alone() {
    let scanner = all();
    // Of fixed length: shorter, longer, with a foreign character, inside of a longer word, filled up.
    let fixed = [
        Builtin::AwsAccessKeyId,
        Builtin::GithubToken,
        Builtin::GoogleApiKey,
        Builtin::HuggingfaceToken,
        Builtin::NpmToken,
        Builtin::TwilioKey,
        Builtin::MailgunKey,
        Builtin::DigitaloceanToken,
        Builtin::ShopifyToken,
        Builtin::SquareToken,
        Builtin::NewrelicKey,
        Builtin::GrafanaToken,
        Builtin::LinearKey,
        Builtin::NotionToken,
        Builtin::DockerPat,
        Builtin::PostmanKey,
        Builtin::SentryToken,
        Builtin::PulumiToken,
        Builtin::GroqKey,
        Builtin::PerplexityKey,
        Builtin::ReplicateToken,
        Builtin::AgeSecretKey,
        Builtin::DynatraceToken,
        Builtin::TelegramToken,
    ];
    for kind in fixed {
        let secret = sample(kind, &mut Random::new(9)).secret;
        let half = secret.len() / 2;
        let cases = [
            secret[..secret.len() - 1].to_owned(),
            format!("a1{secret}"),
            format!("{}!{}", &secret[..half], &secret[half + 1..]),
            format!("{}{}", &secret[..8], "x".repeat(secret.len() - 8)),
            format!("{}...", &secret[..8]),
        ];
        for case in cases {
            let hits = found(&scanner, &case);
            assert!(hits.is_empty(), "{} in {case:?}: {hits:?}", kind.as_str());
        }
    }
    for harmless in HARMLESS {
        let hits = found(&scanner, harmless);
        assert!(hits.is_empty(), "{hits:?} in {harmless:?}");
    }
}

#[test]
fn a_token_of_full_length_is_found_also_where_it_counts() {
    let scanner = all();
    for (kind, token) in [
        ("DATABRICKS_TOKEN", "dapi0123456789abcdef0123456789abcdef"),
        ("DATABRICKS_TOKEN", "dapi12345678901234567890123456789012-3"),
        ("DATABRICKS_TOKEN", "dapideadbeefdeadbeefdeadbeefdeadbeef"),
        ("GITHUB_TOKEN", "ghp_abcdefghijklmnopqrstuvwxyz0123456789"),
        ("AWS_ACCESS_KEY_ID", "AKIA1234567890ABCDEF"),
    ] {
        let text = format!("export TOKEN={token}");
        let hits = found(&scanner, &text);
        assert!(hits.contains(&(kind.to_owned(), token)), "{hits:?} in {text:?}");
    }
}

const HARMLESS: &[&str] = &[
    "password: ********",
    "password = getpass()",
    "token = os.getenv('TOKEN')",
    "api_key = os.environ[\"API_KEY\"]",
    "api_key: ${API_KEY}",
    "token: <YOUR_TOKEN_HERE>",
    "{\"token_type\": \"bearer\", \"expires_in\": 3600}",
    "PASSWORD=$DB_PASSWORD",
    "password=changeme",
    "client_secret = \"YOUR_CLIENT_SECRET\"",
    "const tokenUrl = \"https://login.example.com/oauth/token\"",
    "secretName: prod-database-credentials",
    "password: Optional[str] = None",
    "if (password == confirmPassword) {",
    "csrf_token = \"Mj2qykJO5rELyHgezQ69nzUX0i3OH67V7\"",
    "nextPageToken: \"CAUQAA3kf93kf0sdf9sdf\"",
    "LLM_SECRET_NAME = \"NEXUS-GPT4-API-KEY\"",
    "api_key_id: 550e8400-e29b-41d4-a716-446655440000",
    "max_tokens=2048, tokenizer = AutoTokenizer.from_pretrained(\"bert-base-uncased-v2\")",
    "The secret: always write tests first!",
    "What is the difference between an access key and a secret key in AWS?",
    "Set DATABRICKS_TOKEN to dapi... and restart.",
    "dapi00000000000000000000000000000000 or dapixxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "ghp_EXAMPLEexampleEXAMPLEexample0123456789, ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "AKIAIOSFODNN7EXAMPLE",
    "postgres://user:password@localhost:5432/db",
    "postgres://${USER}:${PASS}@${HOST}/db",
    "mysql://root:<password>@host/db",
    "https://user@host/path and https://docs.example.org:8080/a@b",
    "ssh://git@github.com/org/repo.git, git@github.com:org/repo.git",
    "jdbc:databricks://<server-hostname>:443;httpPath=<http-path>",
    "jdbc:h2:mem:testdb jdbc:sqlite:local.db",
    "Authorization: Basic <credentials>",
    "Authorization: Basic dXNlcjpwYXNzd29yZA==",
    "Authorization: Bearer <token>",
    "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAu1SU1LfVLPHCozMxH2Mo\n-----END PUBLIC KEY-----",
    "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
    "{\"type\": \"service_account\", \"project_id\": \"x\"}",
    "aws_secret_access_key = YOUR_SECRET",
    "sha256:f671e4c66c07f0fd01fc7218752a78b7a856cfb940ba44ab5efb4df6087e521c",
    "\"integrity\": \"sha512-E41ynBEfNC4ehqEjQZWEYi0ZgCjaj07kersJzBvHTXVUomsQJ0k1JVUzpmkxEqZh57VX52JHC5IJszR3dLRts1==\"",
    "commit e6c1076a8144354137afd4141d0f7e3463faf5bd",
    "etag: \"00385e54c85a12c027e40307e501eac0\"",
    "request id 6af12e40-053f-4ef9-998b-ac7e2e0f14b2",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIoxIDh8yM8qZNUphZxim9TBu89qZWNMJWfyhR4ndGQmp dev@laptop",
    "eyJhbGciOiJIUzI1NiJ9 and eyJ0eXAi.eyJzdWIi.abc",
    "TODAYINASIAASACKOFRICEFELLOVER",
    "xoxb-xoxb-my-bot-token",
    "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
];

#[test]
fn a_jdbc_url_that_carries_a_token_gives_both() {
    let token = sample(Builtin::DatabricksToken, &mut Random::new(1)).secret;
    let url =
        format!("jdbc:databricks://adb-1.2.azuredatabricks.net:443/default;AuthMech=3;UID=token;PWD={token}");
    let text = format!("connect with {url}, please");
    assert_eq!(
        found(&all(), &text),
        [("JDBC_URL".to_owned(), url.as_str()), ("DATABRICKS_TOKEN".to_owned(), token.as_str()),]
    );
}

#[test]
fn a_service_account_file_is_one_finding() {
    let file = sample(Builtin::GcpServiceAccount, &mut Random::new(1)).secret;
    let text = format!("see {file} there");
    assert_eq!(found(&all(), &text), [("GCP_SERVICE_ACCOUNT".to_owned(), file.as_str())]);
}

#[test]
fn the_key_of_a_json_leaf_is_context() {
    let scanner = all();
    let ids = |key: &str, text: &str| -> Vec<String> {
        scan(&scanner, text, Some(key))
            .iter()
            .map(|hit| scanner.rules()[hit.rule as usize].id.to_string())
            .collect()
    };
    assert_eq!(ids("db_password", "aB3!xk29Lq7"), ["GENERIC_SECRET"]);
    assert_eq!(ids("clientSecret", "aB3!xk29Lq7"), ["GENERIC_SECRET"]);
    assert_eq!(ids("city", "aB3!xk29Lq7"), [""; 0]);
    assert_eq!(ids("password", "changeme"), [""; 0]);
    let token = sample(Builtin::GithubToken, &mut Random::new(1)).secret;
    assert_eq!(ids("password", &token), ["GITHUB_TOKEN"]);
}

#[test]
fn many_secrets_in_one_text_are_all_found() {
    let scanner = all();
    let mut random = Random::new(4);
    let secrets: Vec<String> = (0..2_000)
        .map(|n| sample(Builtin::ALL[n % 52], &mut random))
        .map(|s| s.context.to_owned() + &s.secret)
        .collect();
    let text = secrets.join("\n\n");
    let hits = scan(&scanner, &text, None);
    assert!(hits.len() >= 1_990, "{}", hits.len());
}

#[test]
fn hostile_texts_take_time_in_proportion_to_their_length() {
    let scanner = all();
    let units = [
        "-----BEGIN PRIVATE KEY-----",
        "{\"type\": \"service_account\"",
        "eyJ-",
        "password='",
        "a:b@://",
        "sig=&",
        "dapi",
        "A\n",
        "a b ",
        "%41",
        "\\\n",
        "\u{200b}a",
        "AKIA-",
        "jdbc:a://@",
        "xoxb-1-",
        "=\n",
        "-----BEGIN ",
        "token:",
        "Q~0Q~",
        "AAAA",
        "64",
        "о",
        "\" + \"",
    ];
    let time = |text: &str| {
        let mut hits = Vec::new();
        let mut scratch = Scratch::default();
        (0..3)
            .map(|_| {
                hits.clear();
                let start = crate::detect::processor_time();
                scanner.scan(Text { text, origin: Origin::User, key: None }, &mut scratch, &mut hits);
                crate::detect::processor_time() - start
            })
            .min()
            .unwrap()
    };
    for unit in units {
        let small = time(&unit.repeat(10_000 / unit.len()));
        let large = time(&unit.repeat(200_000 / unit.len()));
        // Twenty times the text: linear work is about 20 times the time, quadratic work 400 times.
        assert!(
            large < small * 150 + std::time::Duration::from_millis(20),
            "{unit:?}: {small:?} for 10 kB, {large:?} for 200 kB"
        );
    }
}
