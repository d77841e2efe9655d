//! The names of the built-in secret detectors.

/// A kind of secret that is known by its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Builtin {
    /// Databricks personal access token or OAuth secret.
    DatabricksToken,
    /// JDBC connection string to a server.
    JdbcUrl,
    /// AWS access key id.
    AwsAccessKeyId,
    /// AWS secret access key, beside its name or its id.
    AwsSecretAccessKey,
    /// GitHub token, classic or fine-grained.
    GithubToken,
    /// GitLab token.
    GitlabToken,
    /// Slack bot, user, app or configuration token.
    SlackToken,
    /// Slack webhook address.
    SlackWebhook,
    /// Stripe secret or restricted key.
    StripeKey,
    /// Google API key.
    GoogleApiKey,
    /// Google Cloud service account file.
    GcpServiceAccount,
    /// Azure storage connection string or account key.
    AzureStorageKey,
    /// Microsoft Entra client secret.
    AzureClientSecret,
    /// Azure shared access signature.
    AzureSas,
    /// OpenAI key.
    OpenaiKey,
    /// Anthropic key.
    AnthropicKey,
    /// Hugging Face token.
    HuggingfaceToken,
    /// npm token.
    NpmToken,
    /// PyPI token.
    PypiToken,
    /// SendGrid key.
    SendgridKey,
    /// Twilio API key.
    TwilioKey,
    /// Mailgun key.
    MailgunKey,
    /// DigitalOcean token.
    DigitaloceanToken,
    /// HashiCorp Vault token.
    VaultToken,
    /// Terraform Cloud token.
    TerraformToken,
    /// JSON web token.
    Jwt,
    /// Private key in PEM or OpenPGP armour.
    PrivateKey,
    /// Address that carries a password.
    CredentialUrl,
    /// Basic authorization header.
    BasicAuth,
    /// Assignment of a random value to a name such as `password`.
    GenericSecret,
    /// Telegram bot token.
    TelegramToken,
    /// Discord webhook address.
    DiscordWebhook,
    /// Shopify token.
    ShopifyToken,
    /// Square token.
    SquareToken,
    /// New Relic key.
    NewrelicKey,
    /// Grafana token.
    GrafanaToken,
    /// Linear key.
    LinearKey,
    /// Notion token.
    NotionToken,
    /// Docker Hub access token.
    DockerPat,
    /// Postman key.
    PostmanKey,
    /// Doppler token.
    DopplerToken,
    /// Sentry token.
    SentryToken,
    /// Pulumi token.
    PulumiToken,
    /// Figma token.
    FigmaToken,
    /// PlanetScale token or password.
    PlanetscaleToken,
    /// Groq key.
    GroqKey,
    /// Perplexity key.
    PerplexityKey,
    /// Replicate token.
    ReplicateToken,
    /// age identity.
    AgeSecretKey,
    /// Atlassian API token.
    AtlassianToken,
    /// Assignment of a Fastly token.
    FastlyToken,
    /// Dynatrace token.
    DynatraceToken,
}

impl Builtin {
    /// Every detector, in the order of the reference page.
    pub const ALL: [Self; 52] = [
        Self::DatabricksToken,
        Self::JdbcUrl,
        Self::AwsAccessKeyId,
        Self::AwsSecretAccessKey,
        Self::GithubToken,
        Self::GitlabToken,
        Self::SlackToken,
        Self::SlackWebhook,
        Self::StripeKey,
        Self::GoogleApiKey,
        Self::GcpServiceAccount,
        Self::AzureStorageKey,
        Self::AzureClientSecret,
        Self::AzureSas,
        Self::OpenaiKey,
        Self::AnthropicKey,
        Self::HuggingfaceToken,
        Self::NpmToken,
        Self::PypiToken,
        Self::SendgridKey,
        Self::TwilioKey,
        Self::MailgunKey,
        Self::DigitaloceanToken,
        Self::VaultToken,
        Self::TerraformToken,
        Self::Jwt,
        Self::PrivateKey,
        Self::CredentialUrl,
        Self::BasicAuth,
        Self::GenericSecret,
        Self::TelegramToken,
        Self::DiscordWebhook,
        Self::ShopifyToken,
        Self::SquareToken,
        Self::NewrelicKey,
        Self::GrafanaToken,
        Self::LinearKey,
        Self::NotionToken,
        Self::DockerPat,
        Self::PostmanKey,
        Self::DopplerToken,
        Self::SentryToken,
        Self::PulumiToken,
        Self::FigmaToken,
        Self::PlanetscaleToken,
        Self::GroqKey,
        Self::PerplexityKey,
        Self::ReplicateToken,
        Self::AgeSecretKey,
        Self::AtlassianToken,
        Self::FastlyToken,
        Self::DynatraceToken,
    ];

    /// The name as written in packs, markers and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DatabricksToken => "DATABRICKS_TOKEN",
            Self::JdbcUrl => "JDBC_URL",
            Self::AwsAccessKeyId => "AWS_ACCESS_KEY_ID",
            Self::AwsSecretAccessKey => "AWS_SECRET_ACCESS_KEY",
            Self::GithubToken => "GITHUB_TOKEN",
            Self::GitlabToken => "GITLAB_TOKEN",
            Self::SlackToken => "SLACK_TOKEN",
            Self::SlackWebhook => "SLACK_WEBHOOK",
            Self::StripeKey => "STRIPE_KEY",
            Self::GoogleApiKey => "GOOGLE_API_KEY",
            Self::GcpServiceAccount => "GCP_SERVICE_ACCOUNT",
            Self::AzureStorageKey => "AZURE_STORAGE_KEY",
            Self::AzureClientSecret => "AZURE_CLIENT_SECRET",
            Self::AzureSas => "AZURE_SAS",
            Self::OpenaiKey => "OPENAI_KEY",
            Self::AnthropicKey => "ANTHROPIC_KEY",
            Self::HuggingfaceToken => "HUGGINGFACE_TOKEN",
            Self::NpmToken => "NPM_TOKEN",
            Self::PypiToken => "PYPI_TOKEN",
            Self::SendgridKey => "SENDGRID_KEY",
            Self::TwilioKey => "TWILIO_KEY",
            Self::MailgunKey => "MAILGUN_KEY",
            Self::DigitaloceanToken => "DIGITALOCEAN_TOKEN",
            Self::VaultToken => "VAULT_TOKEN",
            Self::TerraformToken => "TERRAFORM_TOKEN",
            Self::Jwt => "JWT",
            Self::PrivateKey => "PRIVATE_KEY",
            Self::CredentialUrl => "CREDENTIAL_URL",
            Self::BasicAuth => "BASIC_AUTH",
            Self::GenericSecret => "GENERIC_SECRET",
            Self::TelegramToken => "TELEGRAM_TOKEN",
            Self::DiscordWebhook => "DISCORD_WEBHOOK",
            Self::ShopifyToken => "SHOPIFY_TOKEN",
            Self::SquareToken => "SQUARE_TOKEN",
            Self::NewrelicKey => "NEWRELIC_KEY",
            Self::GrafanaToken => "GRAFANA_TOKEN",
            Self::LinearKey => "LINEAR_KEY",
            Self::NotionToken => "NOTION_TOKEN",
            Self::DockerPat => "DOCKER_PAT",
            Self::PostmanKey => "POSTMAN_KEY",
            Self::DopplerToken => "DOPPLER_TOKEN",
            Self::SentryToken => "SENTRY_TOKEN",
            Self::PulumiToken => "PULUMI_TOKEN",
            Self::FigmaToken => "FIGMA_TOKEN",
            Self::PlanetscaleToken => "PLANETSCALE_TOKEN",
            Self::GroqKey => "GROQ_KEY",
            Self::PerplexityKey => "PERPLEXITY_KEY",
            Self::ReplicateToken => "REPLICATE_TOKEN",
            Self::AgeSecretKey => "AGE_SECRET_KEY",
            Self::AtlassianToken => "ATLASSIAN_TOKEN",
            Self::FastlyToken => "FASTLY_TOKEN",
            Self::DynatraceToken => "DYNATRACE_TOKEN",
        }
    }

    /// The detector of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|builtin| builtin.as_str() == name)
    }

    /// The name that was probably meant.
    pub(super) fn nearest(name: &str) -> Option<Self> {
        let name = name.to_ascii_uppercase().replace('-', "_");
        Self::ALL
            .into_iter()
            .map(|builtin| (strsim::jaro_winkler(builtin.as_str(), &name), builtin))
            .filter(|(likeness, _)| *likeness > 0.8)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, builtin)| builtin)
    }
}
