//! Secrets made by a program: nothing here is a literal that a scanner of sources would take for one.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

use super::Builtin;

/// A small generator of its own, so that samples never change.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn text(&mut self, alphabet: &str, len: usize) -> String {
        (0..len).map(|_| char::from(alphabet.as_bytes()[self.below(alphabet.len())])).collect()
    }
}

const HEX: &str = "0123456789abcdef";
const DIGIT: &str = "0123456789";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const UPPER_DIGIT: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const BASE32: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const BECH32: &str = "023456789ACDEFGHJKLMNPQRSTUVWXYZ";
const ALNUM: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const URL64: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
const BASE64: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A secret of a kind. `context` is what must stand before it, where the format alone doesn't tell.
pub(super) struct Sample {
    pub(super) context: &'static str,
    pub(super) secret: String,
}

pub(super) fn sample(kind: Builtin, r: &mut Random) -> Sample {
    // Middle characters are letters or digits, so that a secret never ends in a way that punctuation decides.
    let mut context = "";
    let tail = |r: &mut Random, alphabet: &str, len: usize| r.text(alphabet, len - 1) + &r.text(ALNUM, 1);
    let secret = match kind {
        Builtin::DatabricksToken => match r.below(3) {
            0 => ["da", "pi", &r.text(HEX, 32)].concat(),
            1 => ["da", "pi", &r.text(HEX, 32), "-", &r.text("23", 1)].concat(),
            _ => ["do", "se", &r.text(HEX, 32)].concat(),
        },
        Builtin::JdbcUrl => format!(
            "jdbc:postgresql://db{}.corp.net:5432/sales?user=app&password={}",
            r.below(9),
            r.text(ALNUM, 14)
        ),
        Builtin::AwsAccessKeyId => ["AK", "IA", &r.text(BASE32, 15), &r.text("234567", 1)].concat(),
        Builtin::AwsSecretAccessKey => {
            context =
                ["aws_secret_access_key = ", "\"SecretAccessKey\": \"", "AWS_SECRET_ACCESS_KEY="][r.below(3)];
            r.text(BASE64, 36) + "aB3x"
        }
        Builtin::GithubToken => match r.below(2) {
            0 => ["gh", &r.text("pousr", 1), "_", &r.text(ALNUM, 36)].concat(),
            _ => ["github", "_pat_", &r.text(ALNUM, 22), "_", &r.text(ALNUM, 59)].concat(),
        },
        Builtin::GitlabToken => ["gl", "pat-", &tail(r, URL64, 20)].concat(),
        Builtin::SlackToken => {
            ["xo", "xb-", &r.text(DIGIT, 12), "-", &r.text(DIGIT, 12), "-", &r.text(ALNUM, 24)].concat()
        }
        Builtin::SlackWebhook => format!(
            "https://hooks.slack.com/services/T{}/B{}/{}",
            r.text(UPPER_DIGIT, 10),
            r.text(UPPER_DIGIT, 10),
            r.text(ALNUM, 24)
        ),
        Builtin::StripeKey => ["sk", "_live_", &r.text(ALNUM, 24)].concat(),
        Builtin::GoogleApiKey => ["AI", "za", &tail(r, URL64, 35)].concat(),
        Builtin::GcpServiceAccount => format!(
            "{{\"type\": \"service_account\", \"project_id\": \"p-{}\", \"private_key\": \"-----BEGIN PRIVATE KEY-----\\n{}\\n-----END PRIVATE KEY-----\\n\"}}",
            r.below(9999),
            r.text(BASE64, 300)
        ),
        Builtin::AzureStorageKey => format!(
            "DefaultEndpointsProtocol=https;AccountName=acct{};AccountKey={}==;EndpointSuffix=core.windows.net",
            r.text("abcdef", 5),
            r.text(BASE64, 86)
        ),
        Builtin::AzureClientSecret => {
            [&r.text(ALNUM, 3), &r.text(DIGIT, 1), "Q~", &tail(r, URL64, 34)].concat()
        }
        Builtin::AzureSas => {
            format!("?sv=2022-11-02&ss=b&srt=co&sp=rl&se=2030-01-01T00:00:00Z&sig={}%3D", r.text(ALNUM, 43))
        }
        Builtin::OpenaiKey => match r.below(2) {
            0 => ["sk", "-", &r.text(ALNUM, 20), "T3Blbk", "FJ", &r.text(ALNUM, 20)].concat(),
            _ => ["sk", "-proj-", &r.text(URL64, 74), "T3Blbk", "FJ", &tail(r, URL64, 74)].concat(),
        },
        Builtin::AnthropicKey => ["sk", "-ant-", "api03-", &r.text(URL64, 93), "AA"].concat(),
        Builtin::HuggingfaceToken => ["hf", "_", &r.text(&ALNUM[..52], 34)].concat(),
        Builtin::NpmToken => ["np", "m_", &r.text(ALNUM, 36)].concat(),
        Builtin::PypiToken => ["py", "pi-AgEIcHlwaS5vcmc", &tail(r, URL64, 147)].concat(),
        Builtin::SendgridKey => ["S", "G.", &r.text(URL64, 22), ".", &tail(r, URL64, 43)].concat(),
        Builtin::TwilioKey => ["S", "K", &r.text(HEX, 32)].concat(),
        Builtin::MailgunKey => ["ke", "y-", &r.text(HEX, 32)].concat(),
        Builtin::DigitaloceanToken => ["do", "p_v1_", &r.text(HEX, 64)].concat(),
        Builtin::VaultToken => ["hv", "s.", &tail(r, URL64, 95)].concat(),
        Builtin::TerraformToken => [&r.text(ALNUM, 14), ".atlas", "v1.", &tail(r, URL64, 67)].concat(),
        Builtin::Jwt => {
            let header = URL_SAFE_NO_PAD.encode("{\"alg\":\"HS256\",\"typ\":\"JWT\"}");
            let payload = URL_SAFE_NO_PAD.encode(format!("{{\"sub\":\"{}\"}}", r.below(1_000_000)));
            format!("{header}.{payload}.{}", tail(r, URL64, 43))
        }
        Builtin::PrivateKey => {
            let label = ["RSA ", "EC ", "OPENSSH ", ""][r.below(4)];
            let lines: Vec<String> = (0..6).map(|_| r.text(BASE64, 64)).collect();
            let (begin, end) = ("-----BEGIN ", "-----END ");
            format!("{begin}{label}PRIVATE KEY-----\n{}\n{end}{label}PRIVATE KEY-----", lines.join("\n"))
        }
        Builtin::CredentialUrl => {
            let scheme = ["postgres", "redis", "mongodb+srv", "https", "amqp"][r.below(5)];
            format!("{scheme}://svc:{}@db.corp.net/main", r.text(ALNUM, 14))
        }
        Builtin::BasicAuth => {
            format!("Authorization: Basic {}", STANDARD.encode(format!("svc-report:{}", r.text(ALNUM, 16))))
        }
        Builtin::GenericSecret => {
            let name = ["password", "db_password", "client_secret", "secretKey", "apiKey"][r.below(5)];
            let sign = ["=", ": ", " = "][r.below(3)];
            let quote = ["'", "\""][r.below(2)];
            format!("{name}{sign}{quote}aB{}!7{}{quote}", r.text(ALNUM, 9), r.text(ALNUM, 3))
        }
        Builtin::TelegramToken => [&r.text("123456789", 10), ":", "AA", &tail(r, URL64, 33)].concat(),
        Builtin::DiscordWebhook => {
            format!("https://discord.com/api/webhooks/{}/{}", r.text("123456789", 18), tail(r, URL64, 68))
        }
        Builtin::ShopifyToken => ["shp", "at_", &r.text(HEX, 32)].concat(),
        Builtin::SquareToken => ["sq0", "atp-", &tail(r, URL64, 22)].concat(),
        Builtin::NewrelicKey => ["NR", "AK-", &r.text(UPPER_DIGIT, 27)].concat(),
        Builtin::GrafanaToken => ["gl", "sa_", &r.text(ALNUM, 32), "_", &r.text(HEX, 8)].concat(),
        Builtin::LinearKey => ["lin", "_api_", &r.text(ALNUM, 40)].concat(),
        Builtin::NotionToken => ["nt", "n_", &r.text(DIGIT, 11), &r.text(ALNUM, 35)].concat(),
        Builtin::DockerPat => ["dckr", "_pat_", &tail(r, URL64, 27)].concat(),
        Builtin::PostmanKey => ["PM", "AK-", &r.text(HEX, 24), "-", &r.text(HEX, 34)].concat(),
        Builtin::DopplerToken => ["dp", ".pt.", &r.text(ALNUM, 43)].concat(),
        Builtin::SentryToken => ["sntry", "u_", &r.text(HEX, 64)].concat(),
        Builtin::PulumiToken => ["pu", "l-", &r.text(HEX, 40)].concat(),
        Builtin::FigmaToken => ["fi", "gd_", &tail(r, URL64, 40)].concat(),
        Builtin::PlanetscaleToken => ["pscale", "_tkn_", &tail(r, URL64, 43)].concat(),
        Builtin::GroqKey => ["gs", "k_", &r.text(ALNUM, 52)].concat(),
        Builtin::PerplexityKey => ["pp", "lx-", &r.text(ALNUM, 48)].concat(),
        Builtin::ReplicateToken => ["r8", "_", &r.text(ALNUM, 37)].concat(),
        Builtin::AgeSecretKey => ["AGE-SECRET", "-KEY-1", &r.text(BECH32, 58)].concat(),
        Builtin::AtlassianToken => ["ATA", "TT3", &tail(r, URL64, 186)].concat(),
        Builtin::FastlyToken => ["fastly", "_token=", &tail(r, URL64, 32)].concat(),
        Builtin::DynatraceToken => {
            ["dt0", "c01.", &r.text(UPPER_DIGIT, 24), ".", &r.text(UPPER_DIGIT, 63), &r.text(UPPER, 1)]
                .concat()
        }
    };
    Sample { context, secret }
}
