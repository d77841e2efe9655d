//! Secrets that are a fixed text followed by runs of known characters and lengths.

use super::{
    builtin::Builtin,
    chars::{Set, at, entropy, is_mask, run},
    scan::View,
};

/// A part of a token.
#[derive(Debug)]
pub(super) enum Part {
    /// That many characters of a set, as many as possible.
    Run(Set, usize, usize),
    /// This text.
    Text(&'static str),
    /// These parts, or none of them.
    Maybe(&'static [Part]),
}

/// What must hold beyond the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// Is no mask.
    Form,
    /// Also has upper and lower case letters.
    Cases,
}

/// A format.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) kind: Builtin,
    /// What the token begins with.
    pub(super) text: &'static str,
    pub(super) parts: &'static [Part],
    pub(super) check: Check,
}

const fn shape(kind: Builtin, text: &'static str, parts: &'static [Part]) -> Shape {
    Shape { kind, text, parts, check: Check::Form }
}

const fn cased(kind: Builtin, text: &'static str, parts: &'static [Part]) -> Shape {
    Shape { kind, text, parts, check: Check::Cases }
}

use Part::{Maybe, Run, Text};

const GITLAB_ROUTED: &[Part] = &[
    Run(Set::URL64, 20, 300),
    Maybe(&[
        Text("."),
        Run(Set::HEX_LOWER.and(Set::LOWER), 2, 2),
        Text("."),
        Run(Set::LOWER.and(Set::DIGIT), 7, 9),
    ]),
];
const HEX32: &[Part] = &[Run(Set::HEX, 32, 32)];
const HEX64: &[Part] = &[Run(Set::HEX_LOWER, 64, 64)];
const GITHUB: &[Part] = &[Run(Set::ALNUM, 36, 251)];
const STRIPE: &[Part] = &[Run(Set::ALNUM, 16, 120)];
const DOPPLER: &[Part] = &[Run(Set::ALNUM, 40, 44)];
const VAULT: &[Part] = &[Run(Set::URL64, 24, 300)];

/// Every format. The lengths are those that the issuers document or that public samples show.
pub(super) static SHAPES: &[Shape] = &[
    shape(
        Builtin::DatabricksToken,
        "dapi",
        &[Run(Set::HEX, 32, 32), Maybe(&[Text("-"), Run(Set::DIGIT, 1, 1)])],
    ),
    shape(Builtin::DatabricksToken, "dose", HEX32),
    shape(Builtin::GithubToken, "ghp_", GITHUB),
    shape(Builtin::GithubToken, "gho_", GITHUB),
    shape(Builtin::GithubToken, "ghu_", GITHUB),
    shape(Builtin::GithubToken, "ghs_", GITHUB),
    shape(Builtin::GithubToken, "ghr_", GITHUB),
    shape(
        Builtin::GithubToken,
        "github_pat_",
        &[Run(Set::ALNUM, 22, 22), Text("_"), Run(Set::ALNUM, 59, 251)],
    ),
    shape(Builtin::GitlabToken, "glpat-", GITLAB_ROUTED),
    shape(Builtin::GitlabToken, "glptt-", &[Run(Set::HEX_LOWER, 40, 40)]),
    shape(Builtin::GitlabToken, "gldt-", GITLAB_ROUTED),
    shape(Builtin::GitlabToken, "glrt-", GITLAB_ROUTED),
    shape(Builtin::GitlabToken, "glcbt-", GITLAB_ROUTED),
    shape(Builtin::GitlabToken, "glsoat-", GITLAB_ROUTED),
    shape(Builtin::GitlabToken, "glft-", GITLAB_ROUTED),
    shape(Builtin::GitlabToken, "glimt-", GITLAB_ROUTED),
    shape(Builtin::GitlabToken, "glagent-", &[Run(Set::URL64, 50, 300)]),
    shape(Builtin::GitlabToken, "GR1348941", &[Run(Set::URL64, 20, 20)]),
    shape(Builtin::StripeKey, "sk_live_", STRIPE),
    shape(Builtin::StripeKey, "sk_test_", STRIPE),
    shape(Builtin::StripeKey, "sk_prod_", STRIPE),
    shape(Builtin::StripeKey, "rk_live_", STRIPE),
    shape(Builtin::StripeKey, "rk_test_", STRIPE),
    shape(Builtin::StripeKey, "rk_prod_", STRIPE),
    shape(Builtin::StripeKey, "whsec_", &[Run(Set::BASE64, 32, 64)]),
    shape(Builtin::GoogleApiKey, "AIza", &[Run(Set::URL64, 35, 35)]),
    cased(Builtin::HuggingfaceToken, "hf_", &[Run(Set::ALNUM, 34, 34)]),
    cased(Builtin::HuggingfaceToken, "api_org_", &[Run(Set::ALNUM, 34, 34)]),
    shape(Builtin::NpmToken, "npm_", &[Run(Set::ALNUM, 36, 36)]),
    shape(Builtin::PypiToken, "pypi-AgE", &[Run(Set::URL64, 60, 1024)]),
    shape(Builtin::SendgridKey, "SG.", &[Run(Set::URL64, 20, 24), Text("."), Run(Set::URL64, 39, 50)]),
    shape(Builtin::TwilioKey, "SK", &[Run(Set::HEX_LOWER, 32, 32)]),
    shape(Builtin::MailgunKey, "key-", &[Run(Set::HEX_LOWER, 32, 32)]),
    shape(Builtin::DigitaloceanToken, "dop_v1_", HEX64),
    shape(Builtin::DigitaloceanToken, "doo_v1_", HEX64),
    shape(Builtin::DigitaloceanToken, "dor_v1_", HEX64),
    shape(Builtin::VaultToken, "hvs.", VAULT),
    shape(Builtin::VaultToken, "hvb.", VAULT),
    shape(Builtin::VaultToken, "hvr.", VAULT),
    shape(Builtin::ShopifyToken, "shpat_", HEX32),
    shape(Builtin::ShopifyToken, "shpca_", HEX32),
    shape(Builtin::ShopifyToken, "shppa_", HEX32),
    shape(Builtin::ShopifyToken, "shpss_", HEX32),
    shape(Builtin::ShopifyToken, "shptka_", HEX32),
    shape(Builtin::ShopifyToken, "shpua_", HEX32),
    shape(Builtin::SquareToken, "sq0atp-", &[Run(Set::URL64, 22, 22)]),
    shape(Builtin::SquareToken, "sq0csp-", &[Run(Set::URL64, 43, 43)]),
    shape(Builtin::SquareToken, "sq0idp-", &[Run(Set::URL64, 22, 22)]),
    cased(Builtin::SquareToken, "EAAA", &[Run(Set::URL64, 60, 60)]),
    shape(Builtin::NewrelicKey, "NRAK-", &[Run(Set::UPPER_DIGIT, 27, 27)]),
    shape(Builtin::NewrelicKey, "NRAA-", &[Run(Set::HEX_LOWER, 27, 27)]),
    shape(Builtin::NewrelicKey, "NRII-", &[Run(Set::URL64, 32, 32)]),
    shape(Builtin::NewrelicKey, "NRJS-", &[Run(Set::HEX_LOWER, 19, 19)]),
    shape(Builtin::GrafanaToken, "glsa_", &[Run(Set::ALNUM, 32, 32), Text("_"), Run(Set::HEX, 8, 8)]),
    shape(
        Builtin::GrafanaToken,
        "glc_",
        &[Run(Set::BASE64, 32, 400), Maybe(&[Run(Set::BASE64.one(b'=').without(b'/'), 1, 3)])],
    ),
    shape(Builtin::LinearKey, "lin_api_", &[Run(Set::ALNUM, 40, 40)]),
    shape(Builtin::LinearKey, "lin_oauth_", HEX64),
    shape(Builtin::NotionToken, "ntn_", &[Run(Set::ALNUM, 46, 46)]),
    cased(Builtin::NotionToken, "secret_", &[Run(Set::ALNUM, 43, 43)]),
    shape(Builtin::DockerPat, "dckr_pat_", &[Run(Set::URL64, 27, 27)]),
    shape(Builtin::DockerPat, "dckr_oat_", &[Run(Set::URL64, 27, 32)]),
    shape(Builtin::PostmanKey, "PMAK-", &[Run(Set::HEX, 24, 24), Text("-"), Run(Set::HEX, 34, 34)]),
    shape(Builtin::DopplerToken, "dp.pt.", DOPPLER),
    shape(Builtin::DopplerToken, "dp.ct.", DOPPLER),
    shape(Builtin::DopplerToken, "dp.sa.", DOPPLER),
    shape(Builtin::DopplerToken, "dp.scim.", DOPPLER),
    shape(Builtin::DopplerToken, "dp.audit.", DOPPLER),
    shape(
        Builtin::DopplerToken,
        "dp.st.",
        &[
            Maybe(&[Run(Set::LOWER.and(Set::DIGIT).one(b'_').one(b'-'), 2, 35), Text(".")]),
            Run(Set::ALNUM, 40, 44),
        ],
    ),
    shape(Builtin::SentryToken, "sntryu_", HEX64),
    shape(Builtin::SentryToken, "sntrys_eyJ", &[Run(Set::BASE64.one(b'=').one(b'_'), 60, 600)]),
    shape(Builtin::PulumiToken, "pul-", &[Run(Set::HEX_LOWER, 40, 40)]),
    shape(Builtin::FigmaToken, "figd_", &[Run(Set::URL64, 38, 44)]),
    shape(Builtin::PlanetscaleToken, "pscale_tkn_", &[Run(Set::URL64, 32, 64)]),
    shape(Builtin::PlanetscaleToken, "pscale_pw_", &[Run(Set::URL64, 32, 64)]),
    shape(Builtin::PlanetscaleToken, "pscale_oauth_", &[Run(Set::URL64, 32, 64)]),
    shape(Builtin::GroqKey, "gsk_", &[Run(Set::ALNUM, 52, 52)]),
    shape(Builtin::PerplexityKey, "pplx-", &[Run(Set::ALNUM, 48, 48)]),
    shape(Builtin::ReplicateToken, "r8_", &[Run(Set::ALNUM, 37, 37)]),
    shape(Builtin::AgeSecretKey, "AGE-SECRET-KEY-1", &[Run(Set::BECH32, 58, 58)]),
    shape(Builtin::AtlassianToken, "ATATT3", &[Run(Set::URL64.one(b'='), 100, 300)]),
    shape(Builtin::AtlassianToken, "ATCTT3", &[Run(Set::URL64.one(b'='), 100, 300)]),
    cased(Builtin::AtlassianToken, "ATBB", &[Run(Set::ALNUM, 32, 32)]),
    shape(Builtin::DynatraceToken, "dt0c01.", DYNATRACE),
    shape(Builtin::DynatraceToken, "dt0s01.", DYNATRACE),
    shape(Builtin::DynatraceToken, "dt0s02.", DYNATRACE),
    shape(Builtin::DynatraceToken, "dt0s16.", DYNATRACE),
];

const DYNATRACE: &[Part] = &[Run(Set::UPPER_DIGIT, 8, 24), Text("."), Run(Set::UPPER_DIGIT, 64, 64)];

impl Shape {
    /// The end of the token of this format whose text stands at `start`.
    pub(super) fn end(&self, view: &View<'_>, start: usize) -> Option<usize> {
        let bytes = view.bytes();
        let body = start + self.text.len();
        if bytes.get(start..body)? != self.text.as_bytes() || !view.opens(start) {
            return None;
        }
        let end = follow(view, body, self.parts)?;
        if !view.closes(end) {
            return None;
        }
        let value = bytes.get(body..end)?;
        let passes = !is_mask(value)
            && match self.check {
                Check::Form => true,
                // Three bits and a half: words in camel case stay below or lack the digits and capitals.
                Check::Cases => {
                    let upper = value.iter().filter(|b| b.is_ascii_uppercase()).count();
                    let lower = value.iter().filter(|b| b.is_ascii_lowercase()).count();
                    entropy(value) >= 900 && upper * 5 >= value.len() && lower * 5 >= value.len()
                }
            };
        passes.then_some(end)
    }
}

/// The end of `parts` that begin at `from`.
pub(super) fn follow(view: &View<'_>, from: usize, parts: &[Part]) -> Option<usize> {
    let bytes = view.bytes();
    let mut place = from;
    for part in parts {
        match part {
            Part::Run(set, least, most) => {
                let mut end = run(bytes, place, *set, *most);
                if end - place < *least {
                    return None;
                }
                // Longer than the format allows: another kind of thing.
                if end - place == *most && set.has(at(bytes, end)) && !view.seam(end) {
                    // Unless the next line was put behind it.
                    end = view.ends(place, end).skip(1).find(|seam| seam - place >= *least)?;
                }
                place = end;
            }
            Part::Text(text) => {
                let end = place + text.len();
                if bytes.get(place..end)? != text.as_bytes() {
                    return None;
                }
                place = end;
            }
            Part::Maybe(inner) => {
                if let Some(end) = follow(view, place, inner)
                    && closes_maybe(view, end)
                {
                    place = end;
                }
            }
        }
    }
    Some(place)
}

fn closes_maybe(view: &View<'_>, end: usize) -> bool {
    // Within a format more may follow; only a letter or digit right behind an optional part of digits forbids it.
    !Set::DIGIT.has(at(view.bytes(), end.wrapping_sub(1))) || view.closes(end)
}
