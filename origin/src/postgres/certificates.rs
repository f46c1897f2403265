//! Certificates and keys in their files.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
};

use super::UrlError;

/// The CAs that may sign for a server: of a file, or those that this machine trusts.
pub(super) fn roots(sslrootcert: &str) -> Result<RootCertStore, UrlError> {
    let wrong = |why: String| UrlError::new(format!("has sslrootcert={sslrootcert}, {why}"));
    let mut roots = RootCertStore::empty();
    if sslrootcert == "system" {
        // Some of what a machine holds may be too old to be read; that it holds none is another matter.
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err(wrong(
                "but no CA certificates were found on this machine: install them (Debian: apt-get install ca-certificates), or name the CA's file"
                    .into(),
            ));
        }
        return Ok(roots);
    }
    for certificate in chain(sslrootcert).map_err(&wrong)? {
        roots
            .add(certificate)
            .map_err(|error| wrong(format!("in which a certificate can't be used: {error}")))?;
    }
    Ok(roots)
}

/// The certificates in a PEM file, in their order.
pub(super) fn chain(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let unreadable = |error: pem::Error| match error {
        pem::Error::Io(error) => format!("which can't be read: {error}"),
        _ => "which is no PEM file".into(),
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect();
    match found.map_err(unreadable)? {
        empty if empty.is_empty() => Err("in which there is no certificate".into()),
        found => Ok(found),
    }
}

/// A private key, which nobody else may be able to read.
pub(super) fn key(path: &str) -> Result<PrivateKeyDer<'static>, String> {
    let about =
        fs::metadata(Path::new(path)).map_err(|error| format!("which can't be read: {error}"))?;
    // libpq's rule: root may lend a key to a group.
    let forbidden = if about.uid() == 0 { 0o037 } else { 0o077 };
    if about.mode() & forbidden != 0 {
        return Err(
            "which others may read: its mode must be 0600 (0640 where root owns it)".into(),
        );
    }
    PrivateKeyDer::from_pem_file(path).map_err(|error| match error {
        pem::Error::Io(error) => format!("which can't be read: {error}"),
        _ => "in which there is no private key in PEM without a password".into(),
    })
}
