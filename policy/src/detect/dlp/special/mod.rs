//! Secrets whose form takes more than a fixed text and runs of characters.

mod assignment;
mod azure;
mod block;
mod token;
mod url;

pub(super) use assignment::names_and_holds_secret;

use super::{
    builtin::Builtin,
    scan::{Found, Source, View},
};

/// Called at each place of a literal: view, start and end of the literal, where findings go.
type Find = fn(&View<'_>, usize, usize, &mut dyn FnMut(Found));

/// A matcher and the texts that call it, looked for in any ASCII case.
pub(super) struct Special {
    pub(super) kinds: &'static [Builtin],
    pub(super) literals: &'static [&'static str],
    pub(super) find: Find,
}

/// Every matcher.
pub(super) static SPECIALS: [Special; 20] = [
    Special { kinds: &[Builtin::JdbcUrl], literals: &["jdbc:"], find: url::jdbc },
    Special { kinds: &[Builtin::CredentialUrl], literals: &["://"], find: url::credentials },
    Special { kinds: &[Builtin::SlackWebhook], literals: &["hooks.slack.com/"], find: url::slack_webhook },
    Special {
        kinds: &[Builtin::DiscordWebhook],
        literals: &["discord.com/api/webhooks/", "discordapp.com/api/webhooks/"],
        find: url::discord_webhook,
    },
    Special {
        kinds: &[Builtin::AwsAccessKeyId, Builtin::AwsSecretAccessKey],
        literals: &["AKIA", "ASIA", "ABIA", "ACCA"],
        find: token::aws_access_key,
    },
    Special {
        kinds: &[Builtin::AwsSecretAccessKey],
        literals: &[
            "secret_access_key",
            "secretaccesskey",
            "secret-access-key",
            "secret access key",
            "aws_secret_key",
            "aws_secret",
            "awssecretkey",
        ],
        find: token::aws_secret_key,
    },
    Special { kinds: &[Builtin::SlackToken], literals: &["xox", "xapp-"], find: token::slack },
    Special { kinds: &[Builtin::OpenaiKey, Builtin::AnthropicKey], literals: &["sk-"], find: token::sk },
    Special { kinds: &[Builtin::TelegramToken], literals: &[":AA"], find: token::telegram },
    Special { kinds: &[Builtin::TerraformToken], literals: &[".atlasv1."], find: token::terraform },
    Special { kinds: &[Builtin::Jwt], literals: &["eyJ", "eyA"], find: token::jwt },
    Special { kinds: &[Builtin::NewrelicKey], literals: &["NRAL"], find: token::newrelic_license },
    Special { kinds: &[Builtin::PrivateKey], literals: &["-----BEGIN "], find: block::private_key },
    Special {
        kinds: &[Builtin::GcpServiceAccount],
        literals: &["service_account"],
        find: block::gcp_service_account,
    },
    Special { kinds: &[Builtin::BasicAuth], literals: &["Basic "], find: block::basic_auth },
    Special {
        kinds: &[Builtin::AzureStorageKey],
        literals: &["AccountKey=", "storage_key", "account_key", "storagekey", "SharedAccessKey="],
        find: azure::storage_key,
    },
    Special { kinds: &[Builtin::AzureClientSecret], literals: &["Q~"], find: azure::client_secret },
    Special { kinds: &[Builtin::AzureSas], literals: &["sig="], find: azure::sas },
    Special { kinds: &[Builtin::FastlyToken], literals: &["fastly"], find: assignment::fastly },
    Special {
        kinds: &[Builtin::GenericSecret, Builtin::VaultToken],
        literals: &[
            "password",
            "passwd",
            "pwd",
            "passphrase",
            "secret",
            "token",
            "api_key",
            "apikey",
            "api-key",
            "access_key",
            "accesskey",
            "access-key",
            "auth_key",
            "authkey",
            "private_key",
            "privatekey",
            "credential",
            "encryption_key",
            "signing_key",
        ],
        find: assignment::generic,
    },
];

/// A finding in the view itself.
fn found(kind: Builtin, start: usize, end: usize) -> Found {
    Found { kind, start, end, source: Source::Text }
}
