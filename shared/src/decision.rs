//! The decision: may this activation use this product now, and how fresh is the answer?
//!
//! One pure function for the Worker, a native SDK and the browser. Hosts differ only in where
//! they get the documents from.

mod code;
mod effective;
mod lease;
mod presented;
mod verdict;

pub use code::Code;
pub use effective::Effective;
pub use lease::{LeaseToken, PresentedLease, ShownLease};
pub use presented::{Awaiting, OrgToken, Presented};
pub use verdict::{
    Degraded, FeatureSetReference, Freshness, LeaseSummary, LicenseSummary, Ruling, Source,
    TokenSummary, Verdict,
};

use lease::Lease;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    base64url,
    components::Components,
    documents::{
        AtExpiry, BoundComponents, FeatureSet, LicenseClaims, LicenseState, OrgKeys,
        StatusDocument, TOKEN_VERSION,
    },
    id::OrgTag,
    jws::{Verified, VerifyingKey},
    status_list::status,
    time::{CLOCK_SKEW_S, Timestamp},
};

/// Most bytes that a fingerprint, a product code or a feature name may have.
pub const MAX_TEXT_BYTES: usize = 1024;

/// How old a document may be that was fetched for the very request that demands a fresher one:
/// the time a call takes, and the difference between two kept clocks.
const FETCH_ALLOWANCE_S: i64 = 5;

/// What the caller asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// Code of the product that wants to run.
    pub product: &'a str,
    /// The product's vendor: another may sell one of the same code.
    pub org: Option<OrgTag>,
    /// The device's fingerprint, as text of the product's own making.
    pub fingerprint: Option<&'a str>,
    /// The device's component fingerprints.
    pub fingerprints: Option<&'a Components>,
    /// Features without which the answer is no.
    pub require: &'a [String],
    /// Oldest status the caller will accept, in seconds.
    pub max_staleness_s: Option<u32>,
    /// When the version that wants to run was released, as the product says.
    pub released_at: Option<Timestamp>,
    /// The lease of a floating seat, where the license has such.
    pub lease: ShownLease<'a>,
}

/// What the host knows. Documents are of the token's organization, or absent.
#[derive(Clone, Copy, Debug)]
pub struct State<'a> {
    /// The organization's keys.
    pub keys: Option<&'a OrgKeys>,
    /// The list that the token's status stands in.
    pub status_list: Option<&'a StatusDocument>,
    /// As of when the origin's signed word is that the list has not changed since it was made.
    pub status_unchanged_at: Option<Timestamp>,
    /// The license's own document, where there is one: needed when the license has changed since
    /// the token was made, and to tell what is left of quotas.
    pub license: Option<&'a LicenseState>,
    /// The feature set of the terms that count, see [`LicenseToken::effective`].
    pub features: Option<&'a FeatureSet>,
    /// Where the status list came from.
    pub source: Source,
    /// How the origin did when one of these should have been renewed.
    pub origin: OriginState,
    /// The latest time that the host has evidence of, where its clock may have been set back.
    pub newest_evidence: Option<Timestamp>,
}

/// How the origin did when a document should have been renewed, and so what the documents at
/// hand are worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OriginState {
    /// It answered, or did not have to be asked.
    #[default]
    Answering,
    /// It answered, but with nothing that can be used: what is held may go on until its own end.
    Unusable,
    /// It can't be reached by anyone here: what is held may go on for the token's grace too.
    Unreachable,
}

/// Why a text was not accepted as a license token, with the code to answer.
pub type TokenRefused = Code;

/// A license token whose signature has been checked, and the organization it belongs to.
#[derive(Clone, Debug)]
pub struct LicenseToken {
    token: Verified<LicenseClaims>,
    key: VerifyingKey,
    org: OrgTag,
    list: u32,
}

/// A text that has the form of a license token. Nothing in it is to be believed yet.
pub type PresentedToken<'a> = Presented<'a, LicenseToken>;

impl OrgToken for LicenseToken {
    type Claims = LicenseClaims;

    fn of(
        token: Verified<LicenseClaims>,
        key: &VerifyingKey,
        keys: &OrgKeys,
    ) -> Result<Self, TokenRefused> {
        let claims = token.claims();
        if claims.ver != TOKEN_VERSION {
            return Err(Code::Malformed);
        }
        if claims.org != keys.org() || claims.iss != keys.issuer() {
            return Err(Code::UnknownKey);
        }
        let list = claims
            .status
            .status_list
            .list_number(keys.issuer(), keys.tag())
            .ok_or(Code::Malformed)?;
        Ok(Self {
            token,
            key: key.clone(),
            org: keys.tag(),
            list,
        })
    }
}

impl LicenseToken {
    /// The org tag that a token names, before anything is verified: where to look for keys.
    ///
    /// # Errors
    /// [`Code::Malformed`] when it is not a license token, [`Code::UnknownKey`] when its `kid`
    /// names no organization.
    pub fn org_tag(text: &str, now: Timestamp) -> Result<OrgTag, TokenRefused> {
        PresentedToken::parse(text, now)?.org_tag()
    }

    /// Parses `text` and checks its signature against an organization's keys.
    ///
    /// # Errors
    /// [`Code::Malformed`], [`Code::UnknownKey`] or [`Code::SignatureInvalid`], in this order.
    pub fn verify(
        text: &str,
        keys: Option<&OrgKeys>,
        now: Timestamp,
    ) -> Result<Self, TokenRefused> {
        PresentedToken::parse(text, now)?.verify(keys.ok_or(Code::UnknownKey)?)
    }

    /// Whether `keys` still vouch for this token, whose signature was checked at an earlier time:
    /// they hold the very key, not only its name.
    #[must_use]
    pub fn still_vouched_for_by(&self, keys: &OrgKeys) -> bool {
        keys.tag() == self.org
            && keys.org() == self.claims().org
            && keys.issuer() == self.claims().iss
            && keys.find(self.key.kid()) == Some(&self.key)
    }

    /// What the token says.
    #[must_use]
    pub const fn claims(&self) -> &LicenseClaims {
        self.token.claims()
    }

    /// The organization's tag.
    #[must_use]
    pub const fn org(&self) -> OrgTag {
        self.org
    }

    /// Number of the status list that the token's status stands in.
    #[must_use]
    pub const fn status_list_number(&self) -> u32 {
        self.list
    }

    /// When it was made, and until when it holds.
    #[must_use]
    pub const fn times(&self) -> crate::jws::Times {
        self.token.times()
    }
}

/// Base64url of a fingerprint's SHA-256, as the `fp` claim has it.
#[must_use]
pub fn fingerprint_hash(fingerprint: &str) -> String {
    use base64ct::{Base64UrlUnpadded, Encoding};
    Base64UrlUnpadded::encode_string(&Sha256::digest(fingerprint.as_bytes()))
}

/// Whether that is what a claim has.
pub(crate) fn is_fingerprint_hash(claim: &str, fingerprint: &str) -> bool {
    // Not the other way round: what writes base64 does so in constant time, which takes longer.
    base64url::decode(claim.as_bytes()).as_deref() == Some(&*Sha256::digest(fingerprint.as_bytes()))
}

/// Decides about a token from its text. See [`decide_verified`] for one already checked.
#[must_use]
pub fn decide<'a>(
    text: &str,
    context: &Context<'_>,
    state: &State<'a>,
    now: Timestamp,
) -> Verdict<'a> {
    match LicenseToken::verify(text, state.keys, now) {
        Ok(token) => decide_verified(&token, context, state, now),
        Err(code) => Verdict::refused(code),
    }
}

/// Decides about a token whose signature has been checked.
///
/// The first code that applies is the answer, in the order of [`Code`].
#[must_use]
pub fn decide_verified<'a>(
    token: &LicenseToken,
    context: &Context<'_>,
    state: &State<'a>,
    now: Timestamp,
) -> Verdict<'a> {
    let state = &state.about(token);
    let lease = Lease::of(token, context.lease, state, now);
    let ruling = rule_with(token, context, &lease, state, now);
    Verdict {
        lease: lease.summary(),
        ..Verdict::about(token, ruling, state, now)
    }
}

/// Decides as [`decide_verified`] does, and hands out only what can be another with time. All else that
/// a verdict says follows from this ruling's code and `expired`, the token, and the documents of its license and
/// features; but for quotas and leases, which have times of their own.
#[must_use]
pub fn rule(
    token: &LicenseToken,
    context: &Context<'_>,
    state: &State<'_>,
    now: Timestamp,
) -> Ruling {
    let state = &state.about(token);
    let lease = Lease::of(token, context.lease, state, now);
    rule_with(token, context, &lease, state, now)
}

fn rule_with(
    token: &LicenseToken,
    context: &Context<'_>,
    lease: &Lease<'_>,
    state: &State<'_>,
    now: Timestamp,
) -> Ruling {
    let evidence = StatusEvidence::of(token, state);
    let code = first_objection(token, context, lease, state, evidence, now).unwrap_or(Code::Valid);
    Ruling::of(token, Some(context), code, state, evidence.as_of, now)
}

/// Decides about a token by itself: whether its license is in force and what it grants, not
/// whether a given device may run a given product with it.
///
/// Gives neither `VERSION_NOT_COVERED`, `PRODUCT_MISMATCH`, `FINGERPRINT_REQUIRED`, `FINGERPRINT_MISMATCH`, `FEATURE_MISSING`
/// nor any code about leases.
#[must_use]
pub fn decide_standing<'a>(token: &LicenseToken, state: &State<'a>, now: Timestamp) -> Verdict<'a> {
    let state = &state.about(token);
    let evidence = StatusEvidence::of(token, state);
    let code = evidence
        .objection()
        .or_else(|| time_objection(token, None, state, now))
        .or_else(|| freshness_objection(token, None, state, evidence, now))
        .unwrap_or(Code::Valid);
    let ruling = Ruling::of(token, None, code, state, evidence.as_of, now);
    Verdict::about(token, ruling, state, now)
}

/// What is known of a token's status, and as of when.
#[derive(Clone, Copy)]
struct StatusEvidence {
    value: Option<u8>,
    as_of: Timestamp,
    /// The list tells of a change that neither token nor license document show.
    outdated: bool,
}

impl StatusEvidence {
    fn of(token: &LicenseToken, state: &State<'_>) -> Self {
        let reference = &token.claims().status.status_list;
        let list = state.status_list.filter(|list| list.uri() == reference.uri);
        let seen = Self::in_list(token, list, state.status_unchanged_at);
        // What is known of the license is then as old as the terms that are used in spite of it.
        if list.is_some_and(|list| token.is_outdated(list, state.license)) {
            return Self {
                as_of: seen.as_of.min(token.vouched_at(state.license)),
                outdated: true,
                ..seen
            };
        }
        seen
    }

    fn in_list(
        token: &LicenseToken,
        document: Option<&StatusDocument>,
        unchanged_at: Option<Timestamp>,
    ) -> Self {
        let issued_at = token.times().issued_at;
        let reference = &token.claims().status.status_list;
        let Some(document) = document else {
            return Self {
                value: None,
                as_of: issued_at,
                outdated: false,
            };
        };
        let as_of = document.times().issued_at;
        match document.list().get(reference.idx as usize) {
            Some(value) => Self {
                value: Some(value),
                as_of: unchanged_at.map_or(as_of, |at| at.max(as_of)),
                outdated: false,
            },
            // The list is older than the entry: the token, made later, vouches for itself.
            None if as_of <= issued_at => Self {
                value: Some(status::VALID),
                as_of: issued_at,
                outdated: false,
            },
            None => Self {
                value: Some(u8::MAX),
                as_of,
                outdated: false,
            },
        }
    }

    fn objection(self) -> Option<Code> {
        match self.value? {
            status::VALID | status::CHANGED => None,
            status::REVOKED => Some(Code::Revoked),
            status::SUSPENDED => Some(Code::Suspended),
            status::DEACTIVATED => Some(Code::Deactivated),
            _ => Some(Code::StatusUnknown),
        }
    }
}

fn first_objection(
    token: &LicenseToken,
    context: &Context<'_>,
    lease: &Lease<'_>,
    state: &State<'_>,
    evidence: StatusEvidence,
    now: Timestamp,
) -> Option<Code> {
    evidence
        .objection()
        .or_else(|| time_objection(token, Some(context), state, now))
        .or_else(|| lease.objection(now))
        .or_else(|| use_objection(token, context, state))
        .or_else(|| clock_objection(state, now))
        .or_else(|| {
            let features = state.features?;
            let own = token.effective(state.license).own_features;
            let granted = context
                .require
                .iter()
                .all(|name| features.grants(own, name));
            (!granted).then_some(Code::FeatureMissing)
        })
        // Last of what the caller can mend: who is told to take a seat can use it.
        .or_else(|| lease.is_missing().then_some(Code::LeaseRequired))
        .or_else(|| freshness_objection(token, context.max_staleness_s, state, evidence, now))
}

fn freshness_objection(
    token: &LicenseToken,
    max_staleness_s: Option<u32>,
    state: &State<'_>,
    evidence: StatusEvidence,
    now: Timestamp,
) -> Option<Code> {
    let fresh = evidence.value.is_some()
        && documents_hold(token, state, now)
        && fresh_enough(max_staleness_s, state, evidence, now);
    (!fresh).then_some(Code::Stale)
}

/// `context` is what is asked, none where it is about the license by itself.
fn time_objection(
    token: &LicenseToken,
    context: Option<&Context<'_>>,
    state: &State<'_>,
    now: Timestamp,
) -> Option<Code> {
    let times = token.times();
    let terms = token.effective(state.license);
    let grace = grace_s(token, state);
    if times
        .not_before
        .is_some_and(|start| now.plus(CLOCK_SKEW_S) < start)
    {
        Some(Code::NotYetValid)
    } else if let Some((end, code)) = end_of_use(&terms, context)
        && now >= end
    {
        Some(code)
    } else if now >= times.expires_at.plus(grace) {
        Some(Code::TokenExpired)
    } else if now >= terms.refresh_by(times).plus(grace) {
        Some(Code::HeartbeatRequired)
    } else {
        None
    }
}

/// When the license's end is one for the use that is asked about, and the code for it; none where
/// it has no end, or use goes on.
fn end_of_use(terms: &Effective<'_>, context: Option<&Context<'_>>) -> Option<(Timestamp, Code)> {
    let end = terms.expires_at?;
    let before = |released: Option<Timestamp>| released.is_some_and(|released| released < end);
    match (terms.at_expiry, context) {
        (AtExpiry::Restrict, _) => Some((end, Code::LicenseExpired)),
        (AtExpiry::Maintain, Some(asked)) if !before(asked.released_at) => {
            Some((end, Code::VersionNotCovered))
        }
        // Some version of the product may go on, and nobody has asked about one.
        (AtExpiry::Maintain | AtExpiry::Allow, _) => None,
    }
}

/// Whether the license has ended and use goes on.
fn goes_on_expired(terms: &Effective<'_>, context: Option<&Context<'_>>, now: Timestamp) -> bool {
    let ended = terms.expires_at.is_some_and(|end| now >= end);
    ended && end_of_use(terms, context).is_none()
}

fn use_objection(token: &LicenseToken, context: &Context<'_>, state: &State<'_>) -> Option<Code> {
    let claims = token.claims();
    let products = token.effective(state.license).products;
    let is_anothers = context.org.is_some_and(|org| org != token.org());
    if is_anothers || !products.iter().any(|product| product == context.product) {
        return Some(Code::ProductMismatch);
    }
    // Whether the device is the one it should be; none where it is not told.
    let is_it = |bound: &String| Some(is_fingerprint_hash(bound, context.fingerprint?));
    let has_enough = |bound: &BoundComponents| {
        Some(context.fingerprints?.matching(&bound.of) >= usize::from(bound.n))
    };
    let told = [
        claims.fp.as_ref().map(is_it),
        claims.fpc.as_ref().map(has_enough),
    ];
    let mut asked = told.into_iter().flatten();
    if asked.clone().any(|answer| answer.is_none()) {
        Some(Code::FingerprintRequired)
    } else {
        let differs = asked.any(|answer| answer == Some(false));
        differs.then_some(Code::FingerprintMismatch)
    }
}

/// A clock that shows a time before what is known to have been, by more than honest ones differ.
fn clock_objection(state: &State<'_>, now: Timestamp) -> Option<Code> {
    let evidence = state.newest_evidence?;
    (now.plus(CLOCK_SKEW_S) < evidence).then_some(Code::ClockMovedBack)
}

/// Seconds beyond their ends for which token and documents count: only while nobody here can
/// reach the origin. One that answers, however badly, is no reason for grace.
fn grace_s(token: &LicenseToken, state: &State<'_>) -> i64 {
    match state.origin {
        OriginState::Unreachable => i64::from(token.effective(state.license).grace_s),
        OriginState::Answering | OriginState::Unusable => 0,
    }
}

/// The end of the documents' own lives; none where one of them is not there.
fn documents_end(state: &State<'_>) -> Option<Timestamp> {
    let ends = [
        state.keys?.times().expires_at,
        state.status_list?.times().expires_at,
        state.features?.times().expires_at,
    ];
    ends.into_iter().min()
}

/// Whether they count: to their ends, and for the token's grace on top of that while the origin
/// can't be reached.
fn documents_hold(token: &LicenseToken, state: &State<'_>, now: Timestamp) -> bool {
    documents_end(state).is_some_and(|end| now < end.plus(grace_s(token, state)))
}

/// Whether the status is as fresh as its list promises and as the caller demands.
///
/// What was fetched for this very request is measured by two clocks, the origin's and ours, so
/// it is given the time by which honest ones may differ. More is not given: an answer older than
/// that comes from somebody who holds newer ones back.
fn fresh_enough(
    max_staleness_s: Option<u32>,
    state: &State<'_>,
    evidence: StatusEvidence,
    now: Timestamp,
) -> bool {
    let age = now.since(evidence.as_of);
    let fetched_now = state.source == Source::Origin && !evidence.outdated;
    let (ttl_allowance, demand_allowance) = if fetched_now {
        (CLOCK_SKEW_S, FETCH_ALLOWANCE_S)
    } else {
        (0, 0)
    };
    let meets_demand = match max_staleness_s.map(i64::from) {
        None => true,
        // As of this second is not as of now.
        Some(0) => fetched_now && age <= demand_allowance,
        Some(demanded) => age <= demanded + demand_allowance,
    };
    let within_ttl = state
        .status_list
        .is_some_and(|list| age <= list.ttl().seconds() + ttl_allowance);
    meets_demand && (within_ttl || state.origin != OriginState::Answering)
}

/// Seconds for which a degraded host may go on saying yes; none where it is not degraded.
fn degraded_for_s(
    token: &LicenseToken,
    context: Option<&Context<'_>>,
    state: &State<'_>,
    now: Timestamp,
) -> Option<i64> {
    if state.origin == OriginState::Answering {
        return None;
    }
    let grace = grace_s(token, state);
    let end = yes_until(token, context, state, grace);
    Some(end.since(now).max(0))
}

/// Seconds for which a host could go on saying yes if nobody reached the origin from now on.
fn grace_remaining_s(
    token: &LicenseToken,
    context: Option<&Context<'_>>,
    state: &State<'_>,
    now: Timestamp,
) -> i64 {
    let grace = token.effective(state.license).grace_s.into();
    let end = yes_until(token, context, state, grace);
    end.since(now).max(0)
}

/// The second from which on the answer is no in any case, with so many seconds of grace.
fn yes_until(
    token: &LicenseToken,
    context: Option<&Context<'_>>,
    state: &State<'_>,
    grace_s: i64,
) -> Timestamp {
    let terms = token.effective(state.license);
    let refresh_by = terms.refresh_by(token.times());
    let held = documents_end(state).map_or(refresh_by, |end| end.min(refresh_by));
    let end = held.plus(grace_s);
    end_of_use(&terms, context).map_or(end, |(of_use, _)| of_use.min(end))
}
