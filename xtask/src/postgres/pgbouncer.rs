//! PgBouncer in transaction mode, in front of a [`Cluster`].

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::{ADMIN, Cluster, ServerUser, place};
use crate::process::Service;
use crate::{net, paths, step};

/// An installed PgBouncer.
#[derive(Clone, Debug)]
pub struct PgBouncerBinary {
    program: PathBuf,
    /// Major and minor version.
    pub version: (u32, u32),
}

impl PgBouncerBinary {
    /// That on `PATH`, or where Debian puts it.
    pub fn find() -> Result<Self> {
        let packaged = PathBuf::from("/usr/sbin/pgbouncer");
        let program = paths::which("pgbouncer")
            .or_else(|| paths::is_executable(&packaged).then_some(packaged))
            .context("there is no pgbouncer: install it (Debian: apt-get install pgbouncer)")?;
        let text = step::run_text(Command::new(&program).arg("--version"))?;
        let version = version(&text).with_context(|| format!("odd version: {text}"))?;
        Ok(Self { program, version })
    }

    /// Whether it can keep track of named prepared statements in transaction mode.
    pub fn tracks_statements(&self) -> bool {
        self.version >= (1, 21)
    }
}

/// `PgBouncer 1.18.0` → (1, 18).
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.lines().next()?.strip_prefix("PgBouncer ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// A running PgBouncer on loopback. Stopped when dropped.
pub struct PgBouncer {
    dir: PathBuf,
    port: u16,
    service: Service,
}

impl PgBouncer {
    /// Starts one that gives the databases of `cluster` at most `servers` connections each.
    /// `roles` log in by SCRAM with the verifiers that the cluster has of them; `settings` go into
    /// the section `[pgbouncer]`.
    pub fn start(
        binary: &PgBouncerBinary,
        cluster: &Cluster,
        servers: u32,
        roles: &[&str],
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        // Like Postgres it refuses to run as root.
        let user = ServerUser::pick()?;
        let dir = place::temporary(&user)?;
        let port = net::free_port()?;
        let (config, list) = (dir.join("pgbouncer.ini"), dir.join("userlist.txt"));
        fs::write(&list, userlist(cluster, roles)?)?;
        let text = ini(cluster.port(), port, &list, servers, settings);
        fs::write(&config, text)?;
        user.own(&list)?;
        user.own(&config)?;
        let mut command = Command::new(&binary.program);
        command.arg(&config);
        user.apply(&mut command);
        let log = dir.join("pgbouncer.log");
        let mut service = Service::spawn("PgBouncer", &mut command, &log, Signal::INT)?;
        service.wait_ready(Duration::from_secs(30), || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        })?;
        Ok(Self { dir, port, service })
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A URL of its cluster, by way of it.
    pub fn url(&self, cluster: &Cluster, url: &str) -> String {
        url.replace(
            &format!(":{}/", cluster.port()),
            &format!(":{}/", self.port),
        )
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.service.log()).unwrap_or_default()
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.service.stop(Duration::from_secs(5)).ok();
        fs::remove_dir_all(&self.dir).ok();
    }
}

fn userlist(cluster: &Cluster, roles: &[&str]) -> Result<String> {
    // The superuser's password is the cluster's own and known in the clear.
    let mut list = format!("\"{ADMIN}\" \"{}\"\n", cluster.password);
    for role in roles {
        let sql = format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{role}'");
        match cluster.query("postgres", &sql)?.first().map(Vec::as_slice) {
            Some([Some(verifier)]) => list.push_str(&format!("\"{role}\" \"{verifier}\"\n")),
            _ => bail!("the role {role} has no password"),
        }
    }
    Ok(list)
}

fn ini(server: u16, port: u16, list: &Path, servers: u32, settings: &[(&str, &str)]) -> String {
    let mut text = format!(
        "[databases]\n* = host=127.0.0.1 port={server}\n\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\n\
         listen_port = {port}\n\
         unix_socket_dir =\n\
         auth_type = scram-sha-256\n\
         auth_file = {}\n\
         pool_mode = transaction\n\
         ignore_startup_parameters = options\n\
         default_pool_size = {servers}\n\
         max_client_conn = 500\n",
        list.display()
    );
    for (name, value) in settings {
        text.push_str(&format!("{name} = {value}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn reads_the_version() {
        let text = "PgBouncer 1.18.0\nlibevent 2.1.12-stable\n";
        assert_eq!(version(text), Some((1, 18)));
        assert_eq!(version("PgBouncer 1.24.1"), Some((1, 24)));
        assert_eq!(version("something else"), None);
    }
}
