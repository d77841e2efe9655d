//! How the trained models of `kt-policy` are made: own generators write the texts, everything else is named with its
//! licence in the model's card. A training is a function of its data and a seed.

pub mod dice;
pub mod injection;
