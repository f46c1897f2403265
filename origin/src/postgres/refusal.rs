//! Why a server was not believed, or did not believe us, in words that say what to do.

use std::{error::Error as _, io};

use rustls::{AlertDescription, CertificateError, Error};

/// What was wrong with TLS, if it was that which made a connection fail.
pub(crate) fn tls_refusal(error: &tokio_postgres::Error) -> Option<String> {
    let cause = error.source()?;
    if let Some(error) = cause
        .downcast_ref::<io::Error>()
        .and_then(|error| error.get_ref()?.downcast_ref::<Error>())
    {
        return Some(sentence(error));
    }
    // The driver has no types for these.
    match cause.to_string().as_str() {
        "server does not support TLS" => Some(
            "the server speaks no TLS: switch it on there (ssl = on), or say sslmode=disable where the way to it is safe"
                .into(),
        ),
        text if text.contains("channel binding") => Some(format!(
            "the server can't bind the password to the connection (channel_binding=require): {text}"
        )),
        text if error.to_string().contains("TLS handshake") => {
            Some(format!("the TLS handshake failed: {text}"))
        }
        _ => None,
    }
}

fn sentence(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => certificate(error),
        Error::AlertReceived(
            alert @ (AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate),
        ) => format!(
            "the server does not take our certificate (sslcert, sslkey): it answered {alert:?}"
        ),
        Error::AlertReceived(alert) => {
            format!("the server broke the TLS handshake off: it answered {alert:?}")
        }
        other => format!("the TLS handshake failed: {other}"),
    }
}

fn certificate(error: &CertificateError) -> String {
    use CertificateError as E;
    match error {
        E::Expired | E::ExpiredContext { .. } => {
            "the server's certificate has expired: give it a new one (or set the clock of this machine)".into()
        }
        E::NotValidYet | E::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet: compare the clocks of both machines".into()
        }
        E::UnknownIssuer => {
            "the server's certificate is signed by no CA that is trusted here: name the file with its CA's certificate as sslrootcert".into()
        }
        E::NotValidForName => {
            "the server's certificate is for another name than the URL's host".into()
        }
        E::NotValidForNameContext {
            expected,
            presented,
        } => {
            let presented = match presented.as_slice() {
                [] => "no name (as subjectAltName; a common name does not count)".into(),
                names => names.join(", "),
            };
            format!(
                "the server's certificate is not for {}, the URL's host: it is for {presented}",
                expected.to_str()
            )
        }
        // Only its text tells it from others.
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "the server's certificate is that of a CA, as `openssl req -x509` makes them: let it sign another one for the server, and name it as sslrootcert".into()
        }
        other => format!("the server's certificate can't be trusted: {other}"),
    }
}
