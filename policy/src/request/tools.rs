//! The tools that a request offers to the model: what `rbac` judges.

use std::{borrow::Cow, fmt};

use super::walk::Walker;
use crate::json::{Kind, NodeId};

/// A tool that a request offers to the model. Its debug form tells the length of the name: the name is a text of the
/// request.
#[derive(Clone, PartialEq, Eq)]
pub struct Tool<'b> {
    /// The name of a function or custom tool; of a tool that the provider runs its type (`web_search`), of a remote
    /// server `mcp:<label>`.
    pub name: Cow<'b, str>,
    /// Where it is defined.
    pub node: NodeId,
}

impl fmt::Debug for Tool<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tool").field("node", &self.node).field("bytes", &self.name.len()).finish()
    }
}

impl<'b> Walker<'b> {
    /// Notes the tools of a `tools` or `functions` list.
    pub(super) fn note_tools(&mut self, list: NodeId) {
        let tools: Vec<_> =
            self.document.items(list).map(|tool| Tool { name: self.tool_name(tool), node: tool }).collect();
        self.tools.extend(tools);
    }

    fn tool_name(&self, tool: NodeId) -> Cow<'b, str> {
        let text = |object, key| self.document.get(object, key).and_then(|value| self.document.string(value));
        let kind = text(tool, "type");
        if kind.as_deref() == Some("mcp") {
            return Cow::Owned(format!("mcp:{}", text(tool, "server_label").unwrap_or_default()));
        }
        for holder in ["function", "custom"] {
            if let Some(inner) =
                self.document.get(tool, holder).filter(|at| self.document.kind(*at) == Kind::Object)
                && let Some(name) = text(inner, "name")
            {
                return name;
            }
        }
        match kind.as_deref() {
            Some("function" | "custom") | None => text(tool, "name").unwrap_or_default(),
            Some(_) => kind.unwrap_or_default(),
        }
    }
}
