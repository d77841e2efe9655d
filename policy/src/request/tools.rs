//! The tools that a request offers to the model: what `rbac` judges.

use std::{borrow::Cow, fmt};

use super::{
    RequestError,
    walk::{Walker, wrong_type},
};
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

/// Where a tool that is a name for several has them.
const CONTAINED: [&str; 4] = ["tools", "functions", "function_declarations", "functionDeclarations"];

impl<'b> Walker<'b> {
    /// Notes the tools of a `tools` or `functions` list. Anything but a list of objects is refused: what one reader
    /// takes for a tool must not pass another as none. Tools within a tool (a namespace) are noted like others.
    pub(super) fn note_tools(&mut self, list: NodeId, param: &str) -> Result<(), RequestError> {
        match self.document.kind(list) {
            Kind::Null => return Ok(()),
            Kind::Array => {}
            _ => return Err(wrong_type(param, "a list")),
        }
        let (mut noted, mut within) = (Vec::new(), Vec::new());
        for (at, tool) in self.document.items(list).enumerate() {
            if self.document.kind(tool) != Kind::Object {
                return Err(wrong_type(format!("{param}[{at}]"), "an object"));
            }
            noted.extend(self.tool_names(tool).into_iter().map(|name| Tool { name, node: tool }));
            for key in CONTAINED {
                if let Some(inner) = self.document.get(tool, key) {
                    within.push((inner, format!("{param}[{at}].{key}")));
                }
            }
        }
        self.tools.extend(noted);
        for (inner, param) in within {
            self.note_tools(inner, &param)?;
        }
        Ok(())
    }

    /// Every name that a reader may take for that of the tool; one that is empty where there is none.
    fn tool_names(&self, tool: NodeId) -> Vec<Cow<'b, str>> {
        let text = |object, key| self.document.get(object, key).and_then(|value| self.document.string(value));
        let kind = text(tool, "type");
        let mut names: Vec<Cow<'b, str>> = Vec::with_capacity(1);
        for holder in ["function", "custom"] {
            let inner = self.document.get(tool, holder).filter(|at| self.document.kind(*at) == Kind::Object);
            names.extend(inner.and_then(|inner| text(inner, "name")));
        }
        match kind.as_deref() {
            Some("function" | "custom") | None => names.extend(text(tool, "name")),
            Some("mcp") => {
                names.push(Cow::Owned(format!("mcp:{}", text(tool, "server_label").unwrap_or_default())));
            }
            Some(_) => {
                names.extend(kind);
                if CONTAINED.iter().any(|key| self.document.get(tool, key).is_some()) {
                    names.extend(text(tool, "name"));
                }
            }
        }
        if names.is_empty() {
            names.push(Cow::default());
        }
        names.dedup();
        names
    }
}
