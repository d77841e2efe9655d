//! Policy packs: parse, lint, compile, bind and evaluate.
//!
//! Everything here is a pure function of its arguments: no I/O, no async, no clock but the one that is passed in.
//! That is what makes lint, test, scan, diff by effect, shadow and replay cheap, and a pack valid everywhere or
//! nowhere.
//!
//! The stages, in order:
//! - [`yaml`] turns source bytes into a tree with spans; nothing else knows the YAML library;
//! - [`pack`] is the model that the tree is decoded into, with every finding at once ([`diag`]);
//! - `lint` judges a decoded pack; `compile` turns it into an immutable `CompiledPack`;
//! - `bind` fills what only one gateway knows (workspace, secrets, allowed upstreams);
//! - `json` and `request` read a request once, `detect` finds things in its texts, `evaluate` decides.

pub mod caller;
pub mod compiled;
pub mod detect;
pub mod diag;
pub mod edit;
pub mod evaluate;
pub mod json;
pub mod pack;
pub mod request;
pub mod usage;
pub mod verdict;
