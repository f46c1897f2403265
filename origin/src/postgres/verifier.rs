//! What a server must show.

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
    version::{TLS12, TLS13},
};

use super::{Mode, Tls, UrlError, certificates, parameters::Parameters};

/// What Postgres is called in ALPN, so that no server of another protocol can be put in its place.
const ALPN: &[u8] = b"postgresql";

/// Checks no name, and the chain only where there are roots. Signatures of the handshake it always
/// checks: the server must hold the key of the certificate that it shows.
#[derive(Debug)]
struct NamelessVerifier {
    roots: Option<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for NamelessVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(roots) = &self.roots {
            verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(end_entity)?,
                roots,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            )?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// TLS as a mode has it.
pub(super) fn connector(parameters: &Parameters, mode: Mode) -> Result<Tls, UrlError> {
    let failed = |error: Error| UrlError::new(format!("can't be used with TLS: {error}"));
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(parameters)?)
        .map_err(failed)?;
    let verifier: Arc<dyn ServerCertVerifier> = match mode {
        Mode::VerifyFull => {
            let roots = certificates::roots(parameters.value("sslrootcert").unwrap_or("system"))?;
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|error| UrlError::new(format!("can't be used with TLS: {error}")))?
        }
        Mode::VerifyCa | Mode::Require | Mode::Prefer | Mode::Disable => {
            let roots = match parameters.value("sslrootcert") {
                Some(path) if mode == Mode::VerifyCa => Some(certificates::roots(path)?),
                _ => None,
            };
            Arc::new(NamelessVerifier { roots, provider })
        }
    };
    // Dangerous is what `require` and `verify-ca` mean; the modes are their users' to choose.
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match client_certificate(parameters, mode)? {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| {
            UrlError::new(format!(
                "has an sslcert and an sslkey that don't go together: {error}"
            ))
        })?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Postgres resumes no sessions, and each connection is to be checked anew.
    config.resumption = Resumption::disabled();
    Ok(Tls::new(config))
}

fn versions(parameters: &Parameters) -> Result<Vec<&'static SupportedProtocolVersion>, UrlError> {
    match parameters.value("ssl_min_protocol_version") {
        None | Some("TLSv1.2") => Ok(vec![&TLS13, &TLS12]),
        Some("TLSv1.3") => Ok(vec![&TLS13]),
        Some(_) => Err(parameters.wrong(
            "ssl_min_protocol_version",
            "TLSv1.2 or TLSv1.3: older versions are not spoken",
        )),
    }
}

type ClientCertificate = (
    Vec<CertificateDer<'static>>,
    rustls::pki_types::PrivateKeyDer<'static>,
);

fn client_certificate(
    parameters: &Parameters,
    mode: Mode,
) -> Result<Option<ClientCertificate>, UrlError> {
    let (cert, key) = match (parameters.value("sslcert"), parameters.value("sslkey")) {
        (None, None) => return Ok(None),
        (Some(cert), Some(key)) => (cert, key),
        _ => {
            return Err(UrlError::new(
                "has one of sslcert and sslkey: they go together",
            ));
        }
    };
    if mode == Mode::Disable {
        // From the environment, which may be meant for other connections.
        return match parameters.by_url("sslcert") {
            false => Ok(None),
            true => Err(UrlError::new(
                "names an sslcert, but sslmode=disable shows none: use verify-full",
            )),
        };
    }
    let wrong = |name, path| move |why: String| UrlError::new(format!("has {name}={path}, {why}"));
    Ok(Some((
        certificates::chain(cert).map_err(wrong("sslcert", cert))?,
        certificates::key(key).map_err(wrong("sslkey", key))?,
    )))
}
