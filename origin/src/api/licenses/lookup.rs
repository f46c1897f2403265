//! Finding a license by the key that a customer reads out. In the body, for keys don't belong
//! into addresses, which are logged and shared.

use licet_shared::{
    license_key::{LicenseKey, LicenseKeyError},
    problem::ProblemCode,
};

use super::{bodies::Lookup, show};
use crate::{
    api::{Call, Reply},
    db::license_records,
    http::HandlerError,
    rejection::Rejection,
};

pub(super) async fn lookup(call: Call) -> Result<Reply, HandlerError> {
    let Lookup { license_key } = call.json()?;
    let key: LicenseKey = license_key.parse().map_err(|error: LicenseKeyError| {
        Rejection::new(ProblemCode::LicenseKeyMalformed, error.to_string())
    })?;
    let hash = key.hash();
    let found = call.tenant().run_pipelined("look_up_license", |tx| {
        Box::pin(license_records::find_by_key(tx, &hash))
    });
    show(found.await?.ok_or_else(Rejection::not_found)?)
}
