//! What the deployment says: read once per isolate, refused as a whole when any of it is wrong.

use std::{fmt, rc::Rc, str::FromStr};

use licet_shared::{documents::PlatformKeys, jws::SigningSeed};

use crate::http::cors::AllowedOrigins;

/// Longest base URL; it becomes a part of cache keys, which are limited to 512 bytes.
const MAX_URL_BYTES: usize = 256;
/// Time a call to the origin may take where nothing else is said.
const DEFAULT_ORIGIN_TIMEOUT_MS: u32 = 3_000;
const ORIGIN_TIMEOUT_MS: std::ops::RangeInclusive<u32> = 50..=30_000;

/// Who vouches for organizations' keys.
#[derive(Debug)]
pub(crate) struct Platform {
    /// The `iss` of every token: this edge's public base URL.
    pub(crate) issuer: String,
    /// The pinned keys.
    pub(crate) keys: PlatformKeys,
}

/// The deployment's settings. `Debug` shows no secret.
#[derive(Debug)]
pub(crate) struct Config {
    /// From `ISSUER` and `PLATFORM_KEYS`.
    pub(crate) platform: Rc<Platform>,
    /// From `EDGE_KEY`: signs calls to the origin.
    pub(crate) edge_key: SigningSeed,
    /// From `ORIGIN_URL`: scheme, host and port.
    pub(crate) origin_url: String,
    /// From `ORIGIN_TIMEOUT_MS`.
    pub(crate) origin_timeout_ms: u32,
    /// From `CORS_ORIGINS`.
    pub(crate) cors: AllowedOrigins,
}

/// A setting that can't be used. Never carries the setting's value: it may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigError {
    variable: &'static str,
    why: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.variable, self.why)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads all settings from a look-up by name.
    ///
    /// # Errors
    /// [`ConfigError`] that names the first setting which is missing or wrong.
    pub(crate) fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let settings = Settings { lookup };
        let issuer = settings.base_url("ISSUER")?;
        let keys = settings.parsed("PLATFORM_KEYS")?;
        Ok(Self {
            platform: Rc::new(Platform { issuer, keys }),
            edge_key: settings.parsed("EDGE_KEY")?,
            origin_url: settings.base_url("ORIGIN_URL")?,
            origin_timeout_ms: settings.timeout()?,
            cors: settings.parsed("CORS_ORIGINS")?,
        })
    }
}

struct Settings<F> {
    lookup: F,
}

impl<F: Fn(&str) -> Option<String>> Settings<F> {
    fn text(&self, variable: &'static str) -> Result<String, ConfigError> {
        (self.lookup)(variable)
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
            .ok_or_else(|| ConfigError {
                variable,
                why: "is not set".into(),
            })
    }

    fn parsed<T>(&self, variable: &'static str) -> Result<T, ConfigError>
    where
        T: FromStr<Err: fmt::Display>,
    {
        self.text(variable)?
            .parse()
            .map_err(|error: T::Err| ConfigError {
                variable,
                why: error.to_string(),
            })
    }

    /// `scheme://host[:port]`, the only form in which a text is also an `iss` and a prefix of paths.
    fn base_url(&self, variable: &'static str) -> Result<String, ConfigError> {
        let url = self.text(variable)?;
        let host = url
            .strip_prefix("https://")
            .or_else(|| url.strip_prefix("http://"));
        let plain = |host: &str| {
            !host.is_empty()
                && host
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || ".-_:[]".contains(c))
        };
        if url.len() <= MAX_URL_BYTES && host.is_some_and(plain) {
            Ok(url)
        } else {
            let why = "must be http(s)://host[:port], without a path or a slash at its end";
            Err(ConfigError {
                variable,
                why: why.into(),
            })
        }
    }

    fn timeout(&self) -> Result<u32, ConfigError> {
        const VARIABLE: &str = "ORIGIN_TIMEOUT_MS";
        let Ok(text) = self.text(VARIABLE) else {
            return Ok(DEFAULT_ORIGIN_TIMEOUT_MS);
        };
        text.parse()
            .ok()
            .filter(|ms| ORIGIN_TIMEOUT_MS.contains(ms))
            .ok_or_else(|| ConfigError {
                variable: VARIABLE,
                why: format!(
                    "must be a number of milliseconds from {} to {}",
                    ORIGIN_TIMEOUT_MS.start(),
                    ORIGIN_TIMEOUT_MS.end()
                ),
            })
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::Config;
    use crate::testing::{edge_key, settings};

    fn error_with(variable: &'static str, value: Option<&str>) -> String {
        let mut settings = settings();
        settings.remove(variable);
        if let Some(value) = value {
            settings.insert(variable, value.into());
        }
        Config::read(|name| settings.get(name).cloned())
            .unwrap_err()
            .to_string()
    }

    #[wasm_bindgen_test]
    fn good_settings_are_taken() {
        let config = Config::read(|name| settings().get(name).cloned()).unwrap();
        assert_eq!(config.origin_timeout_ms, 200);
        let mut short = settings();
        short.remove("ORIGIN_TIMEOUT_MS");
        let config = Config::read(|name| short.get(name).cloned()).unwrap();
        assert_eq!(config.origin_timeout_ms, 3_000);
    }

    #[wasm_bindgen_test]
    fn a_wrong_setting_is_named() {
        for variable in [
            "ISSUER",
            "PLATFORM_KEYS",
            "EDGE_KEY",
            "ORIGIN_URL",
            "CORS_ORIGINS",
        ] {
            for value in [None, Some(""), Some("  ")] {
                assert_eq!(
                    error_with(variable, value),
                    format!("{variable}: is not set")
                );
            }
            let error = error_with(variable, Some("nonsense"));
            assert!(error.starts_with(&format!("{variable}: ")), "{error}");
        }
        for url in [
            "ftp://h",
            "https://",
            "https://h/",
            "https://h/path",
            "https://h?q",
            "https://u@h",
            "https://h ost",
            "//h",
        ] {
            assert!(
                error_with("ORIGIN_URL", Some(url)).contains("must be http(s)://"),
                "{url}"
            );
        }
        for timeout in ["0", "49", "30001", "1s", "-1", "99999999999"] {
            assert!(error_with("ORIGIN_TIMEOUT_MS", Some(timeout)).contains("milliseconds"));
        }
        let three = "a.1:x,b.1:x,c.1:x";
        assert!(error_with("PLATFORM_KEYS", Some(three)).starts_with("PLATFORM_KEYS: "));
    }

    #[wasm_bindgen_test]
    fn no_secret_shows() {
        let secret = edge_key().reveal();
        let seed = secret.split_once(':').unwrap().1;
        let config = Config::read(|name| settings().get(name).cloned()).unwrap();
        assert!(!format!("{config:?}").contains(seed));
        let error = error_with("EDGE_KEY", Some(&format!("{secret}!")));
        assert!(!error.contains(seed), "{error}");
    }
}
