//! What the matchers hand over, and who wins where two claim the same characters.

use crate::pack::kinds::Entity;

/// The kinds of things that the scanner looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Person,
    Email,
    Phone,
    Card,
    Iban,
    Ssn,
    Itin,
    Passport,
    Licence,
    Bank,
    Nhs,
    Ip,
    Mac,
    Crypto,
    Url,
    Cvv,
    MedicalRecord,
    HealthInsurance,
    Npi,
    /// Not personal, but certainly not what it might be taken for (a date, a UUID).
    Other,
}

impl Kind {
    /// How many kinds there are.
    pub(super) const COUNT: usize = 20;

    /// Every kind that has a rule.
    pub(super) const NAMED: [Self; 19] = [
        Self::Person,
        Self::Email,
        Self::Phone,
        Self::Card,
        Self::Iban,
        Self::Ssn,
        Self::Itin,
        Self::Passport,
        Self::Licence,
        Self::Bank,
        Self::Nhs,
        Self::Ip,
        Self::Mac,
        Self::Crypto,
        Self::Url,
        Self::Cvv,
        Self::MedicalRecord,
        Self::HealthInsurance,
        Self::Npi,
    ];

    /// The name as written in rules, markers and records.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Person => Entity::Person.as_str(),
            Self::Email => Entity::EmailAddress.as_str(),
            Self::Phone => Entity::PhoneNumber.as_str(),
            Self::Card => Entity::CreditCard.as_str(),
            Self::Iban => Entity::IbanCode.as_str(),
            Self::Ssn => Entity::UsSsn.as_str(),
            Self::Itin => Entity::UsItin.as_str(),
            Self::Passport => Entity::UsPassport.as_str(),
            Self::Licence => Entity::UsDriverLicense.as_str(),
            Self::Bank => Entity::UsBankNumber.as_str(),
            Self::Nhs => Entity::UkNhs.as_str(),
            Self::Ip => Entity::IpAddress.as_str(),
            Self::Mac => Entity::MacAddress.as_str(),
            Self::Crypto => Entity::Crypto.as_str(),
            Self::Url => Entity::Url.as_str(),
            Self::Cvv => "CVV",
            Self::MedicalRecord => "MEDICAL_RECORD_NUMBER",
            Self::HealthInsurance => "HEALTH_INSURANCE_ID",
            Self::Npi => "US_NPI",
            Self::Other => "",
        }
    }

    /// The kind of an entity type.
    pub(super) const fn of(entity: Entity) -> Self {
        match entity {
            Entity::Person => Self::Person,
            Entity::EmailAddress => Self::Email,
            Entity::PhoneNumber => Self::Phone,
            Entity::CreditCard => Self::Card,
            Entity::IbanCode => Self::Iban,
            Entity::UsSsn => Self::Ssn,
            Entity::UsItin => Self::Itin,
            Entity::UsPassport => Self::Passport,
            Entity::UsDriverLicense => Self::Licence,
            Entity::UsBankNumber => Self::Bank,
            Entity::UkNhs => Self::Nhs,
            Entity::IpAddress => Self::Ip,
            Entity::MacAddress => Self::Mac,
            Entity::Crypto => Self::Crypto,
            Entity::Url => Self::Url,
        }
    }

    /// The strength of a claim: what has a check or a fixed form wins over what has neither.
    const fn rank(self) -> u8 {
        match self {
            Self::Url => 12,
            Self::Email => 11,
            Self::Iban | Self::Crypto => 10,
            Self::Mac | Self::Ip => 9,
            Self::Card => 8,
            Self::Other => 7,
            Self::Itin | Self::Ssn | Self::Nhs | Self::Npi => 6,
            Self::Passport | Self::Licence | Self::MedicalRecord | Self::HealthInsurance | Self::Cvv => 5,
            Self::Bank => 4,
            Self::Phone => 3,
            Self::Person => 1,
        }
    }

    /// Whether the claim also silences others when its own kind is not asked for. A web address does not silence the
    /// e-mail address inside it, for somebody who asked for e-mail addresses only.
    const fn silences_unasked(self, other: Self) -> bool {
        !(matches!(self, Self::Url)
            && matches!(other, Self::Email | Self::Ip | Self::Card | Self::Iban | Self::Crypto))
    }
}

/// A claim on a piece of the view.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Found {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) kind: Kind,
    pub(super) score: f32,
}

impl Found {
    /// Whether the two share a character.
    pub(super) const fn overlaps(&self, start: usize, end: usize) -> bool {
        self.start < end && start < self.end
    }
}

/// The claims of one text, in no order, without overlaps that matter: of two claims the higher rank wins, then the
/// longer one, then the earlier.
#[derive(Debug, Default)]
pub(super) struct Claims {
    all: Vec<Found>,
    kept: Vec<Found>,
}

impl Claims {
    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.all.clear();
        self.kept.clear();
    }

    /// Adds a claim.
    pub(super) fn push(&mut self, start: usize, end: usize, kind: Kind, score: f32) {
        if start < end {
            self.all.push(Found { start, end, kind, score });
        }
    }

    /// The start of the newest claim, when it ends at `end`.
    pub(super) fn last_ending(&self, end: usize) -> Option<usize> {
        self.all.last().filter(|claim| claim.end == end).map(|claim| claim.start)
    }

    /// Forgets claims with a score below `threshold`, so that they win over nothing.
    pub(super) fn drop_below(&mut self, threshold: f32) {
        self.all.retain(|claim| claim.score >= threshold);
    }

    /// Every claim so far.
    pub(super) fn all(&self) -> &[Found] {
        &self.all
    }

    /// The claims that stand, sorted by start, when the kinds for which `asked` holds are asked for.
    pub(super) fn settle(&mut self, asked: impl Fn(Kind) -> bool) -> &[Found] {
        self.all.sort_by(|a, b| {
            (a.start, std::cmp::Reverse(a.end), std::cmp::Reverse(a.kind.rank())).cmp(&(
                b.start,
                std::cmp::Reverse(b.end),
                std::cmp::Reverse(b.kind.rank()),
            ))
        });
        for &claim in &self.all {
            let mut stands = true;
            // Kept claims do not overlap each other but for unasked web addresses, so that few have to be looked at.
            while let Some(&last) = self.kept.last() {
                if !last.overlaps(claim.start, claim.end) {
                    break;
                }
                let last_wins =
                    (last.kind.rank(), last.end - last.start) >= (claim.kind.rank(), claim.end - claim.start);
                if last_wins {
                    stands = !asked(last.kind) && !last.kind.silences_unasked(claim.kind);
                    break;
                }
                if !asked(claim.kind) && !claim.kind.silences_unasked(last.kind) {
                    break;
                }
                self.kept.pop();
            }
            if stands {
                self.kept.push(claim);
            }
        }
        self.kept.retain(|claim| asked(claim.kind));
        &self.kept
    }
}
