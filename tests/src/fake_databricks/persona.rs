//! How an endpoint behaves while it answers: the style of its replies, what it refuses, what it says.
//!
//! A persona starts from the endpoint's model family and is then bent by a behaviour, so that
//! `databricks-claude-sonnet-4-6` with `stream-crlf` is a Claude stream with CRLF.

use std::time::Duration;

/// All that shapes an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Persona {
    pub(crate) style: Style,
    pub(crate) rules: Rules,
    pub(crate) says: Says,
}

/// What the model says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    /// What the prompt asks for (see [`super::answer`]).
    Prompted,
    /// A text whose characters are two, three and four bytes long, unless the prompt says what to say.
    Multibyte,
    /// That many KiB of text.
    Long(u64),
    /// A `refusal` and no content.
    Refusal,
    /// Part of a text, then `finish_reason: content_filter`.
    Filtered,
    /// Nothing: `content` is null.
    Nothing,
    /// Calls of every tool offered, or of `lookup_order` (and `lookup_customer`) where none was.
    Calls { parallel: bool },
}

/// The form of replies and streams.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    pub(crate) usage: UsageStyle,
    pub(crate) carrier: Carrier,
    /// The role stands in every delta rather than in the first.
    pub(crate) role_in_each: bool,
    pub(crate) finish: Finish,
    /// The first chunk has `choices: []`.
    pub(crate) empty_choices: bool,
    /// Chunks without text leave `content` out rather than send an empty string.
    pub(crate) omit_content: bool,
    /// Chat agent: top-level `delta`, `choices` empty.
    pub(crate) agent: bool,
    /// Fragments of parallel tool calls alternate.
    pub(crate) interleave_calls: bool,
    pub(crate) framing: Framing,
    pub(crate) writes: Writes,
    pub(crate) ending: Ending,
    /// Pause between frames.
    pub(crate) pace: Duration,
    /// `stream: true` is answered with one JSON body.
    pub(crate) never_streams: bool,
}

/// Where token counts stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UsageStyle {
    /// In each chunk, cumulative (Llama).
    EachChunk,
    /// In each chunk, null until the last (Claude).
    NullUntilEnd,
    /// In a last chunk without choices, if `stream_options.include_usage` asks (OpenAI).
    OnRequest,
    /// In the last chunk, unasked (Gemini).
    Last,
    /// Nowhere, not even in a unary reply.
    Never,
}

/// Where text and reasoning stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// `content` is a string; there is no reasoning.
    Text,
    /// `content` is a list of parts; reasoning first.
    Parts { signature: bool },
    /// The same, the reasoning encrypted.
    Encrypted,
    /// `reasoning_content` beside `content`.
    ReasoningContent,
}

/// How `finish_reason` is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// Null until the last chunk.
    NullUntilEnd,
    /// The key is absent until the last chunk.
    AbsentUntilEnd,
    /// Never given: `[DONE]` alone ends the stream.
    Never,
}

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// `data: {…}\n\n`.
    Plain,
    /// CRLF line ends.
    Crlf,
    /// No blank after `data:`.
    Tight,
    /// Comment lines between events.
    Comments,
    /// One event over several `data:` lines.
    MultiLine,
    /// `event:`, `id:` and `retry:` lines beside `data:`.
    Fields,
}

/// How frames meet TCP writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    /// One write a frame.
    PerFrame,
    /// All in one.
    Single,
    /// One write a byte.
    EachByte,
    /// Cut inside every character that is longer than a byte.
    InsideCharacters,
}

/// How a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// `data: [DONE]`.
    Done,
    /// An orderly end without `[DONE]`.
    NoDone,
    /// An orderly end half-way: neither `finish_reason` nor `[DONE]`.
    Truncated,
    /// Half a frame half-way, then the connection closes within the message.
    CutMidFrame,
    /// Half a frame half-way, then an orderly end of the message.
    EndMidFrame,
    /// Half-way the connection is reset.
    Reset,
    /// Half-way it falls silent for ever.
    Stall,
    /// Half-way `data: {"error":{…}}`, then an orderly end.
    ErrorEvent,
    /// Half-way the agents' `databricks_output.error`.
    AgentError,
    /// Half-way an event that is not JSON, then on to `[DONE]`.
    NotJson,
    /// Half-way an event of so many KiB, then on to `[DONE]`.
    HugeEvent { kib: u64 },
    /// Never: the last text chunk repeats, paused by `pace`.
    Endless,
    /// Not one event.
    Empty,
}

/// What a request is refused for (`reference/databricks-serving.md` §3.2, §5.1).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) fields: Fields,
    /// A second `system` message, or one that is not the first.
    pub(crate) one_system: bool,
    /// Contents that are lists.
    pub(crate) text_contents: bool,
    /// Claude's list: empty text, `name` of users, unknown message fields, remote images, loose schemas.
    pub(crate) claude: bool,
    /// `temperature`, `top_p`, `top_k` at any value.
    pub(crate) no_sampling: bool,
    /// `strict` in a tool.
    pub(crate) no_strict: bool,
    pub(crate) no_stream_options: bool,
    /// `max_tokens`, naming `max_completion_tokens` instead.
    pub(crate) no_max_tokens: bool,
    /// `max_tokens`, `max_completion_tokens` and `max_output_tokens`.
    pub(crate) no_token_bounds: bool,
    /// Databricks' own extras: `client_request_id`, `usage_context`.
    pub(crate) no_databricks_fields: bool,
    /// Largest `max_tokens`.
    pub(crate) max_output: Option<u64>,
}

/// Which top-level fields a chat request may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fields {
    /// Those that the Foundation Model API documents, and the harmless ones of OpenAI's clients.
    Documented,
    /// All of OpenAI's.
    OpenAi,
    /// Any.
    Any,
}

/// Groups of endpoints that behave alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// Llama, Gemma.
    Llama,
    /// Llama 4 with its empty `choices`.
    Maverick,
    /// DBRX, Mixtral: contents are strings.
    Legacy,
    /// Claude up to Opus 4.6 and Sonnet 4.6.
    Claude,
    /// Claude that refuses sampling parameters.
    ClaudeFixed,
    /// GPT and other models of OpenAI's making; external Azure OpenAI endpoints too.
    OpenAi,
    /// gpt-oss: a list of parts for each token, no signature.
    GptOss,
    /// Gemini 2.x.
    Gemini,
    /// Gemini 3.x: lists of parts.
    Gemini3,
    /// Qwen that always reasons.
    Qwen,
    /// Reasoning beside the content and no `finish_reason` (Inkling).
    Inkling,
    /// Reasoning beside the content (GLM).
    Glm,
}

const LLAMA: Style = Style {
    usage: UsageStyle::EachChunk,
    carrier: Carrier::Text,
    role_in_each: true,
    finish: Finish::NullUntilEnd,
    empty_choices: false,
    omit_content: false,
    agent: false,
    interleave_calls: false,
    framing: Framing::Plain,
    writes: Writes::PerFrame,
    ending: Ending::Done,
    pace: Duration::ZERO,
    never_streams: false,
};

const STRICT: Rules = Rules {
    fields: Fields::Documented,
    one_system: true,
    text_contents: false,
    claude: false,
    no_sampling: false,
    no_strict: true,
    no_stream_options: false,
    no_max_tokens: false,
    no_token_bounds: false,
    no_databricks_fields: false,
    max_output: Some(8192),
};

/// No refusal at all.
pub(crate) const LENIENT: Rules =
    Rules { fields: Fields::Any, one_system: false, no_strict: false, max_output: None, ..STRICT };

impl Persona {
    /// The persona of a family, unbent.
    pub(crate) const fn of(family: Family) -> Self {
        let (style, rules) = match family {
            Family::Llama => (LLAMA, STRICT),
            Family::Maverick => (Style { empty_choices: true, ..LLAMA }, STRICT),
            Family::Legacy => (LLAMA, Rules { text_contents: true, max_output: Some(4096), ..STRICT }),
            Family::Claude | Family::ClaudeFixed => (
                Style { usage: UsageStyle::NullUntilEnd, finish: Finish::AbsentUntilEnd, ..LLAMA },
                Rules {
                    claude: true,
                    no_sampling: matches!(family, Family::ClaudeFixed),
                    max_output: Some(64_000),
                    ..STRICT
                },
            ),
            Family::OpenAi => (
                Style { usage: UsageStyle::OnRequest, role_in_each: false, omit_content: true, ..LLAMA },
                Rules {
                    fields: Fields::OpenAi,
                    one_system: false,
                    no_strict: false,
                    max_output: Some(128_000),
                    ..STRICT
                },
            ),
            Family::GptOss => (
                Style { carrier: Carrier::Parts { signature: false }, ..LLAMA },
                Rules { max_output: Some(25_000), ..STRICT },
            ),
            Family::Gemini | Family::Gemini3 => (
                Style {
                    usage: UsageStyle::Last,
                    role_in_each: false,
                    carrier: if matches!(family, Family::Gemini3) {
                        Carrier::Parts { signature: true }
                    } else {
                        Carrier::Text
                    },
                    ..LLAMA
                },
                Rules { no_stream_options: true, max_output: Some(65_536), ..STRICT },
            ),
            Family::Qwen => (Style { carrier: Carrier::Parts { signature: false }, ..LLAMA }, STRICT),
            Family::Inkling => (
                Style { carrier: Carrier::ReasoningContent, finish: Finish::Never, ..LLAMA },
                Rules { max_output: None, ..STRICT },
            ),
            Family::Glm => {
                (Style { carrier: Carrier::ReasoningContent, ..LLAMA }, Rules { max_output: None, ..STRICT })
            }
        };
        Self { style, rules, says: Says::Prompted }
    }
}
