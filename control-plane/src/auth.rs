//! Who is calling, and what they may call.
//!
//! A token travels as `authorization: Bearer kt_at_…|kt_gw_…`. It is looked up by its hash in the mirrored state, so
//! that callers are known also while the store is away; a revoked one is refused as soon as the watch has told.

use std::{collections::BTreeSet, fmt, sync::Arc};

use kt_audit::Digest;
use kt_proto::{
    refusal::{Code, Refusal},
    v1::{self, Role},
};
use subtle::ConstantTimeEq as _;
use tonic::metadata::MetadataMap;

use crate::state::{State, Token};

/// What a person's token begins with.
pub const PERSON_PREFIX: &str = "kt_at_";
/// What a gateway's token begins with.
pub const GATEWAY_PREFIX: &str = "kt_gw_";

/// Who is calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A person, or a program of one.
    Person(Person),
    /// A gateway.
    Gateway(Gateway),
}

/// A person, by a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The id of the token.
    pub token_id: Arc<str>,
    /// The name of the token.
    pub name: Arc<str>,
    /// What the token allows.
    pub roles: BTreeSet<Role>,
}

/// A gateway, by its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// The id of the token.
    pub token_id: Arc<str>,
    /// The name of the token.
    pub name: Arc<str>,
    /// The fleet that the token is bound to.
    pub fleet: Arc<str>,
}

impl Identity {
    /// The id of the token.
    pub fn token_id(&self) -> &Arc<str> {
        match self {
            Self::Person(Person { token_id, .. }) | Self::Gateway(Gateway { token_id, .. }) => token_id,
        }
    }
}

impl fmt::Display for Identity {
    /// As the history of changes names it: name and id of the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(Person { token_id, name, .. }) | Self::Gateway(Gateway { token_id, name, .. }) => {
                write!(f, "{name} ({token_id})")
            }
        }
    }
}

/// Who is calling, by the token in the metadata of a call.
///
/// # Errors
/// `token_unknown`, `token_revoked`, `token_expired`.
pub fn authenticate(
    state: &State,
    metadata: &MetadataMap,
    now: jiff::Timestamp,
) -> Result<Identity, Refusal> {
    let value = metadata.get("authorization").map(tonic::metadata::MetadataValue::as_bytes);
    let Some(value) = value else {
        let message = "no token was sent: log in with `kt auth login`";
        return Err(Refusal::new(Code::TokenUnknown, message));
    };
    let scheme = value.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case(b"bearer "));
    let Some(text) = scheme.and_then(|_| value.get(7..)) else {
        return Err(Refusal::new(Code::TokenUnknown, "the `authorization` is not `Bearer` and a token"));
    };
    identity(find(state, text)?, now)
}

/// The token of that text.
fn find<'s>(state: &'s State, text: &[u8]) -> Result<&'s Token, Refusal> {
    let hash = Digest::of(text.trim_ascii()).0;
    let found = state.tokens.get(&hash);
    // The look-up goes by a hash that the caller can't aim; the whole of it is compared all the same.
    found.filter(|token| bool::from(token.record.sha256.ct_eq(&hash))).map(|token| &**token).ok_or_else(
        || {
            let message =
                "nobody knows this token: log in with `kt auth login`, or ask an admin for a new one";
            Refusal::new(Code::TokenUnknown, message)
        },
    )
}

fn identity(token: &Token, now: jiff::Timestamp) -> Result<Identity, Refusal> {
    let of = token.record.token.as_ref();
    let Some(of) = of else {
        return Err(Refusal::new(Code::StoreCorrupt, "the record of this token can't be read"));
    };
    if of.revoked_us != 0 {
        let message = format!("the token `{}` was revoked: ask an admin for a new one", of.id);
        return Err(Refusal::new(Code::TokenRevoked, message));
    }
    if is_expired(of, now) {
        let message = format!("the token `{}` has expired: ask an admin for a new one", of.id);
        return Err(Refusal::new(Code::TokenExpired, message));
    }
    let (token_id, name) = (of.id.as_str().into(), of.name.as_str().into());
    let roles: BTreeSet<Role> = of.roles().collect();
    if roles.contains(&Role::Gateway) {
        return Ok(Identity::Gateway(Gateway { token_id, name, fleet: of.fleet.as_str().into() }));
    }
    Ok(Identity::Person(Person { token_id, name, roles }))
}

/// Whether a token has expired.
pub(crate) fn is_expired(token: &v1::Token, now: jiff::Timestamp) -> bool {
    token.expires_us != 0 && token.expires_us <= now.as_microsecond()
}

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Whoever has a token.
    Anyone,
    /// People with one of these roles.
    Roles(&'static [Role]),
    /// Gateways.
    Gateways,
}

const ADMIN: Access = Access::Roles(&[Role::Admin]);
const PUBLISH: Access = Access::Roles(&[Role::Admin, Role::Publisher]);
const READ: Access = Access::Roles(&[Role::Admin, Role::Publisher, Role::Viewer]);
/// Events are the auditor's alone: who runs the fleet has no business with what people ask.
const EVENTS: Access = Access::Roles(&[Role::Auditor]);
const HISTORY: Access = Access::Roles(&[Role::Admin, Role::Auditor]);

/// Every method of every service, and who may call it. A method that is not here can't be called.
pub const CALLS: &[(&str, Access)] = &[
    ("/keeptrusts.v1.PackService/CheckPack", PUBLISH),
    ("/keeptrusts.v1.PackService/UploadPack", PUBLISH),
    ("/keeptrusts.v1.PackService/ListPackVersions", READ),
    ("/keeptrusts.v1.PackService/GetPackVersion", READ),
    ("/keeptrusts.v1.PackService/DownloadPack", READ),
    ("/keeptrusts.v1.FleetService/CreateFleet", ADMIN),
    ("/keeptrusts.v1.FleetService/ListFleets", READ),
    ("/keeptrusts.v1.FleetService/GetFleet", READ),
    ("/keeptrusts.v1.FleetService/Assign", PUBLISH),
    ("/keeptrusts.v1.FleetService/ListAssignments", READ),
    ("/keeptrusts.v1.FleetService/GetFleetStatus", READ),
    ("/keeptrusts.v1.FleetService/WatchFleetStatus", READ),
    ("/keeptrusts.v1.FleetService/ListGateways", READ),
    ("/keeptrusts.v1.FleetService/ListChanges", HISTORY),
    ("/keeptrusts.v1.KeyService/GetKeySet", ADMIN),
    ("/keeptrusts.v1.KeyService/PutKeySet", ADMIN),
    ("/keeptrusts.v1.TokenService/WhoAmI", Access::Anyone),
    ("/keeptrusts.v1.TokenService/CreateToken", ADMIN),
    ("/keeptrusts.v1.TokenService/ListTokens", ADMIN),
    ("/keeptrusts.v1.TokenService/RevokeToken", ADMIN),
    ("/keeptrusts.v1.AuditService/ListEvents", EVENTS),
    ("/keeptrusts.v1.AuditService/GetEvents", EVENTS),
    ("/keeptrusts.v1.AuditService/GetEventStats", EVENTS),
    ("/keeptrusts.v1.AuditService/TailEvents", EVENTS),
    ("/keeptrusts.v1.AuditService/ExportAudit", EVENTS),
    ("/keeptrusts.v1.AuditService/VerifyAudit", EVENTS),
    ("/keeptrusts.v1.AuditService/ListAuditInstances", EVENTS),
    ("/keeptrusts.v1.AuditService/EraseSubject", ADMIN),
    ("/keeptrusts.v1.AuditService/CreateAuditHold", ADMIN),
    ("/keeptrusts.v1.AuditService/ListAuditHolds", HISTORY),
    ("/keeptrusts.v1.AuditService/ReleaseAuditHold", ADMIN),
    ("/keeptrusts.v1.AuditService/ListAuditSinks", HISTORY),
    ("/keeptrusts.v1.AuditIngestService/Ship", Access::Gateways),
    ("/keeptrusts.v1.DeliveryService/Subscribe", Access::Gateways),
    ("/keeptrusts.v1.DeliveryService/FetchPack", Access::Gateways),
];

/// Who may call the method of a path; the path comes back as one of ours.
pub fn access(path: &str) -> Option<(&'static str, Access)> {
    CALLS.iter().copied().find(|(known, _)| *known == path)
}

/// Whether a caller may call a method.
///
/// # Errors
/// `role_missing`.
pub fn authorise(identity: &Identity, method: &str, access: Access) -> Result<(), Refusal> {
    let needed = match (access, identity) {
        (Access::Anyone, _) | (Access::Gateways, Identity::Gateway(_)) => return Ok(()),
        (Access::Roles(roles), Identity::Person(person)) => {
            if roles.iter().any(|role| person.roles.contains(role)) {
                return Ok(());
            }
            let names: Vec<_> = roles.iter().map(|role| format!("`{}`", role_name(*role))).collect();
            format!("a token with the role {}", names.join(" or "))
        }
        (Access::Roles(_), Identity::Gateway(_)) => "the token of a person, not of a gateway".to_owned(),
        (Access::Gateways, Identity::Person(_)) => "the token of a gateway, not of a person".to_owned(),
    };
    let method = method.rsplit('/').next().unwrap_or(method);
    Err(Refusal::new(Code::RoleMissing, format!("`{method}` needs {needed}")))
}

/// A role as people write it.
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Unspecified => "none",
        Role::Admin => "admin",
        Role::Publisher => "publisher",
        Role::Viewer => "viewer",
        Role::Auditor => "auditor",
        Role::Gateway => "gateway",
    }
}

#[cfg(test)]
mod tests {
    use kt_proto::store::v1 as store;

    use super::*;

    const NOW_US: i64 = 1_000_000;

    fn state(token: &v1::Token, text: &str) -> State {
        let hash = Digest::of(text.as_bytes()).0;
        let record = store::TokenRecord {
            token: Some(token.clone()),
            sha256: hash.to_vec(),
            request_id: String::new(),
        };
        let tokens = [(hash, Arc::new(Token { record, modified: 1 }))].into();
        State { tokens, ..State::default() }
    }

    fn token(roles: &[Role]) -> v1::Token {
        let roles = roles.iter().map(|role| i32::from(*role)).collect();
        v1::Token { id: "at_1".to_owned(), name: "ann".to_owned(), roles, ..v1::Token::default() }
    }

    fn call(state: &State, authorization: &str) -> Result<Identity, Refusal> {
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", authorization.parse().unwrap());
        authenticate(state, &metadata, jiff::Timestamp::from_microsecond(NOW_US).unwrap())
    }

    fn code(answer: Result<Identity, Refusal>) -> Code {
        answer.unwrap_err().code
    }

    #[test]
    fn a_token_is_known_by_its_text_and_no_other() {
        let state = state(&token(&[Role::Admin]), "kt_at_secret");
        assert_eq!(call(&state, "Bearer kt_at_secret").unwrap().to_string(), "ann (at_1)");
        assert!(call(&state, "bearer kt_at_secret").is_ok());
        for wrong in ["Bearer kt_at_secre", "Bearer ", "Basic kt_at_secret", "kt_at_secret", "Bearer"] {
            assert_eq!(code(call(&state, wrong)), Code::TokenUnknown, "{wrong}");
        }
        let none = authenticate(&state, &MetadataMap::new(), jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(code(none), Code::TokenUnknown);
    }

    #[test]
    fn no_refusal_repeats_the_token() {
        let revoked = v1::Token { revoked_us: 1, ..token(&[Role::Admin]) };
        for (token, text) in [(revoked, "kt_at_secret"), (token(&[]), "kt_at_other")] {
            let refusal =
                call(&state(&token, "kt_at_secret"), &format!("Bearer {text}")).unwrap_err().to_string();
            assert!(!refusal.contains(text), "{refusal}");
        }
    }

    #[test]
    fn a_revoked_or_expired_token_is_refused_by_name() {
        let revoked = v1::Token { revoked_us: 1, ..token(&[Role::Admin]) };
        assert_eq!(code(call(&state(&revoked, "t"), "Bearer t")), Code::TokenRevoked);
        let expired = v1::Token { expires_us: NOW_US, ..token(&[Role::Admin]) };
        assert_eq!(code(call(&state(&expired, "t"), "Bearer t")), Code::TokenExpired);
        let later = v1::Token { expires_us: NOW_US + 1, ..token(&[Role::Admin]) };
        assert!(call(&state(&later, "t"), "Bearer t").is_ok());
    }

    #[test]
    fn a_gateway_is_bound_to_the_fleet_of_its_token() {
        let gateway = v1::Token { fleet: "edge".to_owned(), ..token(&[Role::Gateway]) };
        let Identity::Gateway(gateway) = call(&state(&gateway, "t"), "Bearer t").unwrap() else { panic!() };
        assert_eq!(&*gateway.fleet, "edge");
    }

    #[test]
    fn every_method_of_the_descriptors_has_one_entry() {
        let mut methods = crate::descriptors::methods();
        let mut entries: Vec<String> = CALLS.iter().map(|(path, _)| (*path).to_owned()).collect();
        methods.sort();
        entries.sort();
        assert_eq!(entries, methods);
    }
}
