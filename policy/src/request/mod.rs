//! A request, read once: a typed view of what decisions need, and every text in it.
//!
//! The walker is the one choke point of the gateway: each endpoint has a function that visits every member of its
//! body, and what it does not know is visited as text. There is no branch that drops a string. What is left out is
//! named: words of the protocol (`"role":"user"`), numbers and booleans of known parameters, the `model` value (it is
//! resolved against the pack, and refused when it names nothing), the base64 of attachments (recorded as not
//! inspected), and token ids (refused while a policy reads content).

mod attachments;
mod bodies;
mod chat;
mod error;
mod pieces;
mod place;
mod responses;
#[cfg(test)]
mod tests;
mod tools;
mod vocabulary;
mod walk;

use std::{borrow::Cow, fmt};

pub use attachments::Attachment;
pub use error::{RequestError, RequestErrorKind};
pub(crate) use pieces::{Piece, in_pieces, sorted};
pub use place::Place;
pub use tools::Tool;
pub(crate) use vocabulary::{is_known_key, is_word};

use crate::{
    detect::Origin,
    json::{Document, Kind, Limits, NodeId},
    verdict::Endpoint,
};

/// What a text of a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldKind {
    /// The content of a message, or of a text part of it.
    Content,
    /// The `name` of a message.
    Name,
    /// A refusal of the model in an earlier turn.
    Refusal,
    /// What the model thought in an earlier turn.
    Reasoning,
    /// Something in the definition of a tool: name, description, schema.
    ToolDefinition,
    /// The arguments or the input of a call that the model made.
    ToolArguments,
    /// The result of a call.
    ToolResult,
    /// An id or a reference.
    Identifier,
    /// Text to embed.
    Input,
    /// The prompt or suffix of a completion.
    Prompt,
    /// The instructions of a response.
    Instructions,
    /// Metadata, `user`, tags.
    Metadata,
    /// A stop sequence.
    Stop,
    /// Something in the schema of a structured answer.
    ResponseFormat,
    /// The address of an attachment that lies elsewhere, or its file name.
    AttachmentReference,
    /// The key of a member that the gateway does not know.
    Key,
    /// Anything else.
    Unknown,
}

/// One text of a request. Its debug form tells the length, never the text.
#[derive(Clone)]
pub struct Field<'b> {
    /// Where it stands: a string, a key or a number.
    pub node: NodeId,
    /// What it is.
    pub kind: FieldKind,
    /// Where it comes from.
    pub origin: Origin,
    /// The decoded text.
    pub text: Cow<'b, str>,
}

impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Field")
            .field("node", &self.node)
            .field("kind", &self.kind)
            .field("origin", &self.origin)
            .field("bytes", &self.text.len())
            .finish()
    }
}

/// The texts of a body with their places: what content policies read, of a request and of an answer alike.
#[derive(Clone, Copy)]
pub(crate) struct Inspected<'b> {
    pub(crate) document: &'b Document<'b>,
    pub(crate) fields: &'b [Field<'b>],
    pub(crate) pieces: &'b [Piece],
}

impl fmt::Debug for Inspected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspected").field("fields", &self.fields.len()).finish_non_exhaustive()
    }
}

/// A named bound of output tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenLimit {
    /// The parameter (`max_tokens`).
    pub name: &'static str,
    /// Its value.
    pub node: NodeId,
    /// The number; `None` when it is `null`.
    pub value: Option<u64>,
    /// Whether it stands at the top of the body, where an edit may change it.
    pub top_level: bool,
    /// Another spelling or a part of the answer (`thinking.budget_tokens`): judged like the others, but no bound that
    /// the gateway relies on.
    pub is_other: bool,
}

/// The parameters that bound output tokens, on any endpoint.
pub(crate) const TOKEN_PARAMETERS: [&str; 4] =
    ["max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens"];

/// What vendors behind Databricks call a bound of output tokens, or of a part of them.
const OTHER_TOKEN_PARAMETERS: [&str; 13] = [
    "maxTokens",
    "maxCompletionTokens",
    "maxOutputTokens",
    "maxNewTokens",
    "maxTokensToSample",
    "maxTokenCount",
    "maxGenLen",
    "numPredict",
    "budgetTokens",
    "thinkingBudget",
    "maxThinkingTokens",
    "reasoningTokens",
    "maxReasoningTokens",
];

/// The parameter of that name, however it is spelled (`max_gen_len`).
fn other_token_parameter(name: &str) -> Option<&'static str> {
    OTHER_TOKEN_PARAMETERS.into_iter().find(|parameter| {
        let letters = name.bytes().filter(|byte| !matches!(byte, b'_' | b'-'));
        letters
            .map(|byte| byte.to_ascii_lowercase())
            .eq(parameter.bytes().map(|byte| byte.to_ascii_lowercase()))
    })
}

/// A parsed request. Its debug form tells sizes, never a text.
#[derive(Clone)]
pub struct Request<'b> {
    endpoint: Endpoint,
    document: Document<'b>,
    model: Cow<'b, str>,
    model_node: NodeId,
    fields: Vec<Field<'b>>,
    pieces: Vec<Piece>,
    attachments: Vec<Attachment<'b>>,
    token_ids: Option<NodeId>,
    tools: Vec<Tool<'b>>,
    token_limits: Vec<TokenLimit>,
    stream: bool,
    stream_options: Option<NodeId>,
    client_request_id: Option<NodeId>,
    choices: u64,
    prompts: u64,
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("endpoint", &self.endpoint)
            .field("document", &self.document)
            .field("fields", &self.fields.len())
            .field("attachments", &self.attachments.len())
            .finish_non_exhaustive()
    }
}

impl<'b> Request<'b> {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`RequestError`], to be answered with 400: the body is not JSON as [`Document::parse`] wants it, or a field that
    /// decisions rest on is missing or of the wrong type.
    pub fn parse(endpoint: Endpoint, body: &'b [u8], limits: &Limits) -> Result<Self, RequestError> {
        let document = Document::parse(body, *limits)?;
        walk::walk(endpoint, document)
    }

    /// The endpoint that it was sent to.
    pub const fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// The body with the place of everything in it.
    pub const fn document(&self) -> &Document<'b> {
        &self.document
    }

    /// The bytes as they came.
    pub const fn body(&self) -> &'b str {
        self.document.text()
    }

    /// The model as asked for: an endpoint name or an alias.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Where the `model` value stands.
    pub const fn model_node(&self) -> NodeId {
        self.model_node
    }

    /// Its texts with their places.
    pub(crate) fn inspected(&self) -> Inspected<'_> {
        Inspected { document: &self.document, fields: &self.fields, pieces: &self.pieces }
    }

    /// Every text, in the order of the body.
    pub fn fields(&self) -> &[Field<'b>] {
        &self.fields
    }

    /// Images, audio and files.
    pub fn attachments(&self) -> &[Attachment<'b>] {
        &self.attachments
    }

    /// The first place where text was replaced by token ids, which cannot be inspected.
    pub const fn token_ids(&self) -> Option<NodeId> {
        self.token_ids
    }

    /// The tools that the request offers to the model.
    pub fn tools(&self) -> &[Tool<'b>] {
        &self.tools
    }

    /// Every parameter that bounds output tokens, under whichever name.
    pub fn token_limits(&self) -> &[TokenLimit] {
        &self.token_limits
    }

    /// The largest named bound of output tokens.
    pub fn max_tokens(&self) -> Option<u64> {
        self.token_limits.iter().filter_map(|limit| limit.value).max()
    }

    /// Whether the answer is to be streamed.
    pub const fn stream(&self) -> bool {
        self.stream
    }

    /// The `stream_options` value.
    pub const fn stream_options(&self) -> Option<NodeId> {
        self.stream_options
    }

    /// Whether the client itself asked for usage in the stream, or asked for none.
    pub fn names_include_usage(&self) -> bool {
        self.stream_options
            .and_then(|options| self.document.get(options, "include_usage"))
            .is_some_and(|value| self.document.kind(value) != Kind::Null)
    }

    /// Whether the client itself asked for usage in the stream.
    pub fn wants_usage(&self) -> bool {
        self.stream_options
            .and_then(|options| self.document.get(options, "include_usage"))
            .is_some_and(|value| self.document.kind(value) == Kind::True)
    }

    /// Whether the client itself sent a `client_request_id`.
    pub const fn names_client_request_id(&self) -> bool {
        self.client_request_id.is_some()
    }

    /// `n` (or `best_of`, when it is larger), at least 1.
    pub const fn choices(&self) -> u64 {
        self.choices
    }

    /// How many answers the model writes: [`Request::choices`] for each prompt of a list.
    pub const fn answers(&self) -> u64 {
        self.choices.saturating_mul(self.prompts)
    }

    /// A rough upper estimate of the input, in tokens: a quarter of the ASCII bytes, every other character one, and a
    /// few for each text.
    pub fn estimated_input_tokens(&self) -> u64 {
        self.fields.iter().fold(0, |sum: u64, field| {
            let ascii = field.text.bytes().filter(u8::is_ascii).count();
            let wide = if ascii == field.text.len() { 0 } else { field.text.chars().count() - ascii };
            sum.saturating_add((ascii.div_ceil(4) + wide + 4) as u64)
        })
    }
}
