//! A Postgres that speaks TLS, and CAs of our own.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use xtask::postgres::{Cluster, Options, ServerUser};

use super::TestDatabase;

/// What the server is called. `hostaddr` says where it is, so no resolver has to know it.
pub const NAME: &str = "db.licet.test";

/// A CA.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// A certificate and its key, in PEM.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// For a server of these names.
    pub fn server(&self, names: &[&str]) -> Identity {
        self.sign(&server(names))
    }

    /// One that was good until the year 2001.
    pub fn expired(&self, names: &[&str]) -> Identity {
        let mut params = server(names);
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
        self.sign(&params)
    }

    /// For a client of this name.
    pub fn client(&self, name: &str) -> Identity {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// As `openssl req -x509` makes it: its own CA.
pub fn self_signed(name: &str) -> Identity {
    let mut params = server(&[name]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    Identity {
        certificate: params.self_signed(&key).unwrap().pem(),
        key: key.serialize_pem(),
    }
}

fn server(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, "a server");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

/// Files that Postgres may read, and nobody else the keys.
pub struct Files {
    dir: PathBuf,
    user: ServerUser,
}

impl Files {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "licet-tls-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let dir = std::env::temp_dir().join(name);
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        Self {
            dir,
            user: ServerUser::pick().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }

    /// For everybody to read.
    pub fn open(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        path
    }

    /// For this process alone.
    pub fn secret(&self, name: &str, text: &str) -> String {
        let path = self.open(name, text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// For the user that Postgres runs as alone.
    pub fn servers(&self, name: &str, text: &str) -> String {
        let path = self.open(name, text);
        self.user.own(self.dir.join(name).as_path()).unwrap();
        path
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.dir).ok();
    }
}

/// The superuser in the clear, as `Cluster` itself connects; in the databases whose name begins
/// with `certified` only who shows a certificate.
const HBA: &str = "\
local   all       all                    reject
host    all       postgres 127.0.0.1/32 password
hostssl certified all      127.0.0.1/32 scram-sha-256 clientcert=verify-full
host    certified all      127.0.0.1/32 reject
host    all       all      127.0.0.1/32 scram-sha-256
";

/// A cluster with TLS under `ca`.
pub struct TlsCluster {
    pub ca: Authority,
    pub files: Files,
    pub cluster: Arc<Cluster>,
}

impl TlsCluster {
    pub fn new() -> Self {
        let (ca, files) = (Authority::new("our CA"), Files::new());
        write_identity(&files, &ca.server(&[NAME, "127.0.0.1"]));
        let ca_file = files.open("ca.pem", &ca.pem);
        let hba = files.open("pg_hba.conf", HBA);
        let settings = [
            ("ssl", "on".to_owned()),
            ("ssl_cert_file", files.path("server.pem")),
            ("ssl_key_file", files.path("server.key")),
            ("ssl_ca_file", ca_file),
            ("hba_file", hba),
            ("max_connections", "200".to_owned()),
        ];
        let options = Options {
            settings: settings
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
            ..Options::default()
        };
        let cluster = Cluster::temporary(&options).expect("a Postgres with TLS");
        Self {
            ca,
            files,
            cluster: Arc::new(cluster),
        }
    }

    /// Starts the server again, with another certificate, or without TLS.
    pub fn become_another(&mut self, identity: Option<&Identity>) {
        if let Some(identity) = identity {
            write_identity(&self.files, identity);
        }
        let on = if identity.is_some() { "on" } else { "off" };
        let cluster = Arc::get_mut(&mut self.cluster).expect("nobody else uses it");
        cluster.set("ssl", on);
        cluster.restart().unwrap();
    }

    pub fn ca_file(&self) -> String {
        self.files.path("ca.pem")
    }

    pub fn database(&self) -> TestDatabase {
        let database = TestDatabase::on(Arc::clone(&self.cluster));
        database.command(&["migrate"]).succeed();
        database
    }
}

fn write_identity(files: &Files, identity: &Identity) {
    files.open("server.pem", &identity.certificate);
    files.servers("server.key", &identity.key);
}

/// A URL with another host and a query.
pub fn at(url: &str, host: &str, query: &str) -> String {
    format!(
        "{}?{query}",
        url.replace("@127.0.0.1:", &format!("@{host}:"))
    )
}

/// A URL that leads to the server by its name, with parameters of TLS.
pub fn named(url: &str, query: &str) -> String {
    at(url, NAME, &format!("hostaddr=127.0.0.1&{query}"))
}
