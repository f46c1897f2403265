//! Randomness from the operating system, and the ids made from it.

use licet_shared::id::{
    ActivationId, ApiKeyId, EventId, FeatureSetId, InvitationId, LeaseId, LicenseId, OrgId,
    PolicyId, ProductId, ProjectId, RequestId, UserId,
};
use uuid::Uuid;

use crate::{clock, fault::Fault};

/// Random bytes.
///
/// # Errors
/// [`Fault`] when the operating system has none to give.
pub fn bytes<const N: usize>() -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Fault::internal("no random bytes", error))?;
    Ok(bytes)
}

/// An id that stands in the database as a UUID.
pub trait RowId: Copy {
    /// A new one, made from the time and random bytes.
    ///
    /// # Errors
    /// [`Fault`] when there is no randomness.
    fn generate() -> Result<Self, Fault>;
    /// As the database holds it.
    fn uuid(self) -> Uuid;
    /// From the database.
    fn from_uuid(uuid: Uuid) -> Self;
}

macro_rules! row_ids {
    ($($id:ty),*) => {$(
        impl RowId for $id {
            fn generate() -> Result<Self, Fault> {
                Ok(Self::new(clock::unix_ms(), bytes()?))
            }

            fn uuid(self) -> Uuid {
                Uuid::from_bytes(self.uuid_bytes())
            }

            fn from_uuid(uuid: Uuid) -> Self {
                Self::from_uuid_bytes(uuid.into_bytes())
            }
        }
    )*};
}

row_ids!(
    ActivationId,
    ApiKeyId,
    EventId,
    FeatureSetId,
    InvitationId,
    LeaseId,
    LicenseId,
    OrgId,
    PolicyId,
    ProductId,
    ProjectId,
    RequestId,
    UserId
);
