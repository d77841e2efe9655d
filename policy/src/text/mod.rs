//! What detectors read instead of the text as written.
//!
//! - [`canonical`] undoes disguises of single characters (look-alikes, invisible and stacked characters, case) and
//!   maps every place of the result back to the original;
//! - [`decode`] finds runs that are another encoding of text (base64, percent, hex, …) and gives what they hold.
//!
//! Both are linear in the length of the text, deterministic, and reuse their memory between texts.

pub mod canonical;
mod confusables;
pub mod decode;
