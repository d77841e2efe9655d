//! One record of each type with every field set. The literals name every field, so that a new one can't be
//! forgotten here.

use std::collections::BTreeMap;

use kt_audit::chain::{InstanceId, Position};
use kt_audit::identity::PseudonymKey;
use kt_audit::record::*;
use kt_audit::sign::{Signer, checkpoint_message, tombstone_message};
use kt_audit::{Digest, Epoch, Label, Pseudonym};
use uuid::Uuid;

pub(crate) const INSTANCE: InstanceId =
    InstanceId(Uuid::from_u128(0x0192_f0c1_8a3b_7c4d_9e5f_0123_4567_89ab));
pub(crate) const EPOCH: Epoch = Epoch([0x5a; 16]);

pub(crate) fn signer() -> Signer {
    Signer::from_seed_hex(&"07".repeat(32)).unwrap()
}

pub(crate) fn pseudonyms() -> PseudonymKey {
    PseudonymKey::new(&[9; 32])
}

fn subject() -> Pseudonym {
    pseudonyms().subject("ada@example.com").pseudonym()
}

fn id() -> Uuid {
    Uuid::from_u128(0x0192_f0c2_1b2c_7d3e_8f40_a1b2_c3d4_e5f6)
}

fn position() -> Position {
    Position { epoch: Epoch([0x3c; 16]), sequence: 4711, hash: Digest::of(b"4711") }
}

fn pack() -> PackRef {
    PackRef {
        name: "databricks-enterprise".into(),
        version: "1.2.0".into(),
        digest: Digest::of(b"pack"),
        generation: Some(17),
    }
}

fn facts() -> RequestFacts {
    RequestFacts {
        accepted_us: 1_795_000_000_123_456,
        endpoint: Endpoint::ChatCompletions,
        stream: true,
        request_id: "req_0192f0c21b2c7d3e".into(),
        client_request_id: Some("app-7f3a".into()),
        caller: Caller {
            proof: Proof::GatewayKey,
            subject: Some(subject()),
            roles: vec!["data-engineer".into()],
            team: Some("platform".into()),
            cost_centre: Some("cc-42".into()),
            key_id: Some("kt_gk_3f9a".into()),
            issuer: Some("https://login.example.com".into()),
        },
        pack: Some(pack()),
        detectors: BTreeMap::from([(Label::from("person-names"), Digest::of(b"names"))]),
        requested_model: Some("gpt-4o".into()),
        retention: Some(Retention { days: 2555, immutable: true }),
    }
}

fn target() -> Target {
    Target {
        id: "databricks-llama".into(),
        model: "databricks-meta-llama-3-3-70b-instruct".into(),
        region: Some("westeurope".into()),
    }
}

fn outcome(policy: &str, outcome: Outcome, verdict: Option<Verdict>) -> PolicyOutcome {
    PolicyOutcome {
        policy: policy.into(),
        phase: Phase::Input,
        mode: Mode::Enforce,
        outcome,
        verdict,
        us: Some(41),
    }
}

fn outcomes() -> Vec<PolicyOutcome> {
    vec![
        PolicyOutcome {
            phase: Phase::Output,
            mode: Mode::Observe,
            ..outcome(
                "prompt-injection",
                Outcome::Observed { would: Some(Would::Block) },
                Some(Verdict::Block),
            )
        },
        outcome("pii-detector", Outcome::Evaluated, Some(Verdict::Redact)),
        outcome(
            "dlp-filter",
            Outcome::Waived { rule: "project-names".into(), ticket: Some("SEC-7".into()) },
            Some(Verdict::Allow),
        ),
        outcome("custom", Outcome::Bypassed { why: "deadline".into() }, None),
        outcome("rbac", Outcome::NotApplicable, None),
        outcome("data-routing-policy", Outcome::Skipped, None),
    ]
}

fn findings() -> Vec<Finding> {
    vec![Finding {
        policy: "pii-detector".into(),
        rule: "email".into(),
        entity: Some("EMAIL_ADDRESS".into()),
        phase: Phase::Output,
        field: "/messages/7/content".into(),
        start: 12,
        end: 27,
        score: Some(0.75),
        effect: Effect::Redact,
        disposition: Disposition::Observed,
    }]
}

fn edits() -> Edits {
    Edits {
        redactions_in: 2,
        redactions_out: 1,
        model: Some(ModelRewrite {
            from: "gpt-4o".into(),
            to: "databricks-meta-llama-3-3-70b-instruct".into(),
        }),
        token_bound: Some(TokenBound {
            parameter: "max_tokens".into(),
            value: 4096,
            clamped: true,
            counted: false,
            reached: false,
        }),
        client_request_id: true,
        include_usage: true,
    }
}

fn not_inspected() -> BTreeMap<Label, u32> {
    BTreeMap::from([(Label::from("image/png"), 2)])
}

pub(crate) fn opened() -> Body {
    Body::Opened(Box::new(Opened {
        id: id(),
        request: facts(),
        target: Some(target()),
        verdict: Verdict::Redact,
        outcomes: outcomes(),
        findings: findings(),
        findings_omitted: 3,
        edits: edits(),
        not_inspected: not_inspected(),
        bytes_in: 2048,
    }))
}

pub(crate) fn closed() -> Body {
    Body::Closed(Box::new(Closed {
        id: id(),
        request: facts(),
        end: End::Completed,
        verdict: Verdict::Redact,
        refusal: Some(Refusal {
            status: 409,
            code: "input_blocked".into(),
            policy: Some("prompt-injection".into()),
            rule: Some("ignore-previous".into()),
            param: Some("messages[7].content".into()),
        }),
        target: Some(target()),
        attempts: vec![Attempt {
            target: target(),
            status: Some(429),
            error: Some("rate_limit".into()),
            skipped: Some("model_not_allowed".into()),
            us: 180_000,
            upstream_request_id: Some("8e1c".into()),
        }],
        outcomes: outcomes(),
        findings: findings(),
        findings_omitted: 3,
        edits: edits(),
        not_inspected: not_inspected(),
        tokens: Some(Tokens {
            source: TokenSource::Reported,
            prompt: Some(250),
            completion: Some(120),
            total: Some(370),
            cached: Some(64),
            cache_write: Some(32),
            reasoning: Some(48),
            audio: Some(5),
        }),
        cost: Some(Cost { micro_usd: Some(312), price_table: "2026-11-01".into() }),
        latency: Latency {
            total: 190_000,
            read: Some(90),
            identify: Some(12),
            parse: Some(35),
            policy_in: Some(160),
            audit_open: Some(44),
            first_byte: Some(180_000),
            upstream: Some(189_000),
            policy_out: Some(70),
            other: BTreeMap::new(),
        },
        upstream_request_id: Some("8e1c".into()),
        status: Some(200),
        bytes_in: 2048,
        bytes_out: 4096,
        client_aborted: true,
        opened_epoch: Some(Epoch([0x3c; 16])),
    }))
}

fn cut() -> SignedRun {
    let run = CutRun {
        first_segment: 1,
        last_segment: 3,
        before: Digest::ZERO,
        last: Digest::of(b"3"),
        retention: Retention { days: 30, immutable: true },
    };
    SignedRun {
        run,
        key: signer().public().id(),
        signature: signer().sign(&tombstone_message(INSTANCE, &run)),
    }
}

pub(crate) fn epoch() -> Body {
    Body::Epoch(Box::new(EpochStart {
        instance: INSTANCE,
        epoch: EPOCH,
        ordinal: 1,
        previous: Some(position()),
        gateway_version: "0.1.0".into(),
        public_key: signer().public(),
        pseudonym_key: pseudonyms().id(),
        damage: vec![Damage { what: DamageKind::TornTail, segment: Some(3), offset: 8192, bytes: 311 }],
        damage_omitted: 1,
    }))
}

pub(crate) fn checkpoint(covers: Position) -> Body {
    Body::Checkpoint(Box::new(Checkpoint {
        covers,
        reason: CheckpointReason::Roll,
        open: Some(vec![OpenRequest { id: id(), segment: 4, epoch: covers.epoch, sequence: 4700 }]),
        cuts: vec![cut()],
        key: signer().public().id(),
        signature: signer().sign(&checkpoint_message(INSTANCE, &covers)),
    }))
}

/// The records that depend on nothing else.
pub(crate) fn others() -> Vec<Body> {
    vec![
        Body::Dropped(Dropped { count: 12, reason: DropReason::QueueFull }),
        Body::Tombstone(Box::new(Tombstone { cut: cut(), segments: 1, bytes: 33_554_432, delivered: false })),
        Body::Config(Box::new(Config {
            action: ConfigAction::Refused,
            pack: Some(pack()),
            digest: Digest::of(b"pack"),
            reasons: vec!["KT0101".into()],
        })),
        Body::Erasure(Box::new(Erasure {
            subject: subject(),
            by: Some(pseudonyms().subject("privacy-office").pseudonym()),
            reference: Some("DSR-2026-114".into()),
            sealed: 1,
        })),
    ]
}

/// What came to the format after its first fixture was laid down: fields that are left out by default.
pub(crate) fn added() -> Body {
    let Body::Closed(mut closed) = closed() else { panic!("no closed record") };
    closed.edits.token_bound = Some(TokenBound {
        parameter: "max_tokens".into(),
        value: 4096,
        clamped: false,
        counted: true,
        reached: true,
    });
    Body::Closed(closed)
}

/// One of each type.
pub(crate) fn all() -> Vec<Body> {
    let mut all = vec![epoch(), opened(), closed(), checkpoint(position())];
    all.extend(others());
    all
}
