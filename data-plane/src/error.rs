//! What can go wrong with a request: what it is, who is to blame, whether trying again helps, and a stable code.
//!
//! Everything that the caller, the record, the log and the metrics say of a failure comes from [`GatewayError`]; none
//! of them looks at a message. Texts of upstreams ([`Answer::message`]) go to the caller alone.

use std::{borrow::Cow, fmt, time::Duration};

use http::{HeaderMap, StatusCode};
use kt_policy::verdict::PolicyKind;

use crate::wire::Fault;

/// Who is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The request is at fault.
    Client,
    /// A policy forbids it.
    Policy,
    /// The upstream failed, or refused.
    Upstream,
    /// The gateway cannot do it now, or has a fault of its own.
    Gateway,
}

impl Blame {
    /// The name as written in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Policy => "policy",
            Self::Upstream => "upstream",
            Self::Gateway => "gateway",
        }
    }
}

/// Whether the caller should try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same request gives the same answer; said with `x-should-retry: false`, since OpenAI's clients retry some
    /// of these statuses by themselves.
    Never,
    /// After so long; said with `Retry-After`.
    After(Duration),
    /// As the caller likes.
    Unsaid,
}

/// Why a credential was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CredentialFault {
    /// None was presented, and the gateway wants one.
    #[error("this gateway wants a credential: send `Authorization: Bearer kt_gk_…`")]
    Missing,
    /// Not `Bearer` with one token.
    #[error("the `Authorization` header is malformed: send `Authorization: Bearer kt_gk_…`")]
    Malformed,
    /// Not a key that the gateway knows.
    #[error("the credential is not known to this gateway: ask its operator for a gateway key")]
    Unknown,
    /// A key whose time is over.
    #[error("the gateway key has expired: ask the operator of this gateway for a new one")]
    Expired,
    /// A Databricks token: it belongs to the gateway, not to its callers.
    #[error(
        "a Databricks token is not a credential for this gateway: send a gateway key (`kt_gk_…`), and rotate the \
         token, since it has left your hands"
    )]
    DatabricksToken,
}

impl CredentialFault {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing_credential",
            Self::Malformed => "malformed_credential",
            Self::Unknown => "invalid_api_key",
            Self::Expired => "expired_api_key",
            Self::DatabricksToken => "databricks_token_refused",
        }
    }
}

/// A refusal by the policies of the pack, or by its targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRefusal {
    /// The status.
    pub status: StatusCode,
    /// OpenAI's type.
    pub kind: &'static str,
    /// `input_blocked`, `model_not_allowed`, `role_required`, ….
    pub code: &'static str,
    /// The policy, when one decided.
    pub policy: Option<PolicyKind>,
    /// Its rule.
    pub rule: Option<std::sync::Arc<str>>,
    /// The field at fault (`messages[7].content`).
    pub param: Option<Cow<'static, str>>,
    /// For the caller.
    pub message: String,
    /// The bound that was exceeded.
    pub limit: Option<u64>,
}

impl From<&kt_policy::evaluate::Refusal> for PolicyRefusal {
    fn from(refusal: &kt_policy::evaluate::Refusal) -> Self {
        Self {
            status: StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::FORBIDDEN),
            kind: refusal.kind.as_str(),
            code: refusal.code,
            policy: refusal.policy,
            rule: refusal.rule.clone(),
            param: refusal.param.clone(),
            message: refusal.message.clone(),
            limit: refusal.limit,
        }
    }
}

impl PolicyRefusal {
    /// Whether a content policy blocked the request.
    pub fn is_block(&self) -> bool {
        self.status == StatusCode::CONFLICT
    }
}

/// The refusal of an upstream in OpenAI's words.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// As the upstream gave it.
    pub status: StatusCode,
    /// OpenAI's type (`invalid_request_error`).
    pub kind: &'static str,
    /// OpenAI's code (`context_length_exceeded`).
    pub code: Cow<'static, str>,
    /// The upstream's text, unwrapped: for the caller alone.
    pub message: String,
    /// The field at fault.
    pub param: Option<String>,
    /// The upstream's request id.
    pub request_id: Option<String>,
    /// How long the upstream asks to wait.
    pub retry_after: Option<Duration>,
    /// Its headers that the caller gets: limits, and the upstream's request id.
    pub headers: HeaderMap,
    /// What the refusal means for routing.
    pub class: AnswerClass,
}

impl fmt::Debug for Answer {
    /// Without the texts: they can repeat a prompt.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("class", &self.class)
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}

/// What a refusal of an upstream means for routing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AnswerClass {
    /// Too many requests or tokens: another target may do.
    RateLimit,
    /// The upstream failed: another target may do.
    ServerError,
    /// The gateway's own credential was refused.
    Credential,
    /// The request was refused: every target would.
    Request,
}

/// What can go wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    /// The guard below hyper refused the head.
    #[error("{0}")]
    Wire(Fault),
    /// No such path.
    #[error(
        "not governed here: this gateway serves `/v1/chat/completions`, `/v1/completions`, `/v1/embeddings`, `/v1/responses` and `/v1/models`"
    )]
    NotGoverned,
    /// The path exists, the method does not fit.
    #[error("the method is not allowed here: use `{allow}`")]
    MethodNotAllowed {
        /// What is allowed.
        allow: &'static str,
    },
    /// The body is not JSON by its `Content-Type`, or is compressed.
    #[error("the body must be sent as plain `application/json`")]
    UnsupportedMediaType,
    /// The body is larger than allowed.
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge {
        /// Bytes.
        limit: usize,
    },
    /// The body did not arrive in time.
    #[error("the body of the request did not arrive in time")]
    BodyTimeout,
    /// The body broke off or is framed wrongly.
    #[error("the body of the request broke off")]
    BodyBroken,
    /// The body is no request of this endpoint.
    #[error("{message}")]
    Malformed {
        /// `invalid_json`, `duplicate_key`, ….
        code: &'static str,
        /// For the caller.
        message: String,
        /// The field at fault.
        param: Option<String>,
    },
    /// The credential is missing or bad.
    #[error("{0}")]
    Credential(CredentialFault),
    /// Too many requests at once.
    #[error("the gateway is answering as many requests as it may: try again shortly")]
    Busy,
    /// The gateway is going away.
    #[error("the gateway is shutting down: try again, another one will answer")]
    Draining,
    /// No pack has arrived from the control plane yet.
    #[error("this gateway has no pack yet: its control plane has not sent one")]
    NoPack,
    /// The control plane was not heard for longer than the operator allows.
    #[error("this gateway has not heard of its control plane for longer than its operator allows")]
    PolicyTooOld,
    /// Records cannot be written, and the pack wants them.
    #[error("requests cannot be recorded at the moment, and this pack does not allow them unrecorded")]
    AuditUnavailable,
    /// A policy refuses, or no target serves the model.
    #[error("{}", .0.message)]
    Refused(Box<PolicyRefusal>),
    /// No target can be used for now (its secret is missing, say).
    #[error("no target for this model can be used at the moment: {reason}")]
    TargetUnavailable {
        /// Why, without names of secrets.
        reason: &'static str,
    },
    /// The upstream refused.
    #[error("{}", .0.message)]
    Upstream(Box<Answer>),
    /// The upstream cannot be reached, or broke off.
    #[error("{0}")]
    UpstreamFailed(UpstreamFault),
    /// A fault of the gateway.
    #[error("the gateway failed to handle the request")]
    Internal {
        /// The stage, for the log.
        stage: &'static str,
    },
}

/// How an upstream failed without an answer that could be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum UpstreamFault {
    /// No connection.
    #[error("the upstream cannot be reached")]
    Unreachable,
    /// The connection broke before the answer was complete.
    #[error("the upstream broke off its answer")]
    BrokeOff,
    /// No first byte in time.
    #[error("the upstream did not answer in time")]
    FirstByteTimeout,
    /// The answer was not complete in time.
    #[error("the upstream did not complete its answer in time")]
    TotalTimeout,
    /// A stream rested too long.
    #[error("the upstream stopped sending")]
    IdleTimeout,
    /// A redirect: never followed.
    #[error("the upstream answered with a redirect, which is never followed")]
    Redirect,
    /// An informational or otherwise senseless status.
    #[error("the upstream answered with a status that makes no sense here")]
    UnexpectedStatus,
    /// A success that is not JSON or not a stream.
    #[error("the upstream answered with something that is not JSON")]
    NotJson,
    /// A success without a body.
    #[error("the upstream answered with an empty body")]
    Empty,
    /// Compressed without being asked: it is not unpacked, so it cannot be judged.
    #[error("the upstream answered in a content encoding that was not asked for")]
    Encoded,
    /// More than the gateway takes in.
    #[error("the upstream's answer is too large")]
    TooLarge,
    /// A stream that ended with neither `finish_reason` nor `[DONE]`.
    #[error("the upstream ended the stream before the answer was complete")]
    StreamCut,
    /// A whole answer where only a stream can be bounded.
    #[error("the upstream did not stream its answer, so that its length could not be bounded")]
    NotStreamed,
    /// An answer that can't be read, so that the policies can't judge it.
    #[error("the upstream answered with something that the policies of this gateway can't inspect")]
    NotInspectable,
    /// The upstream reported a failure inside the stream.
    #[error("the upstream failed inside the stream")]
    StreamError,
}

impl UpstreamFault {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unreachable => "upstream_unreachable",
            Self::BrokeOff => "upstream_broke_off",
            Self::FirstByteTimeout => "upstream_timeout",
            Self::TotalTimeout => "upstream_total_timeout",
            Self::IdleTimeout => "upstream_idle_timeout",
            Self::Redirect => "upstream_redirect",
            Self::UnexpectedStatus => "upstream_unexpected_status",
            Self::NotJson => "upstream_not_json",
            Self::Empty => "upstream_empty_answer",
            Self::Encoded => "upstream_content_encoding",
            Self::TooLarge => "upstream_answer_too_large",
            Self::StreamCut => "upstream_stream_cut",
            Self::NotStreamed => "upstream_not_streamed",
            Self::NotInspectable => "upstream_not_inspectable",
            Self::StreamError => "upstream_stream_error",
        }
    }

    /// Whether it is a matter of time.
    pub const fn is_timeout(self) -> bool {
        matches!(self, Self::FirstByteTimeout | Self::TotalTimeout | Self::IdleTimeout)
    }
}

impl GatewayError {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Wire(fault) => fault.status(),
            Self::NotGoverned => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyBroken | Self::Malformed { .. } => StatusCode::BAD_REQUEST,
            Self::Credential(_) => StatusCode::UNAUTHORIZED,
            Self::Busy
            | Self::Draining
            | Self::NoPack
            | Self::PolicyTooOld
            | Self::AuditUnavailable
            | Self::TargetUnavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Refused(refusal) => refusal.status,
            Self::Upstream(answer) => answer.status,
            Self::UpstreamFailed(fault) if fault.is_timeout() => StatusCode::GATEWAY_TIMEOUT,
            Self::UpstreamFailed(_) => StatusCode::BAD_GATEWAY,
            Self::Internal { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The stable code.
    pub fn code(&self) -> &str {
        match self {
            Self::Wire(fault) => fault.code(),
            Self::NotGoverned => "not_governed",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::BodyTooLarge { .. } => "request_too_large",
            Self::BodyTimeout => "body_timeout",
            Self::BodyBroken => "body_broken",
            Self::Malformed { code, .. } => code,
            Self::Credential(fault) => fault.code(),
            Self::Busy => "gateway_busy",
            Self::Draining => "gateway_draining",
            Self::NoPack => "no_pack",
            Self::PolicyTooOld => "policy_too_old",
            Self::AuditUnavailable => "audit_unavailable",
            Self::Refused(refusal) => refusal.code,
            Self::TargetUnavailable { .. } => "target_unavailable",
            Self::Upstream(answer) => &answer.code,
            Self::UpstreamFailed(fault) => fault.code(),
            Self::Internal { .. } => "internal_error",
        }
    }

    /// A code out of a fixed set: for metrics, where what an upstream writes must not become a label.
    pub fn metric_code(&self) -> &'static str {
        match self {
            Self::Wire(fault) => fault.code(),
            Self::Malformed { code, .. } => code,
            Self::Credential(fault) => fault.code(),
            Self::Refused(refusal) => refusal.code,
            Self::UpstreamFailed(fault) => fault.code(),
            Self::Upstream(answer) => match answer.class {
                AnswerClass::RateLimit => "upstream_rate_limit",
                AnswerClass::ServerError => "upstream_server_error",
                AnswerClass::Credential => "upstream_credential_refused",
                AnswerClass::Request => "upstream_refused",
            },
            Self::NotGoverned => "not_governed",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::BodyTooLarge { .. } => "request_too_large",
            Self::BodyTimeout => "body_timeout",
            Self::BodyBroken => "body_broken",
            Self::Busy => "gateway_busy",
            Self::Draining => "gateway_draining",
            Self::NoPack => "no_pack",
            Self::PolicyTooOld => "policy_too_old",
            Self::AuditUnavailable => "audit_unavailable",
            Self::TargetUnavailable { .. } => "target_unavailable",
            Self::Internal { .. } => "internal_error",
        }
    }

    /// OpenAI's error type.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Credential(_) => "authentication_error",
            Self::Refused(refusal) => refusal.kind,
            Self::Upstream(answer) => answer.kind,
            Self::UpstreamFailed(_) => "upstream_error",
            Self::Busy
            | Self::Draining
            | Self::NoPack
            | Self::PolicyTooOld
            | Self::AuditUnavailable
            | Self::TargetUnavailable { .. }
            | Self::Internal { .. } => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// Who is to blame.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Refused(_) => Blame::Policy,
            Self::Upstream(answer) if answer.class == AnswerClass::Request => Blame::Client,
            Self::Upstream(_) | Self::UpstreamFailed(_) => Blame::Upstream,
            Self::Busy
            | Self::Draining
            | Self::NoPack
            | Self::PolicyTooOld
            | Self::AuditUnavailable
            | Self::TargetUnavailable { .. }
            | Self::Internal { .. } => Blame::Gateway,
            _ => Blame::Client,
        }
    }

    /// Whether the caller should try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Busy | Self::Draining => Retry::After(Duration::from_secs(1)),
            Self::AuditUnavailable | Self::NoPack | Self::PolicyTooOld | Self::TargetUnavailable { .. } => {
                Retry::After(Duration::from_secs(5))
            }
            Self::Refused(refusal) if refusal.is_block() => Retry::Never,
            Self::Upstream(answer) => match (answer.class, answer.retry_after) {
                (_, Some(after)) => Retry::After(after),
                // The official SDK waits one second where Databricks names no time; the limits count by the minute.
                (AnswerClass::RateLimit, None) => Retry::After(Duration::from_secs(1)),
                _ => Retry::Unsaid,
            },
            Self::UpstreamFailed(
                UpstreamFault::Redirect
                | UpstreamFault::Encoded
                | UpstreamFault::NotJson
                | UpstreamFault::NotInspectable,
            ) => Retry::Never,
            _ => Retry::Unsaid,
        }
    }

    /// The field at fault.
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::Malformed { param, .. } => param.as_deref(),
            Self::Refused(refusal) => refusal.param.as_deref(),
            Self::Upstream(answer) => answer.param.as_deref(),
            _ => None,
        }
    }
}

impl From<Fault> for GatewayError {
    fn from(fault: Fault) -> Self {
        Self::Wire(fault)
    }
}

impl From<CredentialFault> for GatewayError {
    fn from(fault: CredentialFault) -> Self {
        Self::Credential(fault)
    }
}

impl From<UpstreamFault> for GatewayError {
    fn from(fault: UpstreamFault) -> Self {
        Self::UpstreamFailed(fault)
    }
}
