//! The walker: what all endpoints share. Every text goes through [`Walker::visit`].

use std::borrow::Cow;

use super::{
    Attachment, Field, FieldKind, Piece, Request, RequestError, RequestErrorKind, TOKEN_PARAMETERS,
    TokenLimit, Tool, other_token_parameter, pieces, vocabulary,
};
use crate::{
    detect::Origin,
    json::{Document, Kind, NodeId},
    verdict::Endpoint,
};

pub(super) struct Walker<'b> {
    pub(super) document: Document<'b>,
    pub(super) fields: Vec<Field<'b>>,
    pub(super) pieces: Vec<Piece>,
    pub(super) attachments: Vec<Attachment<'b>>,
    pub(super) token_ids: Option<NodeId>,
    pub(super) tools: Vec<Tool<'b>>,
    token_limits: Vec<TokenLimit>,
    stream: bool,
    stream_options: Option<NodeId>,
    client_request_id: Option<NodeId>,
    choices: u64,
    pub(super) prompts: u64,
}

pub(super) fn walk(endpoint: Endpoint, document: Document<'_>) -> Result<Request<'_>, RequestError> {
    let root = document.root();
    if document.kind(root) != Kind::Object {
        return Err(RequestError {
            kind: RequestErrorKind::WrongType { expected: "a JSON object" },
            param: None,
        });
    }
    let mut walker = Walker {
        fields: Vec::with_capacity(16),
        document,
        pieces: Vec::new(),
        attachments: Vec::new(),
        token_ids: None,
        tools: Vec::new(),
        token_limits: Vec::new(),
        stream: false,
        stream_options: None,
        client_request_id: None,
        choices: 1,
        prompts: 1,
    };
    let model_node = walker.model(root)?;
    match endpoint {
        Endpoint::ChatCompletions => walker.chat(root)?,
        Endpoint::Completions => walker.completions(root)?,
        Endpoint::Embeddings => walker.embeddings(root)?,
        Endpoint::Responses => walker.responses(root)?,
    }
    Ok(Request {
        endpoint,
        model: walker.document.decoded(model_node),
        model_node,
        document: walker.document,
        fields: walker.fields,
        pieces: pieces::sorted(walker.pieces),
        attachments: walker.attachments,
        token_ids: walker.token_ids,
        tools: walker.tools,
        token_limits: walker.token_limits,
        stream: walker.stream,
        stream_options: walker.stream_options,
        client_request_id: walker.client_request_id,
        choices: walker.choices,
        prompts: walker.prompts.max(1),
    })
}

impl Walker<'_> {
    /// The one way for a text into the list of fields: strings but words of the protocol, keys that the protocol does
    /// not know, and numbers (of places where the protocol knows no number).
    pub(super) fn visit(&mut self, node: NodeId, kind: FieldKind, origin: Origin) {
        match self.document.kind(node) {
            Kind::String => {
                let text = self.document.decoded(node);
                let word = self
                    .document
                    .nearest_key(node)
                    .is_some_and(|key| vocabulary::is_word(&self.document.decoded(key), &text));
                if !word && !text.is_empty() {
                    self.fields.push(Field { node, kind, origin, text });
                }
            }
            Kind::Key => {
                let text = self.document.decoded(node);
                if !vocabulary::is_known_key(&text) && !text.is_empty() {
                    self.fields.push(Field { node, kind: FieldKind::Key, origin: Origin::Other, text });
                }
            }
            Kind::Number => {
                let text = Cow::Borrowed(self.document.raw(node));
                self.fields.push(Field { node, kind, origin, text });
            }
            Kind::Object | Kind::Array | Kind::True | Kind::False | Kind::Null => {}
        }
    }

    /// Visits everything below a node, keys included.
    pub(super) fn everything(&mut self, node: NodeId, kind: FieldKind, origin: Origin) {
        for below in self.document.subtree(node) {
            self.visit(below, kind, origin);
        }
    }

    /// A parameter that is a number or a switch: skipped when it is, visited when it is anything else.
    pub(super) fn parameter(&mut self, value: NodeId) {
        if self.document.kind(value) != Kind::Number {
            self.everything(value, FieldKind::Unknown, Origin::Other);
        }
    }

    /// A member that every endpoint may have, known or not. The caller has handled what is its own.
    pub(super) fn common(&mut self, key: NodeId, value: NodeId) -> Result<(), RequestError> {
        let name = self.document.decoded(key);
        match &*name {
            "model" => {}
            "stream" => self.stream = self.switch(value, "stream")?,
            "stream_options" => {
                match self.document.kind(value) {
                    Kind::Object | Kind::Null => {}
                    _ => return Err(wrong_type("stream_options", "an object")),
                }
                self.stream_options = Some(value);
                self.everything(value, FieldKind::Unknown, Origin::Other);
            }
            "n" | "best_of" => {
                let count = self.count(value, if &*name == "n" { "n" } else { "best_of" })?;
                self.choices = self.choices.max(count.unwrap_or(1));
            }
            "temperature"
            | "top_p"
            | "top_k"
            | "min_p"
            | "seed"
            | "logprobs"
            | "top_logprobs"
            | "presence_penalty"
            | "frequency_penalty"
            | "repetition_penalty"
            | "parallel_tool_calls"
            | "store"
            | "echo"
            | "dimensions"
            | "max_tool_calls"
            | "background" => self.parameter(value),
            "logit_bias" => self.logit_bias(value),
            "user" | "metadata" | "usage_context" | "safety_identifier" | "prompt_cache_key" => {
                self.everything(value, FieldKind::Metadata, Origin::Other);
            }
            "client_request_id" => {
                self.client_request_id = Some(value);
                self.everything(value, FieldKind::Metadata, Origin::Other);
            }
            "stop" => self.everything(value, FieldKind::Stop, Origin::Operator),
            "response_format" => self.everything(value, FieldKind::ResponseFormat, Origin::Operator),
            "tools" | "functions" => {
                self.note_tools(value, &name)?;
                self.everything(value, FieldKind::ToolDefinition, Origin::Operator);
            }
            "web_search_options" => {
                // A tool that is switched on by a parameter of its own.
                self.tools.push(Tool { name: Cow::Borrowed("web_search"), node: value });
                self.everything(value, FieldKind::ToolDefinition, Origin::Operator);
            }
            "extra_params" => {
                // Databricks passes these on to the model, so what decisions rest on counts in here too.
                let mut members = self.document.children(value, Kind::Object);
                while let Some((inner, inner_value)) = members.member(&self.document) {
                    self.passed_on(inner, inner_value)?;
                }
                self.other_token_limits(value, None);
                self.everything(value, FieldKind::Metadata, Origin::Other);
            }
            other => {
                if let Some(parameter) = TOKEN_PARAMETERS.iter().find(|parameter| **parameter == other) {
                    let number = self.count(value, parameter)?;
                    self.token_limits.push(TokenLimit {
                        name: parameter,
                        node: value,
                        value: number,
                        top_level: true,
                        is_other: false,
                    });
                } else {
                    // The application's own.
                    if other != "custom_inputs" {
                        self.other_token_limits(value, Some(key));
                    }
                    self.visit(key, FieldKind::Key, Origin::Other);
                    self.everything(value, FieldKind::Unknown, Origin::Other);
                }
            }
        }
        Ok(())
    }

    fn passed_on(&mut self, key: NodeId, value: NodeId) -> Result<(), RequestError> {
        let name = self.document.decoded(key);
        let param = format!("extra_params.{name}");
        match &*name {
            "model" => return Err(invalid(param, "left out: the model is the `model` of the body")),
            "tools" | "functions" => return self.note_tools(value, &param),
            "n" | "best_of" => {
                let count = self.passed_on_count(value, param)?;
                self.choices = self.choices.max(count);
                return Ok(());
            }
            _ => {}
        }
        let Some(parameter) = TOKEN_PARAMETERS.iter().find(|parameter| **parameter == name) else {
            return Ok(());
        };
        let number = self.passed_on_count(value, param)?;
        self.token_limits.push(TokenLimit {
            name: parameter,
            node: value,
            value: Some(number),
            top_level: false,
            is_other: false,
        });
        Ok(())
    }

    /// Notes what bounds output tokens under other names, in `value` or (`own`) as it. Anything but a positive number
    /// bounds nothing: a vendor's `-1` leaves it to the model.
    fn other_token_limits(&mut self, value: NodeId, own: Option<NodeId>) {
        for node in self.document.subtree(value) {
            let number = match self.document.kind(node) {
                Kind::Number => Cow::Borrowed(self.document.raw(node)),
                Kind::String => self.document.decoded(node),
                _ => continue,
            };
            let key = if node == value { own } else { self.document.key(node) };
            let Some(name) = key.map(|key| self.document.decoded(key)) else { continue };
            // Directly in `extra_params` these are noted already.
            let known = TOKEN_PARAMETERS.contains(&&*name);
            if known && own.is_none() && self.document.parent(node) == Some(value) {
                continue;
            }
            let Some(name) = other_token_parameter(&name) else { continue };
            if let Some(number) = whole_number(&number) {
                let value = Some(number);
                self.token_limits.push(TokenLimit { name, node, value, top_level: false, is_other: true });
            }
        }
    }

    /// A number, or a text that holds one: what is passed on is often written so.
    fn passed_on_count(&self, value: NodeId, param: String) -> Result<u64, RequestError> {
        let number = match self.document.kind(value) {
            Kind::String => self.document.decoded(value).trim().parse().ok(),
            _ => self.document.unsigned(value),
        };
        number.filter(|number| *number > 0).ok_or_else(|| invalid(param, "a positive integer"))
    }

    /// Token ids as keys, numbers as values: nothing else is left out.
    fn logit_bias(&mut self, value: NodeId) {
        if self.document.kind(value) != Kind::Object {
            self.everything(value, FieldKind::Unknown, Origin::Other);
            return;
        }
        let mut members = self.document.children(value, Kind::Object);
        while let Some((key, bias)) = members.member(&self.document) {
            let token = self.document.decoded(key);
            if token.len() > 7 || !token.bytes().all(|byte| byte.is_ascii_digit()) {
                self.visit(key, FieldKind::Key, Origin::Other);
            }
            self.parameter(bias);
        }
    }

    fn model(&self, root: NodeId) -> Result<NodeId, RequestError> {
        let Some(model) = self.document.get(root, "model") else {
            return Err(RequestError::new(RequestErrorKind::Missing, "model"));
        };
        match self.document.string(model) {
            None => Err(wrong_type("model", "a string")),
            Some(name) if name.is_empty() => Err(invalid("model", "the name of a model")),
            Some(_) => Ok(model),
        }
    }

    fn switch(&self, value: NodeId, param: &'static str) -> Result<bool, RequestError> {
        match self.document.kind(value) {
            Kind::True => Ok(true),
            Kind::False | Kind::Null => Ok(false),
            _ => Err(wrong_type(param, "true or false")),
        }
    }

    /// A positive integer, or `null`.
    fn count(&self, value: NodeId, param: &str) -> Result<Option<u64>, RequestError> {
        match self.document.kind(value) {
            Kind::Null => Ok(None),
            Kind::Number => match self.document.unsigned(value) {
                Some(number) if number > 0 => Ok(Some(number)),
                _ => Err(invalid(param, "a positive integer")),
            },
            _ => Err(wrong_type(param, "a positive integer")),
        }
    }
}

/// A positive number, whole or not, in the text of a number; the next whole one.
fn whole_number(text: &str) -> Option<u64> {
    let text = text.trim();
    let whole = text.parse::<u64>().ok().or_else(|| {
        let number = text.parse::<f64>().ok()?.ceil();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the cast saturates, and what is negative is left out below"
        )]
        let whole = number as u64;
        Some(whole)
    });
    whole.filter(|number| *number > 0)
}

pub(super) fn wrong_type(param: impl Into<String>, expected: &'static str) -> RequestError {
    RequestError::new(RequestErrorKind::WrongType { expected }, param)
}

pub(super) fn invalid(param: impl Into<String>, expected: &'static str) -> RequestError {
    RequestError::new(RequestErrorKind::InvalidValue { expected }, param)
}
