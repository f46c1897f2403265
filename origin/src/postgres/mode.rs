//! `sslmode`, as libpq has it.

use std::fmt;

use tokio_postgres::config::SslMode;

use super::{Place, UrlError, parameters::Parameters};

/// How a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the clear.
    Disable,
    /// Encrypted if the server offers it. Whoever stands in between can say that it does not.
    Prefer,
    /// Encrypted, with whoever answers.
    Require,
    /// Encrypted, with a server that a named CA has signed for, whatever its name.
    VerifyCa,
    /// Encrypted, with the very server that the URL names.
    VerifyFull,
}

impl Mode {
    /// As much of it as the driver knows: all else is the verifier's.
    pub(super) const fn on_the_wire(self) -> SslMode {
        match self {
            Self::Disable => SslMode::Disable,
            Self::Prefer => SslMode::Prefer,
            Self::Require | Self::VerifyCa | Self::VerifyFull => SslMode::Require,
        }
    }

    pub(super) const fn warning(self) -> Option<&'static str> {
        match self {
            Self::Disable => Some(
                "sslmode=disable: everything between here and the database can be read and changed on its way",
            ),
            Self::Prefer => Some(
                "sslmode=prefer protects nothing: whoever stands between here and the database can switch encryption off; use verify-full",
            ),
            Self::Require => Some(
                "sslmode=require without sslrootcert encrypts, but for whoever answers: the server shows nothing; use verify-full",
            ),
            Self::VerifyCa | Self::VerifyFull => None,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        })
    }
}

/// What is asked for, or what is safe where nothing is. libpq would take `prefer` then.
pub(super) fn decide(parameters: &Parameters, place: Place) -> Result<Mode, UrlError> {
    let said = match parameters.value("sslmode") {
        None => None,
        Some("disable") => Some(Mode::Disable),
        Some("prefer") => Some(Mode::Prefer),
        Some("require") => Some(Mode::Require),
        Some("verify-ca") => Some(Mode::VerifyCa),
        Some("verify-full") => Some(Mode::VerifyFull),
        Some(_) => {
            let modes = "disable, prefer, require, verify-ca or verify-full";
            return Err(parameters.wrong("sslmode", modes));
        }
    };
    if place == Place::Socket {
        return on_a_socket(parameters, said);
    }
    let mode = match (said, parameters.value("sslrootcert")) {
        (Some(Mode::VerifyCa), None) => {
            return Err(UrlError::new(
                "asks for sslmode=verify-ca, which needs sslrootcert: the file with the CA's certificate",
            ));
        }
        // Anybody can have a certificate of some public CA.
        (Some(mode @ (Mode::Require | Mode::VerifyCa)), Some("system")) => {
            return Err(UrlError::new(format!(
                "asks for sslmode={mode} with sslrootcert=system, which would trust anybody with a certificate of a public CA: use verify-full"
            )));
        }
        // As libpq does, for the sake of those who came before verify-ca.
        (Some(Mode::Require), Some(_)) => Mode::VerifyCa,
        (Some(mode), _) => mode,
        (None, None) if place == Place::Loopback && !parameters.url_names_tls() => Mode::Disable,
        (None, _) => Mode::VerifyFull,
    };
    if matches!(mode, Mode::Disable | Mode::Prefer) && parameters.by_url("sslrootcert") {
        return Err(UrlError::new(format!(
            "names an sslrootcert, but sslmode={mode} checks no certificate: use verify-full"
        )));
    }
    Ok(mode)
}

/// Postgres speaks no TLS there, and libpq ignores `sslmode`.
fn on_a_socket(parameters: &Parameters, said: Option<Mode>) -> Result<Mode, UrlError> {
    let wanted = said.is_some_and(|mode| mode.on_the_wire() == SslMode::Require);
    if parameters.url_names_tls() && (wanted || said.is_none()) {
        return Err(UrlError::new(
            "asks for TLS on a Unix socket, where Postgres speaks none: leave sslmode and the certificates out",
        ));
    }
    Ok(Mode::Disable)
}
