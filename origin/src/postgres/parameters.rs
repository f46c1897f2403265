//! What a URL says of TLS. The driver knows only a part of libpq's parameters, so these are taken
//! out before it reads the rest.

use percent_encoding::percent_decode_str;

use super::{FORM, UrlError};

/// Those of TLS, with libpq's variables.
const OURS: [(&str, &str); 7] = [
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("sslnegotiation", "PGSSLNEGOTIATION"),
    ("channel_binding", "PGCHANNELBINDING"),
    ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION"),
];

/// Those of which less would be honoured than whoever sets them expects.
const REFUSED: [&str; 10] = [
    "sslcrl",
    "sslcrldir",
    "sslpassword",
    "sslcertmode",
    "sslsni",
    "sslcompression",
    "ssl_max_protocol_version",
    "requiressl",
    "require_auth",
    "gssencmode",
];

/// The same as variables, as far as they ask for more safety.
const REFUSED_VARIABLES: [&str; 3] = ["PGSSLCRL", "PGSSLCRLDIR", "PGREQUIREAUTH"];

/// Those that the driver reads.
const DRIVERS: [&str; 16] = [
    "application_name",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// A parameter's value and where it was said.
struct Said {
    name: &'static str,
    value: String,
    variable: Option<&'static str>,
}

/// What is said of TLS, each parameter at most once.
pub(super) struct Parameters(Vec<Said>);

impl Parameters {
    /// Takes them out of a URL. Hands back what is left of it for the driver.
    pub(super) fn take(
        url: &str,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<(String, Self), UrlError> {
        let (before, query) = split(url)?;
        let mut found = Self(Vec::new());
        let mut rest = Vec::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(UrlError::form)?;
            let (name, value) = (decode(name)?, decode(value)?);
            if let Some((name, _)) = OURS.iter().find(|(ours, _)| *ours == name) {
                found.add(name, value, None)?;
            } else if DRIVERS.contains(&name.as_str()) {
                rest.push(part);
            } else {
                return Err(unknown(&name));
            }
        }
        for (name, variable) in OURS {
            let value = environment(variable).filter(|value| !value.is_empty());
            if let (None, Some(value)) = (found.value(name), value) {
                found.add(name, value, Some(variable))?;
            }
        }
        for name in REFUSED_VARIABLES {
            if environment(name).is_some_and(|value| !value.is_empty()) {
                return Err(UrlError::new(format!(
                    "meets {name} in the environment, which is not supported: unset it"
                )));
            }
        }
        let rest = if rest.is_empty() {
            before.to_owned()
        } else {
            format!("{before}?{}", rest.join("&"))
        };
        Ok((rest, found))
    }

    fn add(
        &mut self,
        name: &'static str,
        value: String,
        variable: Option<&'static str>,
    ) -> Result<(), UrlError> {
        // Of two, libpq would take the last; a reader may take the first.
        if self.value(name).is_some() {
            return Err(UrlError::new(format!("has {name} twice")));
        }
        self.0.push(Said {
            name,
            value,
            variable,
        });
        Ok(())
    }

    fn get(&self, name: &str) -> Option<&Said> {
        self.0.iter().find(|said| said.name == name)
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.get(name).map(|said| said.value.as_str())
    }

    pub(super) fn by_url(&self, name: &str) -> bool {
        self.get(name).is_some_and(|said| said.variable.is_none())
    }

    /// Whether the URL has anything that makes sense only with TLS.
    pub(super) fn url_names_tls(&self) -> bool {
        let names = ["sslmode", "sslrootcert", "sslcert", "sslkey"];
        names.into_iter().any(|name| self.by_url(name))
    }

    /// What is wrong with a value, which is no secret.
    pub(super) fn wrong(&self, name: &str, allowed: &str) -> UrlError {
        let (value, place) = self.get(name).map_or(("", String::new()), |said| {
            let place = said.variable.map(|name| format!(" ({name})"));
            (said.value.as_str(), place.unwrap_or_default())
        });
        UrlError::new(format!("has {name}={value}{place}: it must be {allowed}"))
    }
}

fn unknown(name: &str) -> UrlError {
    UrlError::new(if REFUSED.contains(&name) {
        format!("has {name}, which is not supported: take it out")
    } else {
        let name: String = name.chars().take(64).collect();
        format!("has {name}, which is no parameter of a Postgres URL that is known here")
    })
}

/// The query apart, where the driver sees it: behind the first `@`, as a password may hold a `?`.
fn split(url: &str) -> Result<(&str, &str), UrlError> {
    let url = url.trim();
    let scheme = ["postgres://", "postgresql://"]
        .into_iter()
        .find(|scheme| url.starts_with(scheme));
    let scheme = scheme.ok_or_else(|| UrlError::new(format!("is no URL: it must be {FORM}")))?;
    let credentials = url[scheme.len()..]
        .find('@')
        .map_or(0, |position| position + 1);
    let from = scheme.len() + credentials;
    Ok(match url[from..].find('?') {
        Some(position) => (&url[..from + position], &url[from + position + 1..]),
        None => (url, ""),
    })
}

/// As in URLs, not as in forms: a `+` is a plus sign.
fn decode(text: &str) -> Result<String, UrlError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(|text| text.into_owned())
        .map_err(|_| UrlError::form())
}
