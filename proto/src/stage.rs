//! The stages of taking a document, as people and metrics name them.

use crate::v1::Stage;

impl Stage {
    /// Its word in messages, metrics and `-o json`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Fetch => "fetch",
            Self::Digest => "digest",
            Self::Signature => "signature",
            Self::Schema => "schema",
            Self::Compile => "compile",
            Self::Bind => "bind",
            Self::Limits => "limits",
        }
    }
}
