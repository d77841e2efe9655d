//! The ideas that rules are made of. A lexicon says by which words each is expressed in each language; a rule names
//! ideas and how near to each other they stand.

/// An idea that a word or phrase expresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Concept {
    /// A command to leave something out of account: ignore, disregard, forget.
    Override,
    /// The same in a milder or more ambiguous word: drop, skip, change, disable.
    OverrideWeak,
    /// Earlier: previous, above, so far.
    Prior,
    /// What the model was given: "you were told", "given to you".
    Given,
    /// Instructions, guidelines, directives.
    Instruction,
    /// Words that also have many other uses: text, orders, messages.
    InstructionWeak,
    /// Rules, policies.
    Rules,
    /// All, any, every.
    All,
    /// Everything.
    Everything,
    /// Belonging to whom the text speaks to.
    Your,
    /// Whom the text speaks to.
    You,
    /// No longer in force.
    Void,
    /// New instructions, your real task.
    NewInstruction,
    /// "Instead", "from here on", the turn after a cancellation.
    Instead,
    /// Stop what you are doing.
    StopCurrent,
    /// Show, print, repeat, tell me.
    Reveal,
    /// Leak, dump, exfiltrate.
    Leak,
    /// The system prompt and its other names.
    SystemPrompt,
    /// What is written above, the beginning of this conversation.
    TextAbove,
    /// What is, what are, what were.
    WhatIs,
    /// Word for word.
    Verbatim,
    /// Passwords, keys, credentials.
    Secret,
    /// Hidden, internal, confidential.
    Hidden,
    /// Tools, functions, capabilities of the model.
    Tools,
    /// You are now, act as, pretend.
    Role,
    /// From now on.
    FromNowOn,
    /// You are no longer.
    NoLonger,
    /// Unfiltered, without restrictions.
    Unrestricted,
    /// Without rules of conduct: "no ethical guidelines", "free of all filters".
    NoEthics,
    /// Unethical, illegal, explicit.
    Amoral,
    /// A known jailbreak persona.
    Persona,
    /// Developer mode and its like.
    Mode,
    /// Enter, enable, activate, switch to.
    Enable,
    /// Never refuse, no warnings, must comply.
    NoRefusal,
    /// Without a warning, without asking.
    NoWarning,
    /// Stay in character.
    StayInCharacter,
    /// AI, assistant, chatbot.
    Model,
    /// I am your developer.
    Authority,
    /// The administrator, the security team, the developers.
    Official,
    /// This is a test, I have permission.
    Permission,
    /// `system:` at the beginning of a line or sentence.
    SystemLabel,
    /// "system note:", "system override".
    SystemNote,
    /// `assistant:` or `user:` at the beginning of a line or sentence.
    TurnLabel,
    /// Control tokens of chat templates.
    TemplateToken,
    /// `</user><system>`, `[system]`.
    FakeTag,
    /// `### instruction`.
    FakeHeading,
    /// `### response`.
    FakeResponse,
    /// "End of document", "begin new session".
    FakeEnd,
    /// `<!--`.
    HtmlComment,
    /// Styles that hide text.
    HiddenStyle,
    /// Note to the AI, if you are a language model.
    NoteToModel,
    /// Before you answer.
    BeforeAnswer,
    /// When you read or summarise this.
    WhenProcessing,
    /// In your answer, at the end of your reply.
    InYourAnswer,
    /// Include, append, mention, recommend.
    Insert,
    /// For all future tasks.
    Lasting,
    /// Answer only, just say.
    OnlySay,
    /// And nothing else.
    NothingElse,
    /// Repeat after me.
    RepeatAfter,
    /// Call, invoke, run.
    Call,
    /// A name with an underscore, as tools and functions have.
    Identifier,
    /// Send, forward, upload.
    Send,
    /// The chat log, the customer list.
    PrivateData,
    /// An address or host.
    Address,
    /// Elsewhere: an external server, the attacker.
    Outside,
    /// Delete, drop, wipe.
    Destroy,
    /// Records, tables, files.
    Stored,
    /// Decode.
    Decode,
    /// Base64, rot13, hex.
    Encoding,
    /// Do what it says, follow it.
    FollowIt,
    /// Opinion to be put into the model's mouth: "say that you hate".
    SayThat,
    /// A topic that models refuse.
    Harm,
    /// Words of another text written backwards.
    ReversedCue,
    /// Words of another text in rot13.
    Rot13Cue,
    // What makes a hit weaker.
    /// Do not, never.
    Negation,
    /// How do I, should I.
    HowTo,
    /// Somebody else is the subject: they, users, people.
    Subject,
    /// Talk about such texts: "phrases like", "what does … mean".
    Mention,
    /// The same after the fact: "… is a well-known attack".
    MentionAfter,
    /// "about", "on the topic of" after a word that would be an override.
    About,
}

/// How many concepts there are.
pub(super) const COUNT: usize = Concept::About as usize + 1;

impl Concept {
    /// Whether it makes hits weaker and is in no rule.
    pub(super) const fn is_modifier(self) -> bool {
        self as u8 >= Concept::Negation as u8
    }
}
