//! From a request that has been read to its reply: credential, endpoint, behaviour, answer.

use http::{HeaderMap, Method, StatusCode};
use serde_json::{Map, Value};

use super::auth::{self, Standing};
use super::behaviours::{Chosen, Effect, UnknownBehaviour};
use super::catalogue::{self, Embedder, Endpoint, Task};
use super::errors::{self, Subject};
use super::persona::{Family, Persona, Style};
use super::reply::Reply;
use super::routes::{Api, Route, Surface};
use super::server::Shared;
use super::{anthropic, chat, completions, custom, embeddings, listing, responses};

/// Header that chooses a behaviour.
pub(crate) const CONTROL_HEADER: &str = "x-fake-behaviour";

/// Largest request body of foundation-model endpoints and of custom ones (§3.5).
const MODEL_LIMIT: usize = 4 * 1024 * 1024;
const CUSTOM_LIMIT: usize = 16 * 1024 * 1024;

/// A request to a model, understood so far as to be answered.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) endpoint: &'a Endpoint<'a>,
    pub(crate) fields: &'a Map<String, Value>,
    pub(crate) request_id: &'a str,
    /// For ids in the reply.
    pub(crate) reply_id: &'a str,
    /// Seconds since 1970.
    pub(crate) created: i64,
}

impl Call<'_> {
    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject { endpoint: self.endpoint.name, request_id: self.request_id, arg: 0 }
    }
}

/// A request whose body has been read, or was too large to be.
#[derive(Debug)]
pub(crate) struct Arrived<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) route: Route<'a>,
    pub(crate) headers: &'a HeaderMap,
    /// None: over the limit.
    pub(crate) body: Option<&'a [u8]>,
    /// The body as a JSON object.
    pub(crate) fields: Option<Map<String, Value>>,
    pub(crate) request_id: &'a str,
    pub(crate) reply_id: &'a str,
    pub(crate) created: i64,
}

/// Largest body that a route takes.
pub(crate) fn body_limit(route: &Route<'_>) -> usize {
    match route {
        Route::Invocations(name) if catalogue::find(name).is_some_and(|e| e.task == Task::Custom) => {
            CUSTOM_LIMIT
        }
        _ => MODEL_LIMIT,
    }
}

impl Arrived<'_> {
    /// What the log and the script call this request's endpoint.
    pub(crate) fn endpoint(&self) -> Option<&str> {
        match self.route {
            Route::Invocations(name) | Route::Described(name) => Some(name),
            Route::Api(..) => self.fields.as_ref()?.get("model")?.as_str(),
            Route::Token => Some("@token"),
            Route::Listing => Some("@listing"),
            Route::Discovery | Route::Control(_) | Route::Nowhere => None,
        }
    }

    /// The behaviour that applies; a script's turn is used up by asking.
    pub(crate) fn behaviour(&self, shared: &Shared) -> Result<Option<Chosen>, UnknownBehaviour> {
        let Some(endpoint) = self.endpoint() else { return Ok(None) };
        if let Some(chosen) = shared.script.take(endpoint) {
            return Ok(Some(chosen));
        }
        if let Some(value) = self.headers.get(CONTROL_HEADER) {
            return Chosen::parse(&String::from_utf8_lossy(value.as_bytes())).map(Some);
        }
        Ok(Chosen::from_endpoint(endpoint))
    }

    /// The reply, whatever the request is worth.
    pub(crate) fn reply(&self, shared: &Shared, chosen: Option<Chosen>) -> Reply {
        let named = self.endpoint().unwrap_or(self.path);
        let arg = chosen.map_or(0, |chosen| chosen.arg);
        let subject = Subject { endpoint: named, request_id: self.request_id, arg };
        let plainly = |reply: Reply| match chosen.map(|chosen| chosen.behaviour.effect) {
            Some(Effect::Fault(fault)) => fault(&subject),
            Some(Effect::Wire(trick)) => trick(reply, arg),
            _ => reply,
        };
        match self.route {
            Route::Token => {
                let form = self.body.map(String::from_utf8_lossy).unwrap_or_default();
                return plainly(shared.credentials.grant(self.headers, &form, &subject));
            }
            Route::Discovery => return auth::discovery(self.headers),
            Route::Nowhere | Route::Control(_) => {
                return errors::no_such_api(self.method.as_str(), self.path);
            }
            _ => {}
        }
        let standing = shared.credentials.standing(self.headers);
        match standing {
            Standing::Missing => return errors::no_credential(&subject),
            Standing::Invalid => return errors::invalid_token(&subject),
            Standing::Valid(_) => {}
        }
        match self.route {
            Route::Listing => plainly(listing::all(shared.with_retired)),
            Route::Described(name) => plainly(listing::one(name, shared.with_retired, &subject)),
            _ => self.model_reply(shared, chosen, &standing, &subject),
        }
    }

    fn model_reply(
        &self,
        shared: &Shared,
        chosen: Option<Chosen>,
        standing: &Standing<'_>,
        subject: &Subject<'_>,
    ) -> Reply {
        if self.body.is_none() {
            return errors::request_too_large(subject);
        }
        let Some(fields) = &self.fields else {
            return errors::bad_request("Unable to parse json body for request: expected a JSON object");
        };
        let Some(name) = self.endpoint() else {
            return errors::bad_request("'model' must be the name of an endpoint.");
        };
        let Some(endpoint) = self.find(name, shared, chosen) else {
            return match self.route {
                Route::Api(_, Surface::AiGateway) => errors::no_such_model(subject),
                _ => errors::no_such_endpoint(subject),
            };
        };
        if !standing.may_query(name) {
            return errors::permission_denied(subject);
        }
        let call = Call {
            endpoint: &endpoint,
            fields,
            request_id: self.request_id,
            reply_id: self.reply_id,
            created: self.created,
        };
        let mut persona = Persona::of(endpoint.family);
        persona.style = Style { pace: shared.pace, ..persona.style };
        let reply = match chosen.map(|chosen| (chosen.behaviour.effect, chosen.arg)) {
            Some((Effect::Fault(fault), _)) => return fault(subject),
            Some((Effect::Persona(bend), arg)) => answer(self.route, &call, &bend(persona, arg)),
            Some((Effect::Wire(trick), arg)) => trick(answer(self.route, &call, &persona), arg),
            Some((Effect::Ordinary, _)) | None => answer(self.route, &call, &persona),
        };
        reply.served_by(&endpoint.served)
    }

    /// The endpoint, if it exists here and on this surface.
    fn find<'n>(&self, name: &'n str, shared: &Shared, chosen: Option<Chosen>) -> Option<Endpoint<'n>> {
        let dotted = name.starts_with("system.ai.");
        if dotted && !matches!(self.route, Route::Api(_, Surface::AiGateway)) {
            return None;
        }
        // A script may bring a retired model back.
        let present = |endpoint: &Endpoint<'_>| shared.with_retired || !endpoint.retired || chosen.is_some();
        let behaves = Chosen::from_endpoint(name).is_some() || name == "fake-redirect-target";
        catalogue::find(name).filter(present).or_else(|| behaves.then(|| catalogue::stand_in(name)))
    }
}

fn answer(route: Route<'_>, call: &Call<'_>, persona: &Persona) -> Reply {
    let api = match route {
        Route::Api(api, _) => Some(api),
        _ => None,
    };
    let family = call.endpoint.family;
    let has = |field: &str| call.fields.contains_key(field);
    let stand_in = Embedder { normalised: true, shortens: true };
    let form = match call.endpoint.task {
        Task::Embeddings(_) => [None, Some(Api::Embeddings)].contains(&api).then_some(Form::Embeddings),
        Task::Custom => api.is_none().then_some(Form::Custom),
        Task::ResponsesAgent => [None, Some(Api::Responses)].contains(&api).then_some(Form::Responses),
        // Endpoints that stand for a behaviour go by the form of the request.
        Task::Any => Some(match api {
            Some(api) => Form::of(api),
            None if has("messages") => Form::Chat,
            None if has("input") => Form::Embeddings,
            None if has("prompt") => Form::Completions,
            None => Form::Custom,
        }),
        Task::Chat => match api {
            None if has("prompt") && !has("messages") => Some(Form::Completions),
            None => Some(Form::Chat),
            Some(api) => family.serves(api).then_some(Form::of(api)),
        },
    };
    let embedder = match call.endpoint.task {
        Task::Embeddings(embedder) => embedder,
        _ => stand_in,
    };
    match form {
        Some(Form::Chat) => chat::answer(call, persona),
        Some(Form::Completions) => completions::answer(call, persona),
        Some(Form::Embeddings) => embeddings::answer(call, embedder, persona),
        Some(Form::Responses) => responses::answer(call, persona),
        Some(Form::Messages) => anthropic::answer(call, persona),
        Some(Form::Custom) => custom::answer(call),
        None => unsupported(call),
    }
}

/// Which code answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Chat,
    Completions,
    Embeddings,
    Responses,
    Messages,
    Custom,
}

impl Form {
    fn of(api: Api) -> Self {
        match api {
            Api::Chat => Self::Chat,
            Api::Completions => Self::Completions,
            Api::Embeddings => Self::Embeddings,
            Api::Responses | Api::OpenResponses => Self::Responses,
            Api::Messages => Self::Messages,
        }
    }
}

impl Family {
    /// Whether chat models of the family serve a form (§1.1).
    fn serves(self, api: Api) -> bool {
        match api {
            Api::Chat | Api::OpenResponses => true,
            Api::Embeddings => false,
            Api::Completions => matches!(self, Self::Llama | Self::Maverick | Self::Legacy),
            Api::Responses => self == Self::OpenAi,
            Api::Messages => matches!(self, Self::Claude | Self::ClaudeFixed),
        }
    }
}

/// The text is not quoted anywhere; that the status is 400 and the words say "not supported" is (§1.2).
fn unsupported(call: &Call<'_>) -> Reply {
    let message = format!("This API is not supported by endpoint '{}'.", call.endpoint.name);
    errors::envelope(StatusCode::BAD_REQUEST, errors::Code::Name("BAD_REQUEST"), &message)
}
