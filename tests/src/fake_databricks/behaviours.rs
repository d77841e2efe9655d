//! The table of behaviours, and how one is chosen.
//!
//! A behaviour is chosen by, in this order: a rule of the script, the header `x-fake-behaviour: NAME[;ARG]`, the
//! endpoint's name `fake-NAME[-ARG]`. The same table makes the list in `tests/README.md`.

use std::fmt;
use std::fmt::Write as _;
use std::time::Duration;

use super::errors::{self, Subject};
use super::persona::{
    Carrier, Ending, Finish, Framing, LENIENT, Persona, Rules, Says, Style, UsageStyle, Writes,
};
use super::reply::Reply;
use super::wire::tricks;

/// A row of the table.
#[derive(Debug)]
pub struct Behaviour {
    /// Its name; `fake-` before it makes an endpoint.
    pub name: &'static str,
    /// The number that it takes: what it means, and its default.
    pub arg: Option<(&'static str, u64)>,
    /// What it does, for people.
    pub about: &'static str,
    pub(crate) effect: Effect,
}

/// What a behaviour changes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Effect {
    /// Nothing.
    Ordinary,
    /// Answers instead of the model.
    Fault(fn(&Subject<'_>) -> Reply),
    /// Bends the endpoint's persona.
    Persona(fn(Persona, u64) -> Persona),
    /// Spoils the transport of the ordinary answer.
    Wire(fn(Reply, u64) -> Reply),
}

/// A behaviour with its number.
#[derive(Debug, Clone, Copy)]
pub struct Chosen {
    /// The row.
    pub behaviour: &'static Behaviour,
    /// Its number: as given, or the default, or 0.
    pub arg: u64,
}

/// A name that is not in the table, or a number that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no behaviour `{0}`")]
pub struct UnknownBehaviour(pub String);

const fn ordinary(name: &'static str, about: &'static str) -> Behaviour {
    Behaviour { name, arg: None, about, effect: Effect::Ordinary }
}

const fn fault(name: &'static str, about: &'static str, effect: fn(&Subject<'_>) -> Reply) -> Behaviour {
    Behaviour { name, arg: None, about, effect: Effect::Fault(effect) }
}

const fn style(name: &'static str, about: &'static str, effect: fn(Persona, u64) -> Persona) -> Behaviour {
    Behaviour { name, arg: None, about, effect: Effect::Persona(effect) }
}

const fn wire(name: &'static str, about: &'static str, effect: fn(Reply, u64) -> Reply) -> Behaviour {
    Behaviour { name, arg: None, about, effect: Effect::Wire(effect) }
}

impl Behaviour {
    const fn taking(mut self, what: &'static str, default: u64) -> Self {
        self.arg = Some((what, default));
        self
    }
}

const fn styled(persona: Persona, style: Style) -> Persona {
    Persona { style, ..persona }
}

const fn ruled(persona: Persona, rules: Rules) -> Persona {
    Persona { rules, ..persona }
}

fn ending(persona: Persona, ending: Ending) -> Persona {
    styled(persona, Style { ending, ..persona.style })
}

fn framed(persona: Persona, framing: Framing) -> Persona {
    styled(persona, Style { framing, ..persona.style })
}

fn carried(persona: Persona, carrier: Carrier) -> Persona {
    styled(persona, Style { carrier, ..persona.style })
}

fn saying(persona: Persona, says: Says) -> Persona {
    Persona { says, ..persona }
}

/// All behaviours, in the order of the documentation.
pub static TABLE: &[Behaviour] = &[
    ordinary("ok", "the ordinary answer; in a script, lets requests pass"),
    style("lenient", "refuses no field and no value", |p, _| ruled(p, LENIENT)),
    fault("retired", "404, as for a model that Databricks retired", errors::no_such_endpoint),
    // Credentials.
    fault("401", "401, integer code: no credential", errors::no_credential),
    fault("403-invalid-token", "403, integer code: expired or invalid token", errors::invalid_token),
    fault("403-expiring-token", "403: token expiring within 30 seconds", errors::expiring_token),
    fault("403-permission", "403 `PERMISSION_DENIED` with details", errors::permission_denied),
    fault("403-rate-zero", "403: disabled by a rate limit of 0", errors::disabled_by_rate_limit),
    fault("400-invalid-token", "400 \"Invalid Token\"", errors::invalid_token_under_400),
    fault("400-wrong-audience", "400, plain text with a Java exception", errors::wrong_audience),
    fault("200-login-html", "200 with an HTML login page", errors::login_page),
    fault("302-login", "302 to the login page (Private Link)", errors::login_redirect),
    fault("oidc-error", "401 `invalid_client`, for the token endpoint", super::auth::refused),
    fault(
        "oidc-old-error",
        "401 in the older `errorCode` form, for the token endpoint",
        super::auth::refused_old,
    ),
    // 400.
    fault(
        "400-plain",
        "400 `INVALID_PARAMETER_VALUE`, plain `message`: context length",
        errors::plain_message,
    ),
    fault("400-nested-once", "400, `message` is a JSON string", errors::nested_once),
    fault("400-nested-twice", "400, a JSON string in a JSON string: context length", errors::nested_twice),
    fault(
        "400-external",
        "400 with an `external_model_error`: context length",
        errors::external_context_length,
    ),
    fault("400-text", "400, plain text: `max_tokens` too large", errors::text_only),
    fault("400-code-text", "400, plain text `CODE: message`", errors::code_and_text),
    fault("400-error-string", "400 `{\"error\":\"…\"}`", errors::error_string),
    fault("400-error-object", "400 in OpenAI's form", errors::error_object),
    fault("400-grammar", "400, nested: grammar too large", errors::grammar_too_large),
    fault(
        "400-stream-options",
        "400, nested Gemini refusal of `stream_options`",
        errors::stream_options_refused,
    ),
    fault("400-input-guardrail", "400, Databricks' guardrail on the input", errors::input_guardrail),
    fault("400-output-guardrail", "400, Databricks' guardrail on the output", errors::output_guardrail),
    fault("400-rate-limit", "`REQUEST_LIMIT_EXCEEDED` under 400", errors::rate_limited_under_400),
    // 404.
    fault("404-endpoint", "404 `RESOURCE_DOES_NOT_EXIST`", errors::no_such_endpoint),
    fault("404-path", "404 `ENDPOINT_NOT_FOUND`", errors::no_api_here),
    fault("404-model", "404 `NOT_FOUND`, of the gateway surface", errors::no_such_model),
    // Other faults.
    fault("408", "408 `REQUEST_TIMEOUT`", errors::request_timeout),
    fault("413", "413 (body *invented*)", errors::request_too_large),
    fault("429", "429 without `Retry-After`: input tokens per minute", errors::rate_limited),
    fault(
        "429-retry-after",
        "the same with `Retry-After` and a rate header",
        errors::rate_limited_retry_after,
    )
    .taking("seconds", 7),
    fault("429-output-tokens", "429: output tokens per minute", errors::rate_limited_output),
    fault("429-qps", "429: queries per second", errors::rate_limited_qps),
    fault("429-resource", "429 `RESOURCE_EXHAUSTED`", errors::resource_exhausted),
    fault(
        "429-documented",
        "429 in the documented form, `error.retry_after`",
        errors::rate_limited_documented,
    )
    .taking("seconds", 15),
    fault("499", "499 `CANCELLED`", errors::cancelled),
    fault("500", "500 `INTERNAL_ERROR`", errors::internal_error),
    fault("500-empty", "500 without a body", errors::empty_500),
    fault("501", "501 `NOT_IMPLEMENTED`", errors::not_implemented),
    fault("502", "502 `BAD_GATEWAY`", errors::bad_gateway),
    fault("502-html", "502 with a proxy's HTML page", errors::bad_gateway_html),
    fault("503", "503 `TEMPORARILY_UNAVAILABLE`", errors::unavailable),
    fault("503-retry-after", "the same with `Retry-After`", errors::unavailable_retry_after)
        .taking("seconds", 3),
    fault("504", "504 `TEMPORARILY_UNAVAILABLE`: taking too long", errors::gateway_timeout),
    fault("504-deadline", "504 `DEADLINE_EXCEEDED`", errors::deadline_exceeded),
    fault("200-empty", "200 without a body", errors::empty_200),
    fault("200-cut-json", "200 with half a JSON body", errors::cut_json),
    fault("200-array", "200 with a JSON array", errors::json_array),
    fault("200-error", "200 with an error envelope", errors::error_under_200),
    // Transport.
    wire("redirect", "3xx to another endpoint of this fake", tricks::redirect).taking("status", 302),
    wire("101", "101 unasked; then the connection echoes", tricks::switching_protocols),
    wire("not-http", "bytes that are no HTTP", tricks::not_http),
    wire("bad-chunk", "a chunk size that is no number", tricks::bad_chunk),
    wire("both-lengths", "`content-length` and `transfer-encoding`", tricks::both_lengths),
    wire("two-lengths", "two different `content-length`s", tricks::two_lengths),
    wire("extra-response", "a second response behind the first", tricks::extra_response),
    wire("gzip", "the ordinary answer, gzipped unasked", tricks::zipped),
    wire("gzip-bomb", "gzip that inflates 159 times, without end", tricks::zip_bomb)
        .taking("MiB inflated", 1024),
    wire("huge-header", "a long header", tricks::huge_header).taking("KiB", 64),
    wire("many-headers", "many headers", tricks::many_headers).taking("count", 200),
    wire("stray-headers", "headers that must not travel on", tricks::stray_headers),
    wire("wrong-type", "the ordinary answer as `application/octet-stream`", tricks::wrong_type),
    wire("slow-first-byte", "the ordinary answer, its head late", tricks::slow_first_byte).taking("ms", 1000),
    wire("slow-body", "the head at once, the body late", tricks::slow_body).taking("ms", 1000),
    wire("stall", "no answer ever", tricks::never_answers),
    wire("stall-after-head", "the head, then nothing ever", tricks::stall_after_head),
    wire("close-before-head", "the connection closes instead of an answer", tricks::close_before_head),
    wire("reset-before-head", "the connection is reset instead of an answer", tricks::reset_before_head),
    wire("reset-after-head", "the connection is reset after the head", tricks::reset_after_head),
    wire("close-mid-body", "the connection closes within the announced length", tricks::close_mid_body),
    wire("close-after", "the ordinary answer with `connection: close`", tricks::close_after),
    wire("drip", "the body byte by byte", tricks::drip).taking("ms a byte", 1),
    wire("endless-body", "a unary body without end", tricks::endless_body),
    // Streams.
    style("stream-llama", "cumulative usage in each chunk, role in each delta", |p, _| {
        styled(p, Style { usage: UsageStyle::EachChunk, role_in_each: true, ..p.style })
    }),
    style("stream-claude", "usage null until the end, `finish_reason` absent until the end", |p, _| {
        styled(p, Style { usage: UsageStyle::NullUntilEnd, finish: Finish::AbsentUntilEnd, ..p.style })
    }),
    style("stream-external", "usage only with `stream_options.include_usage`", |p, _| {
        styled(p, Style { usage: UsageStyle::OnRequest, role_in_each: false, ..p.style })
    }),
    style("stream-gemini", "400 on `stream_options`; usage in the last chunk", |p, _| Persona {
        style: Style { usage: UsageStyle::Last, ..p.style },
        rules: Rules { no_stream_options: true, ..p.rules },
        ..p
    }),
    style("stream-no-usage", "no usage at all, unary replies included", |p, _| {
        styled(p, Style { usage: UsageStyle::Never, ..p.style })
    }),
    style("stream-empty-choices", "a first chunk with `choices: []`", |p, _| {
        styled(p, Style { empty_choices: true, ..p.style })
    }),
    style("stream-no-content-key", "deltas without `content` where there is no text", |p, _| {
        styled(p, Style { omit_content: true, ..p.style })
    }),
    style("stream-no-finish-reason", "`finish_reason` stays null, only `[DONE]` ends", |p, _| {
        styled(p, Style { finish: Finish::Never, ..p.style })
    }),
    style("stream-finish-key-absent", "`finish_reason` absent until the last chunk", |p, _| {
        styled(p, Style { finish: Finish::AbsentUntilEnd, ..p.style })
    }),
    style("stream-reasoning-list", "content lists: reasoning with signature, then text", |p, _| {
        carried(p, Carrier::Parts { signature: true })
    }),
    style("stream-gpt-oss", "a content list for each token, no signature", |p, _| {
        carried(p, Carrier::Parts { signature: false })
    }),
    style("stream-reasoning-encrypted", "content lists with `summary_encrypted_text`", |p, _| {
        carried(p, Carrier::Encrypted)
    }),
    style("stream-reasoning-content", "`reasoning_content` deltas", |p, _| {
        carried(p, Carrier::ReasoningContent)
    }),
    style("stream-tool-call", "a tool call in fragments", |p, _| saying(p, Says::Calls { parallel: false })),
    style("stream-tool-calls", "parallel tool calls, one after the other", |p, _| {
        saying(p, Says::Calls { parallel: true })
    }),
    style("stream-tool-calls-mixed", "parallel tool calls, their fragments alternating", |p, _| {
        saying(styled(p, Style { interleave_calls: true, ..p.style }), Says::Calls { parallel: true })
    }),
    style("stream-agent", "chat agent: top-level `delta`, `choices: []`", |p, _| {
        styled(p, Style { agent: true, usage: UsageStyle::Never, ..p.style })
    }),
    style("stream-agent-error", "an agent's error event half-way", |p, _| {
        let p = styled(p, Style { agent: true, usage: UsageStyle::Never, ..p.style });
        ending(p, Ending::AgentError)
    }),
    style("stream-error-event", "`data: {\"error\":…}` half-way (form *invented*)", |p, _| {
        ending(p, Ending::ErrorEvent)
    }),
    style("stream-cut-midframe", "the connection closes inside a frame", |p, _| {
        ending(p, Ending::CutMidFrame)
    }),
    style("stream-end-midframe", "an orderly end inside a frame", |p, _| ending(p, Ending::EndMidFrame)),
    style("stream-no-done", "no `[DONE]`", |p, _| ending(p, Ending::NoDone)),
    style("stream-truncated", "an orderly end half-way: neither `finish_reason` nor `[DONE]`", |p, _| {
        ending(p, Ending::Truncated)
    }),
    style("stream-reset", "the connection is reset half-way", |p, _| ending(p, Ending::Reset)),
    style("stream-stall", "silence for ever from half-way", |p, _| ending(p, Ending::Stall)),
    style("stream-empty", "200 and not one event", |p, _| ending(p, Ending::Empty)),
    style("stream-not-json", "an event half-way that is no JSON", |p, _| ending(p, Ending::NotJson)),
    style("stream-huge-event", "an event of that size half-way", |p, kib| {
        ending(p, Ending::HugeEvent { kib })
    })
    .taking("KiB", 2048),
    style("stream-endless", "chunks without end, paused", |p, ms| {
        ending(styled(p, Style { pace: Duration::from_millis(ms), ..p.style }), Ending::Endless)
    })
    .taking("ms between", 10),
    style("stream-flood", "chunks without end, as fast as they are taken", |p, _| {
        ending(styled(p, Style { pace: Duration::ZERO, ..p.style }), Ending::Endless)
    }),
    style("stream-slow", "the ordinary stream, paused", |p, ms| {
        styled(p, Style { pace: Duration::from_millis(ms), ..p.style })
    })
    .taking("ms between", 50),
    style("stream-comments", "`:` comment lines between events", |p, _| framed(p, Framing::Comments)),
    style("stream-crlf", "CRLF line ends", |p, _| framed(p, Framing::Crlf)),
    style("stream-tight", "no blank after `data:`", |p, _| framed(p, Framing::Tight)),
    style("stream-multiline", "events over two `data:` lines", |p, _| framed(p, Framing::MultiLine)),
    style("stream-fields", "`event:`, `id:` and `retry:` lines", |p, _| framed(p, Framing::Fields)),
    style("stream-split-utf8", "TCP writes that end inside characters", |p, _| {
        saying(styled(p, Style { writes: Writes::InsideCharacters, ..p.style }), Says::Multibyte)
    }),
    style("stream-byte-by-byte", "a TCP write for each byte", |p, _| {
        styled(p, Style { writes: Writes::EachByte, ..p.style })
    }),
    style("stream-one-write", "the whole stream in one TCP write", |p, _| {
        styled(p, Style { writes: Writes::Single, ..p.style })
    }),
    style("stream-ignored", "`stream: true` answered with one JSON body", |p, _| {
        styled(p, Style { never_streams: true, ..p.style })
    }),
    // What the model says.
    style("says-nothing", "`content: null`", |p, _| saying(p, Says::Nothing)),
    style("says-refusal", "a `refusal`", |p, _| saying(p, Says::Refusal)),
    style("says-filtered", "`finish_reason: content_filter`", |p, _| saying(p, Says::Filtered)),
    style("says-much", "a text of that size", |p, kib| saying(p, Says::Long(kib))).taking("KiB", 256),
    // What the endpoint refuses.
    style("refuse-sampling", "400 on `temperature`, `top_p`, `top_k`, as Opus 4.8 does", |p, _| {
        ruled(p, Rules { no_sampling: true, ..p.rules })
    }),
    style("refuse-stream-options", "400 on `stream_options`", |p, _| {
        ruled(p, Rules { no_stream_options: true, ..p.rules })
    }),
    style("refuse-max-tokens", "400 on `max_tokens`; takes `max_completion_tokens`", |p, _| {
        ruled(p, Rules { no_max_tokens: true, fields: super::persona::Fields::OpenAi, ..p.rules })
    }),
    style("refuse-token-bounds", "400 on any parameter that bounds the output", |p, _| {
        ruled(p, Rules { no_token_bounds: true, ..p.rules })
    }),
    style("refuse-token-bounds-claude", "the same, in a Claude stream", |p, _| {
        let p =
            styled(p, Style { usage: UsageStyle::NullUntilEnd, finish: Finish::AbsentUntilEnd, ..p.style });
        ruled(p, Rules { no_token_bounds: true, ..p.rules })
    }),
    style("refuse-token-bounds-bytes", "the same, CRLF line ends and a TCP write for each byte", |p, _| {
        let style =
            Style { usage: UsageStyle::Never, writes: Writes::EachByte, framing: Framing::Crlf, ..p.style };
        ruled(styled(p, style), Rules { no_token_bounds: true, ..p.rules })
    }),
    style("refuse-token-bounds-endless", "the same; chunks without end", |p, _| {
        let p = ruled(p, Rules { no_token_bounds: true, ..p.rules });
        let style = Style { usage: UsageStyle::Never, pace: Duration::from_millis(1), ..p.style };
        ending(styled(p, style), Ending::Endless)
    }),
    style("refuse-token-bounds-whole", "the same; `stream: true` answered with one JSON body", |p, _| {
        ruled(styled(p, Style { never_streams: true, ..p.style }), Rules { no_token_bounds: true, ..p.rules })
    }),
    style("refuse-request-id", "400 on `client_request_id` and `usage_context`", |p, _| {
        ruled(p, Rules { no_databricks_fields: true, ..p.rules })
    }),
    style("refuse-lists", "400 on contents that are lists, as older models", |p, _| {
        ruled(p, Rules { text_contents: true, ..p.rules })
    }),
];

impl Chosen {
    /// From `NAME` or `NAME;ARG`.
    pub fn parse(text: &str) -> Result<Self, UnknownBehaviour> {
        let unknown = || UnknownBehaviour(text.to_owned());
        let (name, arg) = text.split_once(';').map_or((text, None), |(name, arg)| (name, Some(arg)));
        let behaviour = find(name.trim()).ok_or_else(unknown)?;
        let default = behaviour.arg.map_or(0, |(_, default)| default);
        let arg = arg.map_or(Ok(default), |arg| arg.trim().parse().map_err(|_| unknown()))?;
        Ok(Self { behaviour, arg })
    }

    /// From an endpoint `fake-NAME` or `fake-NAME-ARG`; a name that is in the table as it stands wins.
    pub fn from_endpoint(endpoint: &str) -> Option<Self> {
        let name = endpoint.strip_prefix("fake-")?;
        if let Some(behaviour) = find(name) {
            return Some(Self { behaviour, arg: behaviour.arg.map_or(0, |(_, default)| default) });
        }
        let (name, arg) = name.rsplit_once('-')?;
        let behaviour = find(name).filter(|behaviour| behaviour.arg.is_some())?;
        Some(Self { behaviour, arg: arg.parse().ok()? })
    }
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.behaviour.name)?;
        if self.behaviour.arg.is_some() {
            write!(f, ";{}", self.arg)?;
        }
        Ok(())
    }
}

fn find(name: &str) -> Option<&'static Behaviour> {
    TABLE.iter().find(|behaviour| behaviour.name == name)
}

/// The table in Markdown, as `tests/README.md` has it.
pub fn markdown() -> String {
    let mut out = String::from("| endpoint | number | what it does |\n| --- | --- | --- |\n");
    for behaviour in TABLE {
        let arg = behaviour.arg.map_or_else(String::new, |(what, default)| format!("{what} ({default})"));
        // Writing to a string cannot fail.
        let _ = writeln!(out, "| `fake-{}` | {arg} | {} |", behaviour.name, behaviour.about);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = TABLE.iter().map(|behaviour| behaviour.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }

    #[test]
    fn an_endpoint_name_may_end_with_the_number() {
        let chosen = |name| Chosen::from_endpoint(name).map(|chosen| chosen.to_string());
        assert_eq!(chosen("fake-slow-first-byte-250").as_deref(), Some("slow-first-byte;250"));
        assert_eq!(chosen("fake-slow-first-byte").as_deref(), Some("slow-first-byte;1000"));
        assert_eq!(chosen("fake-429").as_deref(), Some("429"));
        assert_eq!(chosen("fake-500-7"), None, "it takes no number");
        assert_eq!(chosen("databricks-dbrx-instruct"), None);
    }

    #[test]
    fn a_behaviour_that_does_not_exist_is_named() {
        assert_eq!(Chosen::parse("no-such").unwrap_err().to_string(), "there is no behaviour `no-such`");
        assert!(Chosen::parse("drip;fast").is_err());
        assert_eq!(Chosen::parse("drip; 5").unwrap().arg, 5);
    }

    #[test]
    fn the_readme_has_this_table() {
        let readme = include_str!("../../README.md");
        assert!(
            readme.contains(&markdown()),
            "run `kt-fake-databricks --list-behaviours` into tests/README.md"
        );
    }
}
