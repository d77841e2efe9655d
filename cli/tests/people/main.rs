//! The commands that talk to a control plane, as a person types them, against a control plane that can be told to
//! fail: what is shown, how it ends, and what is never shown.

#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "another test binary uses the rest of it")]
mod common;
mod contexts;
mod double;
mod faults;
mod kt;
mod real;
mod shown;
