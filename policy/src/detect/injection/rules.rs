//! The built-in rules: which ideas, how near to each other, and what that weighs.

use super::concept::{Concept, Concept as C};

/// What kind of attempt a rule finds. The strongest rule of each family counts in a window, so that one idea said
/// twice is not two findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Family {
    Override,
    Void,
    New,
    Stop,
    Extract,
    Secret,
    Role,
    Freedom,
    Obedience,
    Authority,
    Boundary,
    Ending,
    Addressed,
    Placement,
    Output,
    Tool,
    Exfiltrate,
    Destroy,
    Encoded,
    Hidden,
    Harm,
    Model,
}

pub(super) const FAMILIES: usize = Family::Model as usize + 1;

/// A built-in rule.
#[derive(Debug, Clone, Copy)]
pub(super) struct RuleDef {
    /// Stable; named in records and in `detection.rules`.
    pub id: &'static str,
    pub family: Family,
    /// How likely a text with nothing else is an attempt, 0 to 1.
    pub weight: f32,
    /// The ideas, each by any of these.
    pub slots: &'static [&'static [Concept]],
    /// How many words may stand between two of them.
    pub gap: u32,
    /// Whether they may stand in any order.
    pub any_order: bool,
    /// What makes it weaker.
    pub softened: Softened,
    /// Whether it counts beside the model, whatever that says.
    pub certain: bool,
}

/// By which contexts a rule is weakened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Softened {
    /// Commands: by negation, other subjects, questions, and talk about such texts.
    Command,
    /// Statements: by talk about such texts only.
    Statement,
    /// By nothing.
    Never,
}

const fn rule(
    id: &'static str,
    family: Family,
    weight: f32,
    slots: &'static [&'static [Concept]],
    gap: u32,
) -> RuleDef {
    RuleDef { id, family, weight, slots, gap, any_order: false, softened: Softened::Command, certain: false }
}

impl RuleDef {
    const fn any_order(self) -> Self {
        Self { any_order: true, ..self }
    }

    const fn statement(self) -> Self {
        Self { softened: Softened::Statement, ..self }
    }

    const fn always(self) -> Self {
        Self { softened: Softened::Never, ..self }
    }

    const fn certain(self) -> Self {
        Self { certain: true, ..self }
    }
}

/// The rule of what is found by how it was hidden, not by what it says.
pub(super) const HIDDEN_TEXT: &str = "injection.hidden.invisible-text";

/// The rule of what the trained model objects to.
pub(super) const MODEL: &str = "injection.model.window";

/// The places of the two behind the rules.
pub(super) const HIDDEN_TEXT_ENTRY: usize = RULES.len();
pub(super) const MODEL_ENTRY: usize = RULES.len() + 1;

use Family as F;

/// Every rule. Several entries of one id are variants of it.
pub(super) static RULES: &[RuleDef] = &[
    // Earlier instructions are declared void.
    rule(
        "injection.override.ignore-previous",
        F::Override,
        0.93,
        &[&[C::Override], &[C::Prior, C::Given], &[C::Instruction]],
        4,
    )
    .any_order(),
    rule(
        "injection.override.ignore-previous",
        F::Override,
        0.93,
        &[&[C::Override], &[C::All], &[C::Instruction], &[C::Prior, C::Given]],
        4,
    ),
    rule(
        "injection.override.ignore-previous",
        F::Override,
        0.72,
        &[&[C::Override], &[C::Prior, C::Given], &[C::InstructionWeak, C::Rules]],
        3,
    )
    .any_order(),
    rule(
        "injection.override.ignore-previous",
        F::Override,
        0.85,
        &[&[C::Override], &[C::All], &[C::Prior], &[C::InstructionWeak, C::Rules]],
        2,
    ),
    rule(
        "injection.override.ignore-previous",
        F::Override,
        0.7,
        &[&[C::OverrideWeak], &[C::Prior, C::Given], &[C::Instruction]],
        3,
    )
    .any_order(),
    rule(
        "injection.override.outranked",
        F::Override,
        0.44,
        &[&[C::Outranks], &[C::Prior, C::All, C::Your, C::Given], &[C::Instruction, C::Rules]],
        3,
    )
    .statement(),
    rule(
        "injection.override.outranked",
        F::Override,
        0.72,
        &[&[C::Outranks], &[C::Your], &[C::Instruction, C::Rules]],
        3,
    )
    .statement(),
    rule(
        "injection.override.outranked",
        F::Override,
        0.6,
        &[&[C::NewInstruction], &[C::Outranks], &[C::All, C::Prior, C::Your]],
        4,
    )
    .statement(),
    rule(
        "injection.override.ignore-yours",
        F::Override,
        0.85,
        &[&[C::Override], &[C::Your], &[C::Instruction]],
        3,
    )
    .any_order(),
    rule(
        "injection.override.ignore-yours",
        F::Override,
        0.7,
        &[&[C::Override], &[C::Your], &[C::InstructionWeak]],
        2,
    ),
    rule("injection.override.ignore-yours", F::Override, 0.82, &[&[C::Override], &[C::Your], &[C::Rules]], 3),
    rule(
        "injection.override.ignore-yours",
        F::Override,
        0.72,
        &[&[C::OverrideWeak], &[C::Your], &[C::Instruction]],
        3,
    ),
    rule(
        "injection.override.ignore-all",
        F::Override,
        0.72,
        &[&[C::Override], &[C::All], &[C::Instruction]],
        3,
    )
    .any_order(),
    rule(
        "injection.override.ignore-all",
        F::Override,
        0.4,
        &[&[C::Override], &[C::All], &[C::InstructionWeak]],
        2,
    ),
    rule("injection.override.ignore-all", F::Override, 0.6, &[&[C::Override], &[C::All], &[C::Rules]], 2),
    rule(
        "injection.override.ignore-all",
        F::Override,
        0.5,
        &[&[C::OverrideWeak], &[C::All], &[C::Instruction]],
        2,
    ),
    rule("injection.override.ignore-rules", F::Override, 0.36, &[&[C::Override], &[C::Instruction]], 3),
    rule(
        "injection.override.forget-everything",
        F::Override,
        0.82,
        &[&[C::Override], &[C::Everything], &[C::Prior, C::Given]],
        4,
    )
    .any_order(),
    rule("injection.override.forget-everything", F::Override, 0.5, &[&[C::Override], &[C::Everything]], 1),
    rule("injection.override.forget-everything", F::Override, 0.62, &[&[C::Override], &[C::Given]], 3),
    rule(
        "injection.override.ignore-above",
        F::Override,
        0.48,
        &[&[C::Override], &[C::Prior, C::TextAbove]],
        1,
    ),
    rule("injection.override.ignore-above", F::Override, 0.72, &[&[C::Override], &[C::TextAbove]], 2),
    rule(
        "injection.override.ignore-above",
        F::Override,
        0.3,
        &[&[C::Override], &[C::Prior, C::TextAbove], &[C::Instead, C::OnlySay]],
        3,
    ),
    rule(
        "injection.override.declared-void",
        F::Void,
        0.82,
        &[&[C::Your], &[C::Instruction, C::Rules], &[C::Void]],
        3,
    )
    .statement(),
    rule(
        "injection.override.declared-void",
        F::Void,
        0.8,
        &[&[C::Prior, C::Given], &[C::Instruction], &[C::Void]],
        4,
    )
    .any_order()
    .statement(),
    rule(
        "injection.override.declared-void",
        F::Void,
        0.48,
        &[&[C::Prior, C::Given], &[C::InstructionWeak, C::Rules], &[C::Void]],
        4,
    )
    .any_order()
    .statement(),
    rule("injection.override.declared-void", F::Void, 0.72, &[&[C::Given], &[C::Void]], 3).statement(),
    rule("injection.override.declared-void", F::Void, 0.45, &[&[C::Instruction], &[C::Void]], 3).statement(),
    rule("injection.override.declared-void", F::Void, 0.44, &[&[C::Rules], &[C::Void]], 2).statement(),
    rule(
        "injection.override.declared-void",
        F::Override,
        0.55,
        &[&[C::Role], &[C::Instruction, C::InstructionWeak, C::Rules], &[C::Void]],
        4,
    )
    .statement(),
    // Others are put in their place.
    rule("injection.override.new-instructions", F::New, 0.38, &[&[C::NewInstruction]], 0).statement(),
    rule("injection.override.new-instructions", F::New, 0.68, &[&[C::Your], &[C::NewInstruction]], 1)
        .any_order(),
    rule(
        "injection.override.new-instructions",
        F::New,
        0.75,
        &[&[C::NewInstruction], &[C::Official, C::Authority]],
        2,
    )
    .any_order()
    .statement(),
    rule(
        "injection.override.new-instructions",
        F::New,
        0.6,
        &[&[C::NewInstruction], &[C::OverrideWeak, C::Override], &[C::All, C::Prior]],
        4,
    ),
    rule("injection.override.stop-current-task", F::Stop, 0.46, &[&[C::StopCurrent]], 0),
    // What the model was told, and what it must not tell.
    rule(
        "injection.extract.system-prompt",
        F::Extract,
        0.82,
        &[&[C::Reveal, C::Leak], &[C::Your], &[C::SystemPrompt, C::Instruction]],
        3,
    ),
    rule(
        "injection.extract.system-prompt",
        F::Extract,
        0.72,
        &[&[C::Reveal, C::Leak], &[C::SystemPrompt]],
        3,
    ),
    rule(
        "injection.extract.system-prompt",
        F::Extract,
        0.75,
        &[&[C::SystemPrompt], &[C::Reveal, C::Leak]],
        3,
    ),
    rule(
        "injection.extract.system-prompt",
        F::Extract,
        0.6,
        &[&[C::WhatIs], &[C::Your], &[C::SystemPrompt, C::Instruction]],
        3,
    )
    .statement(),
    rule(
        "injection.extract.system-prompt",
        F::Extract,
        0.62,
        &[&[C::WhatIs], &[C::SystemPrompt], &[C::Given, C::Prior, C::Your]],
        4,
    )
    .statement(),
    rule(
        "injection.extract.system-prompt",
        F::Extract,
        0.25,
        &[&[C::Verbatim], &[C::SystemPrompt, C::TextAbove]],
        6,
    )
    .any_order(),
    rule("injection.extract.text-above", F::Extract, 0.7, &[&[C::Reveal, C::Leak], &[C::TextAbove]], 3),
    rule("injection.extract.text-above", F::Extract, 0.6, &[&[C::WhatIs], &[C::TextAbove]], 4).statement(),
    rule(
        "injection.extract.text-above",
        F::Extract,
        0.65,
        &[&[C::Reveal, C::Leak], &[C::Everything], &[C::Prior, C::Given]],
        3,
    ),
    rule(
        "injection.extract.secrets",
        F::Secret,
        0.74,
        &[&[C::Reveal, C::Leak], &[C::Secret], &[C::Given]],
        3,
    ),
    rule(
        "injection.extract.secrets",
        F::Secret,
        0.6,
        &[&[C::Reveal, C::Leak], &[C::Hidden, C::All], &[C::Secret]],
        2,
    ),
    rule("injection.extract.secrets", F::Secret, 0.44, &[&[C::Reveal, C::Leak], &[C::Secret]], 3),
    rule(
        "injection.extract.secrets",
        F::Secret,
        0.6,
        &[&[C::Leak], &[C::Hidden, C::Secret, C::PrivateData]],
        3,
    ),
    rule(
        "injection.extract.secrets",
        F::Secret,
        0.36,
        &[&[C::Reveal, C::Leak], &[C::Hidden], &[C::InstructionWeak, C::PrivateData, C::Stored]],
        2,
    ),
    rule("injection.extract.tools", F::Extract, 0.6, &[&[C::Reveal, C::Leak, C::WhatIs], &[C::Tools]], 3),
    // Who the model is to be.
    rule(
        "injection.role.unrestricted",
        F::Role,
        0.86,
        &[&[C::Role, C::FromNowOn, C::NoLonger], &[C::Unrestricted, C::NoEthics]],
        12,
    )
    .statement(),
    rule(
        "injection.role.unrestricted",
        F::Freedom,
        0.62,
        &[&[C::You, C::Model], &[C::Unrestricted, C::NoEthics]],
        5,
    )
    .statement(),
    rule("injection.role.unrestricted", F::Freedom, 0.5, &[&[C::Unrestricted, C::NoEthics], &[C::Model]], 3)
        .statement(),
    rule("injection.role.no-ethics", F::Freedom, 0.55, &[&[C::NoEthics]], 0).statement(),
    rule(
        "injection.role.no-ethics",
        F::Freedom,
        0.68,
        &[&[C::NoEthics, C::Unrestricted], &[C::NoEthics, C::Amoral, C::Unrestricted]],
        6,
    )
    .statement(),
    rule("injection.role.unrestricted", F::Freedom, 0.24, &[&[C::Unrestricted]], 0).statement(),
    rule("injection.role.amoral", F::Obedience, 0.4, &[&[C::Amoral], &[C::Amoral], &[C::Amoral]], 2)
        .statement(),
    rule("injection.role.amoral", F::Role, 0.5, &[&[C::Role], &[C::Amoral], &[C::Amoral]], 8).statement(),
    rule(
        "injection.role.persona",
        F::Role,
        0.8,
        &[&[C::Role, C::FromNowOn, C::Enable, C::StayInCharacter], &[C::Persona]],
        4,
    )
    .statement(),
    rule(
        "injection.role.persona",
        F::Role,
        0.7,
        &[&[C::Persona], &[C::Unrestricted, C::NoEthics, C::NoRefusal]],
        12,
    )
    .statement(),
    rule("injection.role.persona", F::Role, 0.5, &[&[C::Persona], &[C::Model, C::Persona]], 3)
        .any_order()
        .statement(),
    rule("injection.role.mode", F::Role, 0.7, &[&[C::Enable, C::Role, C::You], &[C::Mode]], 4),
    rule("injection.role.mode", F::Role, 0.55, &[&[C::Mode], &[C::Enable, C::Unrestricted, C::NoRefusal]], 4)
        .statement(),
    rule("injection.role.no-longer", F::Role, 0.6, &[&[C::NoLonger]], 0).statement(),
    rule(
        "injection.role.from-now-on",
        F::Role,
        0.42,
        &[&[C::FromNowOn], &[C::You, C::Role, C::Your, C::Model]],
        2,
    )
    .any_order()
    .statement(),
    rule("injection.role.new-identity", F::Role, 0.16, &[&[C::Role]], 0).statement(),
    rule(
        "injection.role.new-identity",
        F::Role,
        0.45,
        &[&[C::Role], &[C::Model], &[C::StayInCharacter, C::NoRefusal, C::Amoral]],
        14,
    )
    .statement(),
    rule(
        "injection.role.obedience",
        F::Obedience,
        0.42,
        &[&[C::NoRefusal], &[C::NoRefusal, C::StayInCharacter]],
        14,
    )
    .statement(),
    rule("injection.role.obedience", F::Obedience, 0.22, &[&[C::NoRefusal]], 0).statement(),
    rule("injection.role.obedience", F::Obedience, 0.2, &[&[C::NoWarning]], 0).statement(),
    rule("injection.role.obedience", F::Obedience, 0.24, &[&[C::StayInCharacter]], 0).statement(),
    // Who claims to speak.
    rule("injection.authority.claimed", F::Authority, 0.44, &[&[C::Authority]], 0).statement(),
    rule(
        "injection.authority.claimed",
        F::Authority,
        0.56,
        &[&[C::Authority], &[C::Permission, C::Official]],
        10,
    )
    .any_order()
    .statement(),
    rule("injection.authority.claimed", F::Authority, 0.2, &[&[C::Permission]], 0).statement(),
    rule("injection.authority.system-note", F::Boundary, 0.55, &[&[C::SystemNote]], 0).statement(),
    rule("injection.boundary.system-label", F::Boundary, 0.48, &[&[C::SystemLabel]], 0).statement(),
    rule("injection.boundary.turn-label", F::Boundary, 0.2, &[&[C::TurnLabel]], 0).statement(),
    // Signs that end the data and begin another turn.
    rule("injection.boundary.chat-template", F::Boundary, 0.8, &[&[C::TemplateToken]], 0).always().certain(),
    rule("injection.boundary.fake-tag", F::Boundary, 0.47, &[&[C::FakeTag]], 0).always(),
    rule("injection.boundary.fake-tag", F::Boundary, 0.75, &[&[C::FakeTag], &[C::FakeTag]], 8).always(),
    rule("injection.boundary.fake-heading", F::Boundary, 0.42, &[&[C::FakeHeading]], 0).always(),
    rule("injection.boundary.fake-heading", F::Boundary, 0.72, &[&[C::FakeHeading], &[C::FakeResponse]], 30)
        .always(),
    rule("injection.boundary.fake-end", F::Ending, 0.4, &[&[C::FakeEnd]], 0).always(),
    rule("injection.hidden.comment", F::Hidden, 0.12, &[&[C::HtmlComment]], 0).always(),
    rule("injection.hidden.style", F::Hidden, 0.2, &[&[C::HiddenStyle]], 0).always(),
    // Data that speaks to the model.
    rule("injection.indirect.addressed", F::Addressed, 0.55, &[&[C::NoteToModel]], 0).statement(),
    rule("injection.indirect.before-answer", F::Placement, 0.37, &[&[C::BeforeAnswer]], 0),
    rule(
        "injection.indirect.before-answer",
        F::Placement,
        0.56,
        &[&[C::BeforeAnswer], &[C::Call, C::Send, C::Destroy]],
        3,
    )
    .any_order(),
    rule(
        "injection.indirect.before-answer",
        F::Placement,
        0.44,
        &[&[C::BeforeAnswer], &[C::Insert, C::Reveal]],
        3,
    )
    .any_order(),
    rule("injection.indirect.when-processing", F::Placement, 0.3, &[&[C::WhenProcessing]], 0),
    rule(
        "injection.indirect.when-processing",
        F::Placement,
        0.5,
        &[&[C::WhenProcessing], &[C::Call, C::Send, C::Insert, C::Reveal, C::OnlySay]],
        6,
    ),
    rule("injection.indirect.placed-in-answer", F::Placement, 0.45, &[&[C::Insert], &[C::InYourAnswer]], 12)
        .any_order(),
    rule("injection.indirect.placed-in-answer", F::Placement, 0.2, &[&[C::InYourAnswer]], 0),
    rule("injection.indirect.lasting", F::Placement, 0.34, &[&[C::Lasting]], 0),
    rule(
        "injection.indirect.lasting",
        F::Placement,
        0.48,
        &[&[C::Lasting], &[C::Insert, C::InYourAnswer, C::FromNowOn, C::Send, C::Lasting]],
        8,
    )
    .any_order(),
    rule("injection.output.only-say", F::Output, 0.28, &[&[C::OnlySay]], 0),
    rule("injection.output.only-say", F::Output, 0.3, &[&[C::NothingElse]], 0),
    rule("injection.output.repeat-after-me", F::Stop, 0.46, &[&[C::RepeatAfter]], 0),
    rule("injection.output.opinion", F::Output, 0.36, &[&[C::SayThat]], 0).statement(),
    // What the model is to do.
    rule("injection.tool.call", F::Tool, 0.22, &[&[C::Call], &[C::Identifier]], 2),
    rule(
        "injection.tool.call",
        F::Tool,
        0.44,
        &[&[C::Call], &[C::Identifier], &[C::Send, C::Destroy, C::BeforeAnswer, C::Address]],
        8,
    ),
    rule(
        "injection.exfiltrate.send",
        F::Exfiltrate,
        0.66,
        &[&[C::Send, C::Leak], &[C::PrivateData, C::Secret, C::SystemPrompt], &[C::Address, C::Outside]],
        8,
    )
    .any_order(),
    rule("injection.exfiltrate.send", F::Exfiltrate, 0.26, &[&[C::Send, C::Leak], &[C::PrivateData]], 4),
    rule(
        "injection.exfiltrate.link",
        F::Exfiltrate,
        0.36,
        &[&[C::Call, C::Insert, C::Send], &[C::Address], &[C::PrivateData, C::Secret]],
        8,
    ),
    rule("injection.destroy.delete", F::Destroy, 0.26, &[&[C::Destroy], &[C::Stored]], 3),
    rule("injection.encoded.follow", F::Encoded, 0.62, &[&[C::Decode, C::Encoding], &[C::FollowIt]], 10),
    rule("injection.encoded.follow", F::Encoded, 0.48, &[&[C::Encoding], &[C::FollowIt]], 4),
    rule("injection.harm.topic", F::Harm, 0.34, &[&[C::Harm]], 0),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_can_fire() {
        for rule in RULES {
            assert!((1..=4).contains(&rule.slots.len()), "{}", rule.id);
            assert!(rule.weight > 0.0 && rule.weight < 1.0, "{}", rule.id);
            assert!(
                rule.slots.iter().all(|slot| slot.iter().all(|concept| !concept.is_modifier())),
                "{}",
                rule.id
            );
            assert!(!rule.any_order || (2..=3).contains(&rule.slots.len()), "{}", rule.id);
        }
    }

    #[test]
    fn ids_name_their_detector_and_family() {
        for rule in RULES {
            assert!(rule.id.starts_with("injection.") && rule.id.matches('.').count() == 2, "{}", rule.id);
        }
    }
}
