//! Status lists.

use std::sync::Arc;

use licet_shared::{
    documents::{StatusListClaims, StatusReference, Ttl},
    jws::{Times, sign},
    status_list::{Bits, Encoded, StatusList},
    time::Timestamp,
};

use super::{
    DOCUMENT_LIFE_S, DocumentCache, SignedDocument,
    cache::{Copy, DocumentId, DocumentState},
};
use crate::{
    db::{
        Tenant,
        status_lists::{Content, ENTRIES, ListVersion, Withdrawn, content, list_version},
    },
    fault::Fault,
    keys::Keyrings,
};

/// Entries that a list has beyond those taken, at least, and a quarter of them as well. A token may
/// be stamped before a list that was read before the token's entry was taken, and then the list
/// must speak of it all the same. Also hides how many activations an organization has.
const HEADROOM: u32 = 1024;
/// Entries of the shortest list.
const SHORTEST: u32 = 2 * HEADROOM;

enum Found {
    Remembered(Arc<SignedDocument>),
    Content(Content),
}

/// The signed list `number` as the database has it now, in a copy not older than `max_age_s`.
/// None where the organization has no such list. Also tells whether the copy was remembered.
pub(crate) async fn status_list(
    tenant: &Tenant,
    keyrings: &Keyrings,
    cache: &DocumentCache,
    number: u32,
    ttl: Ttl,
    max_age_s: i64,
    now: Timestamp,
) -> Result<Option<(Arc<SignedDocument>, bool)>, Fault> {
    let id = DocumentId::StatusList(tenant.org(), number);
    let found = tenant
        .run_tx("status_list", |tx| {
            Box::pin(async move {
                let Some(version) = list_version(tx, number).await? else {
                    return Ok(None);
                };
                let state = state_of(version);
                if let Some(document) = cache.get(id, state, max_age_s, now) {
                    return Ok(Some(Found::Remembered(document)));
                }
                let content = content(tx, number).await?;
                Ok(content.map(Found::Content))
            })
        })
        .await?;
    let content = match found {
        None => return Ok(None),
        Some(Found::Remembered(document)) => return Ok(Some((document, true))),
        Some(Found::Content(content)) => content,
    };
    let version = content.version;

    let keyring = keyrings
        .get_version(tenant, version.keys_version, now)
        .await?;
    let claims = StatusListClaims {
        iss: keyrings.issuer().into(),
        org: tenant.org(),
        sub: StatusReference::uri(keyrings.issuer(), keyring.public().tag(), number),
        ver: version.version,
        ttl,
        chg: version.changed,
        ep: content.epoch,
        status_list: encode(version.taken, &content.withdrawn)?,
    };
    let text = sign(
        &claims,
        Times::starting(now, DOCUMENT_LIFE_S),
        keyring.signer(),
    )
    .map_err(|error| Fault::internal("signing a status list", error))?;
    let document = Arc::new(SignedDocument::new(text, version.version, now));
    cache.put(
        id,
        Copy {
            state: state_of(version),
            document: Arc::clone(&document),
        },
    );
    Ok(Some((document, false)))
}

fn length(taken: u32) -> u32 {
    let headroom = HEADROOM.max(taken / 4);
    (taken + headroom)
        .next_power_of_two()
        .clamp(SHORTEST, ENTRIES)
}

/// Whether the list becomes longer when this entry is taken, and so another.
pub(crate) fn grows_with(index: u32) -> bool {
    length(index) != length(index + 1)
}

/// What a copy's content follows from. An entry taken since changes it only when the list must
/// become longer: it is valid, as the padding says already.
fn state_of(version: ListVersion) -> DocumentState {
    DocumentState::StatusList(ListVersion {
        taken: length(version.taken),
        ..version
    })
}

/// Writes the entries; of several values for one the gravest stands, in the order in which
/// decisions weigh them: revoked, suspended, deactivated, changed.
fn encode(taken: u32, entries: &[Withdrawn]) -> Result<Encoded, Fault> {
    let broken = |error| Fault::internal("a status list's entries", error);
    let mut list = StatusList::new(Bits::Four, length(taken) as usize).map_err(broken)?;
    for entry in entries {
        let index = entry.index as usize;
        let graver = list
            .get(index)
            .is_none_or(|there| there == 0 || entry.status < there);
        if graver {
            list.set(index, entry.status).map_err(broken)?;
        }
    }
    Ok(list.encode())
}

#[cfg(test)]
mod tests {
    use licet_shared::status_list::status;

    use super::*;

    fn entry(index: u32, status: u8) -> Withdrawn {
        Withdrawn { index, status }
    }

    #[test]
    fn the_gravest_of_several_values_stands() {
        let entries = [
            entry(0, status::DEACTIVATED),
            entry(1, status::REVOKED),
            entry(1, status::DEACTIVATED),
            entry(2, status::DEACTIVATED),
            entry(2, status::SUSPENDED),
            entry(2, status::CHANGED),
            entry(3, status::CHANGED),
        ];
        let list = encode(4, &entries).unwrap().decode().unwrap();
        let values: Vec<u8> = (0..4).filter_map(|index| list.get(index)).collect();
        assert_eq!(
            values,
            [
                status::DEACTIVATED,
                status::REVOKED,
                status::SUSPENDED,
                status::CHANGED
            ]
        );
    }

    #[test]
    fn lists_grow_by_doubling_within_bounds() {
        for (taken, length) in [
            (0, 2048),
            (1024, 2048),
            (1025, 4096),
            (3072, 4096),
            (3073, 8192),
            (6554, 8192),
            (6555, 16_384),
            (ENTRIES - 1, 1 << 17),
            (ENTRIES, 1 << 17),
        ] {
            assert_eq!(encode(taken, &[]).unwrap().decode().unwrap().len(), length);
        }
        assert!(encode(0, &[entry(2048, 1)]).is_err());
        assert!(grows_with(1024) && !grows_with(1023) && !grows_with(1025));
        assert!(grows_with(3072) && !grows_with(ENTRIES - 1));
    }
}
