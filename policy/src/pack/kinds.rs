//! The settings of each policy kind. Defaults are those of an empty block.

use std::{borrow::Cow, collections::BTreeMap};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::verdict::{Action, Endpoint, Mode, Phase};

/// What a content policy does on one endpoint instead of its usual action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EndpointAction {
    /// The policy does not run there; the record says `not_applicable`.
    Off,
    /// Findings are only recorded there.
    Observe,
    /// Every finding is redacted there.
    Redact,
    /// Every finding refuses the request there.
    Block,
}

/// Settings of `prompt-injection`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct PromptInjection {
    /// Whether the policy acts or only records.
    pub mode: Mode,
    /// `block` (default) refuses the request, `redact` replaces the offending window by a marker.
    pub action: Action,
    /// Texts with this score or more are findings; 0 to 1.
    pub threshold: f64,
    /// Which detectors judge.
    pub detectors: InjectionDetectors,
    /// What is looked for.
    pub detection: InjectionDetection,
    /// Which disguises are undone before looking.
    pub encoding: InjectionEncoding,
    /// The answer to a blocked caller.
    pub response: InjectionResponse,
    /// What the policy does on single endpoints.
    pub endpoints: BTreeMap<Endpoint, EndpointAction>,
    /// Whether the policy reads requests (`input`), answers (`output`) or both. Default: `[input]`.
    pub phases: Vec<Phase>,
}

impl Default for PromptInjection {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            action: Action::Block,
            threshold: 0.5,
            detectors: InjectionDetectors::default(),
            detection: InjectionDetection::default(),
            encoding: InjectionEncoding::default(),
            response: InjectionResponse::default(),
            endpoints: BTreeMap::new(),
            phases: vec![Phase::Input],
        }
    }
}

/// The detectors of `prompt-injection`. With both on, the model weighs what the rules found, and only what is certain
/// counts beside it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct InjectionDetectors {
    /// The built-in rules: `on` (default), `observe` or `off`.
    pub rules: DetectorSwitch,
    /// The trained model: `on` (default), `observe` or `off`.
    pub model: DetectorSwitch,
}

/// What becomes of what one detector finds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DetectorSwitch {
    /// Acts.
    #[default]
    On,
    /// Only recorded.
    Observe,
    /// Not asked.
    Off,
}

/// What `prompt-injection` looks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct InjectionDetection {
    /// Regular expressions of your own; a match is a finding with score 1.
    pub attack_patterns: Vec<String>,
    /// Built-in rules by id: `enforce` (default), `observe` or `off`.
    pub rules: BTreeMap<String, RuleSwitch>,
}

/// What becomes of one built-in rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RuleSwitch {
    /// Acts.
    Enforce,
    /// Only recorded.
    Observe,
    /// Not looked for.
    Off,
}

/// Which disguises `prompt-injection` undoes before looking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct InjectionEncoding {
    /// NFKC; zero-width, tag and other format characters removed.
    pub normalize_unicode: bool,
    /// Letters that look like Latin ones are read as such.
    pub detect_homoglyphs: bool,
    /// Runs of base64 are decoded and read.
    pub decode_base64: bool,
    /// Percent-encoded runs are decoded and read.
    pub decode_percent: bool,
    /// Runs of hexadecimal digits are decoded and read.
    pub decode_hex: bool,
}

impl Default for InjectionEncoding {
    fn default() -> Self {
        Self {
            normalize_unicode: true,
            detect_homoglyphs: true,
            decode_base64: true,
            decode_percent: true,
            decode_hex: true,
        }
    }
}

/// The answer to a caller blocked by `prompt-injection`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct InjectionResponse {
    /// `block` (default) or `log`, which is `mode: observe` in the documented dialect.
    pub action: InjectionResponseAction,
    /// The message of the error.
    pub message: String,
}

impl Default for InjectionResponse {
    fn default() -> Self {
        Self {
            action: InjectionResponseAction::Block,
            message: "request blocked: potential prompt injection detected".to_owned(),
        }
    }
}

/// `response.action` of the documented dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InjectionResponseAction {
    /// Refuse the request.
    Block,
    /// Only record.
    Log,
}

/// Settings of `pii-detector`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct PiiDetector {
    /// Whether the policy acts or only records.
    pub mode: Mode,
    /// `redact` (default) or `block`.
    pub action: Action,
    /// The entity types to look for, or `all`. Default: `EMAIL_ADDRESS`, `PHONE_NUMBER`, `CREDIT_CARD`, `US_SSN`,
    /// `IP_ADDRESS`.
    pub entities: EntitySelection,
    /// Findings below this score are dropped; 0 to 1.
    pub threshold: f64,
    /// How a finding is replaced.
    pub redaction: Redaction,
    /// Regular expressions of your own, found as `CUSTOM`.
    pub detect_patterns: Vec<String>,
    /// Adds card numbers, security codes, and holder names beside card data. Default `true`.
    pub pci_mode: bool,
    /// Adds medical record numbers, health insurance ids and US provider numbers (NPI).
    pub healthcare_mode: bool,
    /// What the policy does on single endpoints.
    pub endpoints: BTreeMap<Endpoint, EndpointAction>,
    /// Whether the policy reads requests (`input`), answers (`output`) or both. Default: both.
    pub phases: Vec<Phase>,
}

impl Default for PiiDetector {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            action: Action::Redact,
            entities: EntitySelection::default(),
            threshold: 0.5,
            redaction: Redaction::default(),
            detect_patterns: Vec::new(),
            pci_mode: true,
            healthcare_mode: false,
            endpoints: BTreeMap::new(),
            phases: vec![Phase::Input, Phase::Output],
        }
    }
}

/// The personal data types of `pii-detector.entities`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Entity {
    /// Names of people.
    Person,
    /// Addresses of electronic mail.
    EmailAddress,
    /// Phone numbers of any country.
    PhoneNumber,
    /// Payment card numbers, by check digit.
    CreditCard,
    /// International bank account numbers, by check digits.
    IbanCode,
    /// US social security numbers.
    UsSsn,
    /// US individual taxpayer identification numbers.
    UsItin,
    /// US passport numbers.
    UsPassport,
    /// US driver licence numbers.
    UsDriverLicense,
    /// US bank account numbers.
    UsBankNumber,
    /// UK national health service numbers, by check digit.
    UkNhs,
    /// IPv4 and IPv6 addresses.
    IpAddress,
    /// Hardware addresses.
    MacAddress,
    /// Wallet addresses, by checksum where the kind has one.
    Crypto,
    /// Web addresses.
    Url,
}

impl Entity {
    /// Every type, in the order of the reference page.
    pub const ALL: [Self; 15] = [
        Self::Person,
        Self::EmailAddress,
        Self::PhoneNumber,
        Self::CreditCard,
        Self::IbanCode,
        Self::UsSsn,
        Self::UsItin,
        Self::UsPassport,
        Self::UsDriverLicense,
        Self::UsBankNumber,
        Self::UkNhs,
        Self::IpAddress,
        Self::MacAddress,
        Self::Crypto,
        Self::Url,
    ];

    /// The name as written in packs, markers and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Person => "PERSON",
            Self::EmailAddress => "EMAIL_ADDRESS",
            Self::PhoneNumber => "PHONE_NUMBER",
            Self::CreditCard => "CREDIT_CARD",
            Self::IbanCode => "IBAN_CODE",
            Self::UsSsn => "US_SSN",
            Self::UsItin => "US_ITIN",
            Self::UsPassport => "US_PASSPORT",
            Self::UsDriverLicense => "US_DRIVER_LICENSE",
            Self::UsBankNumber => "US_BANK_NUMBER",
            Self::UkNhs => "UK_NHS",
            Self::IpAddress => "IP_ADDRESS",
            Self::MacAddress => "MAC_ADDRESS",
            Self::Crypto => "CRYPTO",
            Self::Url => "URL",
        }
    }
}

/// `all`, or a list of entity types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntitySelection {
    /// Every type.
    All,
    /// These types.
    Some(Vec<Entity>),
}

impl Default for EntitySelection {
    fn default() -> Self {
        Self::Some(vec![
            Entity::EmailAddress,
            Entity::PhoneNumber,
            Entity::CreditCard,
            Entity::UsSsn,
            Entity::IpAddress,
        ])
    }
}

/// As it is written in a pack.
impl Serialize for EntitySelection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_str("all"),
            Self::Some(entities) => entities.serialize(serializer),
        }
    }
}

impl JsonSchema for EntitySelection {
    fn schema_name() -> Cow<'static, str> {
        "EntitySelection".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "`all`, or a list of entity types.",
            "anyOf": [{"const": "all"}, generator.subschema_for::<Vec<Entity>>()]
        })
    }
}

/// How a finding is replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Redaction {
    /// `label` (default, `<PERSON>`), `asterisks`, `partial` (first and last character kept), or a text of your own
    /// that holds `{entity}`.
    pub marker_format: MarkerFormat,
    /// Markers by entity type; they win over `marker_format`.
    pub custom_markers: BTreeMap<String, String>,
    /// The marker is cut or padded with `*` to the length of what it replaces, in code points.
    pub preserve_length: bool,
    /// Adds the header `x-keeptrusts-redactions` (counts by type) to the answer.
    pub include_metadata: bool,
}

/// The form of a marker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum MarkerFormat {
    /// `<PERSON>`
    #[default]
    Label,
    /// `********`
    Asterisks,
    /// `j******e`
    Partial,
    /// A text that holds `{entity}`.
    Template(String),
}

/// As it is written in a pack.
impl Serialize for MarkerFormat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Label => "label",
            Self::Asterisks => "asterisks",
            Self::Partial => "partial",
            Self::Template(text) => text,
        })
    }
}

impl JsonSchema for MarkerFormat {
    fn schema_name() -> Cow<'static, str> {
        "MarkerFormat".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "`label`, `asterisks`, `partial`, or a text that holds `{entity}`.",
            "anyOf": [{"enum": ["label", "asterisks", "partial"]}, {"type": "string", "pattern": "\\{entity\\}"}]
        })
    }
}

/// Settings of `dlp-filter`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct DlpFilter {
    /// Whether the policy acts or only records.
    pub mode: Mode,
    /// What is done with findings that have no action of their own: `redact` (default) or `block`.
    pub action: Action,
    /// Named regular expressions, each with its own action.
    pub patterns: Vec<DlpPattern>,
    /// Regular expressions without a name; the policy's `action` holds. Their ids are `detect_patterns[0]`, ….
    pub detect_patterns: Vec<String>,
    /// Terms, found in any case and as whole words. Their ids are `blocked_terms[0]`, ….
    pub blocked_terms: Vec<String>,
    /// Finds blocked terms also with spelling mistakes, up to `max_distance` (Levenshtein).
    pub fuzzy_matching: bool,
    /// The largest number of mistakes, 0 to 8; a term must have more than twice as many characters. Default 1.
    pub max_distance: u8,
    /// Built-in secret detectors: `all`, or names. Off by default.
    pub builtin: BuiltinSelection,
    /// What the policy does on single endpoints.
    pub endpoints: BTreeMap<Endpoint, EndpointAction>,
    /// Whether the policy reads requests (`input`), answers (`output`) or both. Default: both.
    pub phases: Vec<Phase>,
}

impl Default for DlpFilter {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            action: Action::Redact,
            patterns: Vec::new(),
            detect_patterns: Vec::new(),
            blocked_terms: Vec::new(),
            fuzzy_matching: false,
            max_distance: 1,
            builtin: BuiltinSelection::default(),
            endpoints: BTreeMap::new(),
            phases: vec![Phase::Input, Phase::Output],
        }
    }
}

/// A named pattern of `dlp-filter`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct DlpPattern {
    /// Unique in the policy; named in records and block answers.
    pub name: String,
    /// Regular expression in the syntax of Rust's `regex` crate: no look-around, no back references.
    pub regex: String,
    /// What is done with a match; default: the policy's `action`.
    pub action: Option<Action>,
    /// Whether the pattern acts or only records.
    pub mode: Mode,
}

/// `all`, or a list of built-in secret detectors by name (`DATABRICKS_TOKEN`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuiltinSelection {
    /// Every detector.
    All,
    /// These detectors; empty: none.
    Some(Vec<String>),
}

impl Default for BuiltinSelection {
    fn default() -> Self {
        Self::Some(Vec::new())
    }
}

/// As it is written in a pack.
impl Serialize for BuiltinSelection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_str("all"),
            Self::Some(names) => names.serialize(serializer),
        }
    }
}

impl JsonSchema for BuiltinSelection {
    fn schema_name() -> Cow<'static, str> {
        "BuiltinSelection".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "`all`, or a list of built-in secret detectors by name.",
            "anyOf": [{"const": "all"}, generator.subschema_for::<Vec<String>>()]
        })
    }
}

/// Settings of `rbac`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Rbac {
    /// Whether the policy acts or only records.
    pub mode: Mode,
    /// What each role may do.
    pub roles: BTreeMap<String, RbacRole>,
    /// The role of callers that have none.
    pub default_role: Option<String>,
    /// What becomes of callers whose roles are all unlisted: `block` (default) or `allow`.
    pub action: RbacAction,
    /// Callers without a proven identity are refused when this names a header (`X-User-ID`) of the documented
    /// dialect. Default: none.
    pub deny_if_missing: Vec<String>,
    /// Callers without a proven identity are refused.
    pub require_auth: bool,
    /// What becomes of a request for more tokens than the bound: `reject` (default) or `clamp`.
    pub on_excess: OnExcess,
}

/// What one role may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct RbacRole {
    /// Endpoint names; absent: no limit, empty: none.
    pub allowed_models: Option<Vec<String>>,
    /// Upper bound of output tokens a request, times `n`.
    pub max_tokens_per_request: Option<u64>,
    /// `block`: callers with this role are refused, whatever other roles they have.
    pub action: RoleAction,
    /// Tool names with `*` as wild card; absent: no limit, empty: none.
    pub allowed_tools: Option<Vec<String>>,
    /// Tool names with `*` as wild card that are refused, whatever is allowed.
    pub denied_tools: Vec<String>,
    /// `reject` or `clamp`, instead of the policy's.
    pub on_excess: Option<OnExcess>,
}

/// The answer of `rbac` to unlisted roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RbacAction {
    /// Refuse.
    #[default]
    Block,
    /// Let pass without limits.
    Allow,
}

/// The answer of one role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RoleAction {
    /// The role's limits hold.
    #[default]
    Allow,
    /// Callers with the role are refused.
    Block,
}

/// What becomes of a request for more tokens than the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnExcess {
    /// 403 `max_tokens_exceeded`, with the limit.
    #[default]
    Reject,
    /// The bound is set instead, and the record says so.
    Clamp,
}

/// Settings of `audit-logger`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct AuditLogger {
    /// Records are chained and retention can't be shortened. Default `true`.
    pub immutable: bool,
    /// How long records are kept, 1 to 36,500 days. Default 365.
    pub retention_days: u32,
    /// `true` (default): every request; `false`: all but plain allows.
    pub log_all_access: bool,
    /// What must have happened to a record before the request goes on.
    pub durability: Durability,
}

impl Default for AuditLogger {
    fn default() -> Self {
        Self { immutable: true, retention_days: 365, log_all_access: true, durability: Durability::Block }
    }
}

/// What must have happened to a record before the request goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// `fdatasync` has returned: survives a power cut.
    Sync,
    /// `write` has returned: survives a crash of the gateway.
    #[default]
    Block,
    /// It is in the queue: a full queue drops it, and the chain says how many.
    BestEffort,
}

/// Settings of `data-routing-policy`. A target that declares nothing is not compliant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct DataRoutingPolicy {
    /// Whether the policy acts or only records.
    pub mode: Mode,
    /// Only targets that declare `data_policy.zero_data_retention: true`.
    pub require_zero_data_retention: bool,
    /// Only targets that declare `data_policy.training_opt_out: true`.
    pub require_no_training: bool,
    /// Only targets that declare `data_policy.retention_days` of at most this.
    pub max_retention_days: Option<u32>,
    /// Only targets that declare one of these regions; absent: any.
    pub allowed_regions: Option<Vec<String>>,
    /// What happens when no target is left: `block` (default) or `warn`, which goes on with all and records it.
    pub on_no_compliant_provider: OnNoCompliantProvider,
}

/// What happens when no target complies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnNoCompliantProvider {
    /// 403 `no_compliant_target`.
    #[default]
    Block,
    /// Go on with all targets; the record says `would_block`.
    Warn,
}
