//! Watching a stream of events go by.
//!
//! The bytes themselves are passed on unchanged by whoever owns them; the [`Splitter`] only tells where events begin
//! and end in them and what their data is, and the `Meter` what the data says of usage and of the end. Events may be
//! cut anywhere: inside a character, between CR and LF, one byte at a time.

mod frames;
mod lines;
mod meter;
mod splitter;

pub(crate) use frames::Frames;
pub(crate) use lines::{is_ended, with_data, without_texts};
pub(crate) use meter::Meter;
pub use splitter::{EventTooLarge, Splitter};

#[cfg(test)]
mod tests;
