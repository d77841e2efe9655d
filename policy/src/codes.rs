//! The table of codes: one stable number, one title and one page (`docs/errors/KTnnnn.md`) for each kind of mistake.
//!
//! Ranges: 0001 the document, 0101 its shape, 0201 what the documented dialect has and this gateway does not
//! enforce, 0301 lint, 0401 compiling, 0501 binding. Numbers are never reused.

use crate::diag::Code;

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct CodeInfo {
    /// The number.
    pub code: Code,
    /// What is wrong, in a few words.
    pub title: &'static str,
    /// The page in Markdown: what it means, why, what to do, and a pack that triggers it.
    pub page: &'static str,
}

macro_rules! codes {
    ($($id:ident $number:literal $name:ident $title:literal)*) => {
        $(#[doc = $title] pub const $name: Code = Code($number);)*

        /// Every code, by number.
        pub const ALL: &[CodeInfo] = &[$(CodeInfo {
            code: $name,
            title: $title,
            page: include_str!(concat!("../../docs/errors/", stringify!($id), ".md")),
        }),*];
    };
}

codes! {
    KT0001 1 NOT_UTF8 "the file is not UTF-8"
    KT0002 2 TOO_LARGE "the file is too large"
    KT0003 3 SYNTAX "the file is not YAML"
    KT0004 4 TOO_COMPLEX "the file is nested too deep or holds too many values"
    KT0005 5 EMPTY "the file is empty"
    KT0006 6 SEVERAL_DOCUMENTS "the file holds several documents"
    KT0007 7 ALIASES "aliases stand for too much or for nothing"
    KT0008 8 DUPLICATE_KEY "a key stands twice"
    KT0009 9 MERGE_KEY "merge keys are not read"

    KT0101 101 UNKNOWN_KEY "unknown key"
    KT0102 102 WRONG_TYPE "a value has the wrong type"
    KT0103 103 MISSING_KEY "a key is missing"
    KT0104 104 UNKNOWN_VALUE "a value is not among those that are known"
    KT0105 105 OUT_OF_RANGE "a value is outside its range"
    KT0106 106 DUPLICATE_NAME "a name stands twice"
    KT0107 107 BAD_FORMAT "a text does not have the form that its key asks for"
    KT0108 108 UNKNOWN_KIND "unknown policy kind"
    KT0109 109 CONFLICT "two keys contradict each other"

    KT0201 201 NOT_ENFORCED "a documented key that this gateway does not enforce"
    KT0202 202 OTHER_PROVIDER "a provider other than Databricks"
    KT0203 203 LITERAL_CREDENTIAL "a credential stands in the pack"
    KT0204 204 SECRET_STORE "secrets from a store are not read"
    KT0205 205 OTHER_FORMAT "an upstream format other than openai"
    KT0206 206 AUDIT_OBSERVE "audit-logger cannot only observe"

    KT0301 301 KIND_TWICE "a policy kind stands in the chain twice"
    KT0302 302 BLOCK_OUTSIDE_CHAIN "a policy has settings but no place in the chain"
    KT0303 303 NO_AUDIT "no audit-logger in the chain"
    KT0304 304 IMMUTABLE_BEST_EFFORT "an immutable log that may drop records"
    KT0305 305 ROLE_WITHOUT_MODELS "a role without allowed_models may use every model"
    KT0306 306 NO_ROLES "rbac without roles"
    KT0307 307 MODEL_NOT_SERVED "a role allows a model that no target serves"
    KT0308 308 ALIAS_NOT_SERVED "an alias stands for a model that no target serves"
    KT0309 309 FALLBACK_UNKNOWN_TARGET "fallback names a target that does not exist"
    KT0310 310 FALLBACK_OTHER_KIND "fallback names a target that answers to other requests"
    KT0311 311 NO_TARGETS "no targets"
    KT0312 312 PLACEHOLDER "a base_url is filled in by each gateway"
    KT0313 313 BAD_BASE_URL "a base_url is not an address to send requests to"
    KT0314 314 CLEARTEXT_BASE_URL "a base_url without TLS"
    KT0315 315 LOOPBACK_BASE_URL "a base_url on the gateway's own host"
    KT0316 316 RETIRED_MODEL "a model is retired"
    KT0317 317 UNKNOWN_MODEL "a model is not in the model table"
    KT0318 318 EXPIRED_EXCEPTION "an exception has expired"
    KT0319 319 EXCEPTION_UNKNOWN_RULE "an exception names a rule that does not exist"
    KT0320 320 SECRET_IN_URL "a variable is both a secret and a part of a base_url"
    KT0321 321 NO_EFFECT "a policy in the chain that cannot find or filter anything"
    KT0322 322 DEFAULT_ROLE_UNKNOWN "default_role names a role that does not exist"
    KT0323 323 EMPTY_CHAIN "the chain is empty"
    KT0324 324 DISABLED "the pack is disabled"
    KT0325 325 ALIAS_HIDES_MODEL "an alias hides a model that a target serves"
    KT0326 326 NO_CREDENTIAL "a target without a credential"
    KT0327 327 WORD_AS_PATTERN "a pattern that is the name of an entity type"

    KT0401 401 PATTERN_SYNTAX "a regular expression cannot be read"
    KT0402 402 PATTERN_TOO_LARGE "a regular expression would cost too much"
    KT0403 403 PATTERN_MATCHES_EVERYTHING "a regular expression matches the empty text"
    KT0404 404 PATTERN_WITHOUT_LITERAL "a regular expression has nothing to look for first"
    KT0405 405 UNKNOWN_RULE_NAME "a name that the detector does not know"
    KT0406 406 TOO_MANY_RULES "the pack has too many rules"

    KT0501 501 NO_WORKSPACE "the workspace is not set"
    KT0502 502 VARIABLE_NOT_ALLOWED "the pack may not read a variable"
    KT0503 503 VARIABLE_MISSING "a variable of a base_url is not set"
    KT0504 504 UPSTREAM_NOT_ALLOWED "the pack may not send requests to a host"
    KT0505 505 NO_SECRETS_DIR "there is no folder for secrets"
    KT0506 506 BOUND_URL_INVALID "a base_url is not valid once it is filled in"
    KT0507 507 OVERRIDE_UNKNOWN_TARGET "an upstream override names a target that does not exist"
    KT0508 508 PACK_DISABLED "a disabled pack is not served"
    KT0509 509 BAD_SETTING "a setting of the gateway is not valid"
    KT0510 510 SECRET_MISSING "a credential is missing"
    KT0511 511 OVERRIDDEN "the upstream of a target is overridden"
}

/// The row of a code; absent for a number that was never given.
pub fn info(code: Code) -> Option<&'static CodeInfo> {
    ALL.iter().find(|info| info.code == code)
}

/// The code written as `KT0101`, in any case and with or without leading zeros.
pub fn lookup(written: &str) -> Option<&'static CodeInfo> {
    let written = written.trim();
    let digits = written
        .get(..2)
        .filter(|head| head.eq_ignore_ascii_case("kt"))
        .map_or(written, |_| written.get(2..).unwrap_or_default());
    info(Code(digits.parse().ok()?))
}
