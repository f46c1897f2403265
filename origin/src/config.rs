//! Configuration: what the environment says, checked. A refusal names the variable, and shows
//! its value only where that is no secret.

mod accounts;

use std::{borrow::Cow, fmt, sync::Arc};

use licet_shared::jws::{LocalSigner, VerifyingKey};

pub use accounts::{cors_origins, rate_limits, trusted_proxies};

use crate::{
    keys::{IN_MODULE, MasterKey, Module, Platform},
    postgres::{self, Server},
};

/// A variable that is missing or wrong, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    variable: Cow<'static, str>,
    why: String,
}

impl ConfigError {
    pub(crate) fn new(variable: impl Into<Cow<'static, str>>, why: impl Into<String>) -> Self {
        Self {
            variable: variable.into(),
            why: why.into(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.variable, self.why)
    }
}

impl std::error::Error for ConfigError {}

/// A value that is shown nowhere.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The value itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

fn required<'a>(
    variable: &'static str,
    value: Option<&'a Secret>,
    what: &str,
) -> Result<&'a str, ConfigError> {
    match value.map(Secret::reveal).map(str::trim) {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(ConfigError::new(
            variable,
            format!("is not set: it must be {what}"),
        )),
    }
}

/// A Postgres URL, and what libpq's variables add to it.
///
/// # Errors
/// [`ConfigError`] that does not show the URL, which holds a password.
pub fn database(variable: &'static str, value: Option<&Secret>) -> Result<Server, ConfigError> {
    let url = required(variable, value, postgres::FORM)?;
    Server::read(url, |name| std::env::var(name).ok())
        .map_err(|error| ConfigError::new(variable, error.to_string()))
}

/// The key that other keys are sealed under.
///
/// # Errors
/// [`ConfigError`] that does not show it.
pub fn master_key(value: Option<&Secret>) -> Result<MasterKey, ConfigError> {
    const VARIABLE: &str = "LICET_MASTER_KEY";
    const FORM: &str = "32 random bytes in base64url (licet-origin keygen makes one)";
    required(VARIABLE, value, FORM)?
        .parse()
        .map_err(|_| ConfigError::new(VARIABLE, format!("can't be read: it must be {FORM}")))
}

/// Master keys that open and don't seal.
///
/// # Errors
/// [`ConfigError`] that does not show them.
pub fn opening_master_keys(value: Option<&Secret>) -> Result<Vec<MasterKey>, ConfigError> {
    const VARIABLE: &str = "LICET_OPENING_MASTER_KEYS";
    let text = value.map_or("", Secret::reveal).trim();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<MasterKey> = text
        .split(',')
        .map(|key| key.trim().parse())
        .collect::<Result<_, _>>()
        .map_err(|_| {
            let why = "can't be read: it must be master keys as licet-origin keygen makes them, with a comma between two";
            ConfigError::new(VARIABLE, why)
        })?;
    if keys.len() > 2 {
        // A forgotten one would stay good for good.
        return Err(ConfigError::new(VARIABLE, "has more than two keys"));
    }
    Ok(keys)
}

/// The key that signs the organizations' key sets.
///
/// # Errors
/// [`ConfigError`] that does not show it.
pub fn platform_key(
    value: Option<&Secret>,
    module: Option<&Arc<Module>>,
) -> Result<Platform, ConfigError> {
    const VARIABLE: &str = "LICET_PLATFORM_KEY";
    const FORM: &str = "<kid>:<seed in base64url> (licet-origin keygen makes one)";
    let text = required(VARIABLE, value, FORM)?;
    match (text.strip_prefix(IN_MODULE), module) {
        (Some(label), Some(module)) => Platform::in_module(module, label),
        (Some(_), None) => Err(ConfigError::new(
            VARIABLE,
            "names a key in a module, and LICET_PKCS11_MODULE is not set",
        )),
        (None, _) => {
            let signer: Result<LocalSigner, _> = text.parse();
            let signer = signer
                .map_err(|error| ConfigError::new(VARIABLE, format!("can't be read: {error}")))?;
            Platform::local(&signer)
        }
    }
}

/// The public keys of the edges that may call.
///
/// # Errors
/// [`ConfigError`] with the key's position; public keys are no secret, but a private one may
/// have been put here by mistake.
pub fn edge_keys(value: Option<&str>) -> Result<Vec<VerifyingKey>, ConfigError> {
    const VARIABLE: &str = "LICET_EDGE_KEYS";
    let text = value
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .ok_or_else(|| {
            ConfigError::new(
                VARIABLE,
                "is not set: it must be <kid>:<public key>, or several with commas between",
            )
        })?;
    let mut keys: Vec<VerifyingKey> = Vec::new();
    for (position, key) in text.split(',').enumerate() {
        let key: VerifyingKey = key.trim().parse().map_err(|error| {
            ConfigError::new(
                VARIABLE,
                format!("has a key {} that can't be read: {error}", position + 1),
            )
        })?;
        if keys.iter().any(|earlier| earlier.kid() == key.kid()) {
            return Err(ConfigError::new(
                VARIABLE,
                format!("names the kid {} twice", key.kid()),
            ));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// Longest issuer: it stands in each token twice.
pub(crate) const MAX_ISSUER_BYTES: usize = 255;

/// The public base URL that stands in all tokens as their issuer.
///
/// # Errors
/// [`ConfigError`] with the value.
pub fn issuer(value: Option<&str>) -> Result<String, ConfigError> {
    const VARIABLE: &str = "LICET_ISSUER";
    const FORM: &str = "the edge's public base URL, such as https://licenses.example.com";
    let text = value
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .ok_or_else(|| ConfigError::new(VARIABLE, format!("is not set: it must be {FORM}")))?;
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let sound = rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['?', '#', ' ']));
    if !sound || text.ends_with('/') {
        let why = format!("is {text:?}: it must be {FORM}, without a slash at its end");
        return Err(ConfigError::new(VARIABLE, why));
    }
    if text.len() > MAX_ISSUER_BYTES {
        let why = format!("is longer than {MAX_ISSUER_BYTES} bytes");
        return Err(ConfigError::new(VARIABLE, why));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Option<Secret> {
        Some(Secret::from(text.to_owned()))
    }

    #[test]
    fn a_refusal_names_the_variable_and_hides_the_secret() {
        let hush = "hush-hush";
        let url = format!("postgres://licet_app:{hush}@:bad:/x");
        let errors = [
            database("LICET_DATABASE_URL", secret(&url).as_ref()).unwrap_err(),
            database("LICET_DATABASE_URL", None).unwrap_err(),
            database(
                "LICET_DATABASE_URL",
                secret(&format!("mysql://{hush}")).as_ref(),
            )
            .unwrap_err(),
            master_key(secret(hush).as_ref()).unwrap_err(),
            platform_key(secret(&format!("platform.1:{hush}")).as_ref(), None).unwrap_err(),
            edge_keys(Some(&format!("edge.1:{hush}"))).unwrap_err(),
            issuer(Some("licenses.example.com")).unwrap_err(),
            issuer(Some("https://licenses.example.com/")).unwrap_err(),
            issuer(Some(&format!("https://{}", "x".repeat(248)))).unwrap_err(),
        ];
        for error in errors {
            let text = error.to_string();
            assert!(text.starts_with("LICET_"), "{text}");
            assert!(!text.contains(hush), "{text}");
        }
        assert_eq!(format!("{:?}", secret(hush)), "Some(Secret(…))");
    }

    #[test]
    fn sound_values_are_taken() {
        assert!(
            database(
                "X",
                secret("postgres://licet_app:p@127.0.0.1:5432/licet").as_ref()
            )
            .is_ok()
        );
        assert_eq!(
            issuer(Some("http://127.0.0.1:8787")).unwrap(),
            "http://127.0.0.1:8787"
        );
        let pair = LocalSigner::from_seed("edge.1", [7; 32]);
        let key = pair.verifying_key().to_string();
        assert_eq!(edge_keys(Some(&key)).unwrap().len(), 1);
        assert!(edge_keys(Some(&format!("{key},{key}"))).is_err());
    }
}
