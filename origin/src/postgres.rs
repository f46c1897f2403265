//! A Postgres server as a URL names it: where it is, and what it must show before it is believed.

mod certificates;
mod mode;
mod parameters;
mod refusal;
mod verifier;

use std::{fmt, str::FromStr, time::Duration};

use tokio_postgres::{
    Client, Config, Connection, Socket,
    config::{ChannelBinding, Host, SslMode, SslNegotiation},
    tls::MakeTlsConnect,
};
use tokio_postgres_rustls::MakeRustlsConnect;

pub use mode::Mode;
pub(crate) use refusal::tls_refusal;

use parameters::Parameters;

/// What makes TLS out of a connection. Not used where the mode is [`Mode::Disable`].
pub(crate) type Tls = MakeRustlsConnect;

/// A connection's other half, which must be polled.
pub(crate) type Wire = Connection<Socket, <Tls as MakeTlsConnect<Socket>>::Stream>;

/// What is wrong with a URL, in a sentence that goes on from its name. Shows no password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlError(String);

impl UrlError {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }

    fn form() -> Self {
        Self(format!("can't be read: it must be {FORM}"))
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UrlError {}

/// What a URL looks like.
pub(crate) const FORM: &str = "a URL such as postgres://licet_app:password@host:5432/database";

/// A server, a role on it and a database.
#[derive(Clone)]
pub struct Server {
    config: Config,
    tls: Tls,
    mode: Mode,
    local: bool,
}

/// Shows no password.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl FromStr for Server {
    type Err = UrlError;

    /// Reads a URL by itself, whatever the environment says.
    fn from_str(url: &str) -> Result<Self, UrlError> {
        Self::read(url, |_| None)
    }
}

impl Server {
    /// Reads a URL. What it leaves open of TLS is taken from libpq's variables in `environment`.
    /// Certificates are read from their files now, so new ones count after a restart.
    ///
    /// # Errors
    /// [`UrlError`], also for a parameter that would not be honoured.
    pub fn read(url: &str, environment: impl Fn(&str) -> Option<String>) -> Result<Self, UrlError> {
        let (rest, parameters) = Parameters::take(url, environment)?;
        let mut config: Config = rest.parse().map_err(|_| UrlError::form())?;
        if config.get_hosts().is_empty() || config.get_user().is_none() {
            return Err(UrlError::new(format!(
                "names no host or no role: it must be {FORM}"
            )));
        }
        let place = Place::of(&config);
        let mode = mode::decide(&parameters, place)?;
        let a_socket = |(position, host): (usize, &Host)| {
            matches!(host, Host::Unix(_)) && config.get_hostaddrs().get(position).is_none()
        };
        if mode.on_the_wire() == SslMode::Require
            && config.get_hosts().iter().enumerate().any(a_socket)
        {
            return Err(UrlError::new(format!(
                "has sslmode={mode} for hosts of which one is a Unix socket, where Postgres speaks no TLS: leave one or the other out"
            )));
        }
        let tls = verifier::connector(&parameters, mode)?;
        config
            .ssl_mode(mode.on_the_wire())
            .ssl_negotiation(negotiation(&parameters, mode)?)
            .channel_binding(channel_binding(&parameters, mode)?);
        Ok(Self {
            config,
            tls,
            mode,
            local: place != Place::Elsewhere,
        })
    }

    /// How the connection is protected.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// What whoever runs this should know, if it is less than it may seem.
    #[must_use]
    pub fn warning(&self) -> Option<&'static str> {
        if self.local {
            return None;
        }
        self.mode.warning()
    }

    /// Driver's settings and TLS, for a pool.
    pub(crate) fn parts(&self) -> (Config, Tls) {
        (self.config.clone(), self.tls.clone())
    }

    /// One connection.
    pub(crate) async fn connect(
        &self,
        application: &str,
    ) -> Result<(Client, Wire), tokio_postgres::Error> {
        let mut config = self.config.clone();
        config
            .application_name(application)
            .connect_timeout(Duration::from_secs(5));
        config.connect(self.tls.clone()).await
    }
}

/// Where a URL's hosts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// On this machine, behind a socket in its file system, where TLS is not spoken.
    Socket,
    /// On this machine.
    Loopback,
    /// At least one of them may be anywhere.
    Elsewhere,
}

impl Place {
    fn of(config: &Config) -> Self {
        let addresses = config.get_hostaddrs();
        let place = |(position, host): (usize, &Host)| match (host, addresses.get(position)) {
            // Bytes go to the address, wherever the name leads.
            (_, Some(address)) => Self::at(address.to_canonical().is_loopback()),
            (Host::Unix(_), None) => Self::Socket,
            (Host::Tcp(name), None) => {
                let address: Result<std::net::IpAddr, _> = name.parse();
                Self::at(address.map_or(name == "localhost", |address| {
                    address.to_canonical().is_loopback()
                }))
            }
        };
        let mut places = config.get_hosts().iter().enumerate().map(place);
        let first = places.next().unwrap_or(Self::Elsewhere);
        places.fold(first, |one, other| match (one, other) {
            (one, other) if one == other => one,
            (Self::Elsewhere, _) | (_, Self::Elsewhere) => Self::Elsewhere,
            _ => Self::Loopback,
        })
    }

    const fn at(loopback: bool) -> Self {
        if loopback {
            Self::Loopback
        } else {
            Self::Elsewhere
        }
    }
}

fn negotiation(parameters: &Parameters, mode: Mode) -> Result<SslNegotiation, UrlError> {
    match parameters.value("sslnegotiation") {
        None | Some("postgres") => Ok(SslNegotiation::Postgres),
        Some("direct") if mode.on_the_wire() == SslMode::Require => Ok(SslNegotiation::Direct),
        Some("direct") => Err(UrlError::new(format!(
            "asks for sslnegotiation=direct, which needs at least sslmode=require, not {mode}"
        ))),
        Some(_) => Err(parameters.wrong("sslnegotiation", "postgres or direct")),
    }
}

fn channel_binding(parameters: &Parameters, mode: Mode) -> Result<ChannelBinding, UrlError> {
    match parameters.value("channel_binding") {
        None | Some("prefer") => Ok(ChannelBinding::Prefer),
        Some("disable") => Ok(ChannelBinding::Disable),
        Some("require") if mode == Mode::Disable => Err(UrlError::new(
            "asks for channel_binding=require, which needs TLS: give an sslmode other than disable",
        )),
        Some("require") => Ok(ChannelBinding::Require),
        Some(_) => Err(parameters.wrong("channel_binding", "disable, prefer or require")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(host: &str, query: &str, environment: &[(&str, &str)]) -> Result<Server, String> {
        let url = format!("postgres://licet_app:hush@{host}/licet{query}");
        let server = Server::read(&url, |name| {
            let found = environment.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        server.map_err(|error| {
            let text = error.to_string();
            assert!(!text.contains("hush"), "{text}");
            text
        })
    }

    fn mode(host: &str, query: &str, environment: &[(&str, &str)]) -> String {
        match read(host, query, environment) {
            Ok(server) => server.mode().to_string(),
            Err(error) => error,
        }
    }

    #[test]
    fn plain_is_only_what_stays_on_this_machine() {
        for host in [
            "127.0.0.1:5432",
            "127.9.9.9",
            "[::1]:5432",
            "localhost",
            "%2Frun%2Fpostgresql",
            "localhost,127.0.0.1",
            "localhost,%2Frun%2Fpostgresql",
        ] {
            assert_eq!(mode(host, "", &[]), "disable", "{host}");
        }
        for host in [
            "db.example.com",
            "10.0.0.1:6432",
            "[2001:db8::1]",
            "localhost.example.com",
            "127.0.0.1,db.example.com",
        ] {
            assert_eq!(mode(host, "", &[]), "verify-full", "{host}");
            assert!(read(host, "", &[]).unwrap().warning().is_none());
        }
        // Where the bytes go counts, not what the place is called.
        assert_eq!(mode("localhost", "?hostaddr=192.0.2.1", &[]), "verify-full");
        assert_eq!(mode("db.test", "?hostaddr=127.0.0.1", &[]), "disable");
    }

    #[test]
    fn the_url_is_stronger_than_the_environment() {
        let weak = &[("PGSSLMODE", "disable")];
        assert_eq!(mode("db.test", "", weak), "disable");
        assert_eq!(mode("db.test", "?sslmode=verify-full", weak), "verify-full");
        assert_eq!(
            mode("db.test", "?sslmode=require", &[("PGSSLMODE", "")]),
            "require"
        );
        assert_eq!(
            mode("127.0.0.1", "", &[("PGSSLMODE", "require")]),
            "require"
        );
        // As in libpq, which speaks no TLS there.
        let socket = "%2Frun%2Fpostgresql";
        assert_eq!(mode(socket, "", &[("PGSSLMODE", "verify-full")]), "disable");
    }

    #[test]
    fn what_is_weaker_than_it_seems_is_said() {
        for weak in ["disable", "prefer", "require"] {
            let query = format!("?sslmode={weak}");
            let warning = read("db.test", &query, &[]).unwrap().warning().unwrap();
            assert!(warning.contains(weak), "{warning}");
            assert!(read("127.0.0.1", &query, &[]).unwrap().warning().is_none());
        }
    }

    #[test]
    fn nothing_is_ignored() {
        for (host, query, sentence) in [
            ("db.test", "?sslmode=allow", "sslmode=allow"),
            ("db.test", "?sslmode=verify_full", "sslmode=verify_full"),
            (
                "db.test",
                "?sslmode=require&sslmode=disable",
                "sslmode twice",
            ),
            ("db.test", "?sslcrl=/x", "sslcrl, which is not supported"),
            (
                "db.test",
                "?sslpassword=hush",
                "sslpassword, which is not supported",
            ),
            (
                "db.test",
                "?sslmod=require",
                "sslmod, which is no parameter",
            ),
            ("db.test", "?sslmode", "can't be read"),
            ("db.test", "?sslmode=verify-ca", "needs sslrootcert"),
            (
                "db.test",
                "?sslmode=verify-ca&sslrootcert=system",
                "sslrootcert=system",
            ),
            (
                "db.test",
                "?sslmode=require&sslrootcert=system",
                "sslrootcert=system",
            ),
            (
                "db.test",
                "?sslmode=disable&sslrootcert=/ca.pem",
                "sslrootcert",
            ),
            (
                "db.test",
                "?sslmode=prefer&sslrootcert=/ca.pem",
                "sslrootcert",
            ),
            ("db.test", "?sslrootcert=/no/such/file", "/no/such/file"),
            ("db.test", "?sslcert=/no/such/file", "sslkey"),
            ("db.test", "?sslcert=/no/such&sslkey=/no/such", "/no/such"),
            ("db.test", "?channel_binding=yes", "channel_binding"),
            ("127.0.0.1", "?channel_binding=require", "needs TLS"),
            ("db.test", "?sslmode=prefer&sslnegotiation=direct", "direct"),
            ("db.test", "?ssl_min_protocol_version=TLSv1", "TLSv1.2"),
            ("%2Frun%2Fpostgresql", "?sslmode=verify-full", "socket"),
            ("%2Frun%2Fpostgresql,db.test", "?sslmode=require", "socket"),
        ] {
            let text = read(host, query, &[]).expect_err(query);
            assert!(text.contains(sentence), "{query}: {text}");
        }
        for name in ["PGSSLCRL", "PGSSLCRLDIR", "PGREQUIREAUTH"] {
            let text = read("db.test", "", &[(name, "x")]).unwrap_err();
            assert!(text.contains(name), "{text}");
        }
        let text = "host=db.test user=a password=hush"
            .parse::<Server>()
            .unwrap_err();
        assert!(text.to_string().contains("must be a URL"), "{text}");
    }

    #[test]
    fn what_is_not_of_tls_is_left_to_the_driver() {
        let url = "postgresql://a:p%3F@db.test:6432/x?options=-c%20jit%3Don&sslmode=require&target_session_attrs=read-write";
        let server: Server = url.parse().unwrap();
        let (config, _) = server.parts();
        assert_eq!(config.get_options(), Some("-c jit=on"));
        assert_eq!(config.get_password(), Some(b"p?".as_slice()));
        assert_eq!(config.get_ports(), [6432]);
        assert_eq!(config.get_ssl_mode(), SslMode::Require);
    }
}
