//! The endpoints of the fake workspace: those of the seed's page, and current ones that stand for a family each
//! (`reference/databricks-serving.md` §6.2, §6.3).

use std::borrow::Cow;

use super::persona::Family;

/// What an endpoint is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    Chat,
    Embeddings(Embedder),
    /// Own model: `inputs` and its siblings, on `/invocations` only.
    Custom,
    /// Agent that speaks the Responses form.
    ResponsesAgent,
    /// Serves whatever route it is asked by: endpoints named after a behaviour.
    Any,
}

/// Differences between embedding models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Embedder {
    /// Vectors of length one.
    pub(crate) normalised: bool,
    /// `dimensions` may shorten them.
    pub(crate) shortens: bool,
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint<'a> {
    pub(crate) name: &'a str,
    pub(crate) task: Task,
    pub(crate) family: Family,
    /// Dated id that replies call `model`.
    pub(crate) served: Cow<'a, str>,
    /// Gone from the real Databricks.
    pub(crate) retired: bool,
}

const BGE: Task = Task::Embeddings(Embedder { normalised: true, shortens: false });
const GTE: Task = Task::Embeddings(Embedder { normalised: false, shortens: false });
const QWEN: Task = Task::Embeddings(Embedder { normalised: true, shortens: true });

/// Name, task, family, dated id, retired.
type Row = (&'static str, Task, Family, &'static str, bool);

const TABLE: &[Row] = &[
    (
        "databricks-meta-llama-3-3-70b-instruct",
        Task::Chat,
        Family::Llama,
        "meta-llama-3.3-70b-instruct-121024",
        false,
    ),
    (
        "databricks-meta-llama-3-1-8b-instruct",
        Task::Chat,
        Family::Llama,
        "meta-llama-3.1-8b-instruct-072424",
        false,
    ),
    (
        "databricks-meta-llama-3-1-405b-instruct",
        Task::Chat,
        Family::Llama,
        "meta-llama-3.1-405b-instruct-072424",
        true,
    ),
    ("databricks-dbrx-instruct", Task::Chat, Family::Legacy, "dbrx-instruct-032724", true),
    (
        "databricks-mixtral-8x7b-instruct",
        Task::Chat,
        Family::Legacy,
        "mixtral-8x7b-instruct-v0.1-011124",
        true,
    ),
    ("databricks-llama-4-maverick", Task::Chat, Family::Maverick, "meta-llama-4-maverick-040225", false),
    ("databricks-gemma-3-12b", Task::Chat, Family::Llama, "gemma-3-12b-it-031225", false),
    ("databricks-gpt-oss-120b", Task::Chat, Family::GptOss, "gpt-oss-120b-080525", false),
    ("databricks-gpt-oss-20b", Task::Chat, Family::GptOss, "gpt-oss-20b-080525", false),
    ("databricks-claude-haiku-4-5", Task::Chat, Family::Claude, "claude-haiku-4-5-20251001", false),
    ("databricks-claude-sonnet-4-5", Task::Chat, Family::Claude, "claude-sonnet-4-5-20250929", false),
    ("databricks-claude-sonnet-4-6", Task::Chat, Family::Claude, "claude-sonnet-4-6-20260217", false),
    ("databricks-claude-opus-4-8", Task::Chat, Family::ClaudeFixed, "claude-opus-4-8-20260528", false),
    ("databricks-claude-sonnet-5", Task::Chat, Family::ClaudeFixed, "claude-sonnet-5-20260901", false),
    ("databricks-gpt-5", Task::Chat, Family::OpenAi, "gpt-5-2025-08-07", false),
    ("databricks-gpt-5-mini", Task::Chat, Family::OpenAi, "gpt-5-mini-2025-08-07", false),
    ("databricks-gpt-5-5", Task::Chat, Family::OpenAi, "gpt-5.5-2026-04-23", false),
    ("databricks-gemini-2-5-flash", Task::Chat, Family::Gemini, "gemini-2.5-flash-061725", false),
    ("databricks-gemini-3-1-pro", Task::Chat, Family::Gemini3, "gemini-3.1-pro-021926", false),
    ("databricks-qwen3-next-80b", Task::Chat, Family::Llama, "qwen3-next-80b-a3b-instruct-091125", false),
    ("databricks-qwen35-122b-a10b", Task::Chat, Family::Qwen, "qwen3.5-122b-a10b-022426", false),
    ("databricks-inkling", Task::Chat, Family::Inkling, "inkling-070126", false),
    ("databricks-glm-5-2", Task::Chat, Family::Glm, "glm-5.2-061526", false),
    ("databricks-bge-large-en", BGE, Family::Llama, "bge-large-en-v1.5", false),
    ("databricks-gte-large-en", GTE, Family::Llama, "gte-large-en-v1.5", false),
    ("databricks-qwen3-embedding-0-6b", QWEN, Family::Llama, "qwen3-embedding-0.6b-060525", false),
    ("fake-custom-model", Task::Custom, Family::Llama, "fake-custom-model-1", false),
    ("fake-responses-agent", Task::ResponsesAgent, Family::OpenAi, "fake-responses-agent-1", false),
    ("fake-external-openai", Task::Chat, Family::OpenAi, "gpt-4o-2024-11-20", false),
];

/// An endpoint by name. On the Unity AI Gateway surface `system.ai.<model>` names the same models.
pub(crate) fn find(name: &str) -> Option<Endpoint<'_>> {
    let matches = |known: &str| {
        known == name
            || name
                .strip_prefix("system.ai.")
                .is_some_and(|model| known.strip_prefix("databricks-").unwrap_or(known) == model)
    };
    TABLE.iter().find(|row| matches(row.0)).map(|&(_, task, family, served, retired)| Endpoint {
        name,
        task,
        family,
        served: Cow::Borrowed(served),
        retired,
    })
}

/// An endpoint that exists only to behave in a certain way.
pub(crate) fn stand_in(name: &str) -> Endpoint<'_> {
    let served = Cow::Owned(format!("{name}-110126"));
    Endpoint { name, task: Task::Any, family: Family::Llama, served, retired: false }
}

/// All that are listed, in order; `retired` ones only where they still exist.
pub(crate) fn listed(with_retired: bool) -> impl Iterator<Item = Endpoint<'static>> {
    TABLE.iter().filter(move |row| with_retired || !row.4).map(|&(name, task, family, served, retired)| {
        Endpoint { name, task, family, served: Cow::Borrowed(served), retired }
    })
}
