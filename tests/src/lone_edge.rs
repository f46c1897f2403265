//! A real Worker with a fake origin behind it: for what a true origin would never send.

use std::path::{Path, PathBuf};

use base64ct::{Base64UrlUnpadded, Encoding};
use licet_shared::jws::LocalSigner;
use xtask::origin::Keys;
use xtask::wrangler::Worker;

use crate::fake_origin::FakeOrigin;
use crate::forge::ForgedOrg;
use crate::parts;
use crate::scratch::Scratch;
use crate::stack::{Permit, start_worker};

/// A Worker and its fake origin. Both end when it is dropped.
pub struct LoneEdge {
    /// The Worker, to be stopped and restarted.
    pub worker: Worker,
    /// What it takes for the origin.
    pub origin: FakeOrigin,
    /// The platform's and the edge's keys.
    pub keys: Keys,
    scratch: Scratch,
    _permit: Permit,
}

impl LoneEdge {
    /// Starts one whose calls to the origin time out after a second.
    #[track_caller]
    pub fn start() -> Self {
        parts::require();
        let permit = Permit::wait();
        let scratch = Scratch::new();
        let keys = new_keys();
        let origin = FakeOrigin::start();
        let port = xtask::net::free_port().unwrap();
        let vars = [("ORIGIN_TIMEOUT_MS".to_owned(), "1000".to_owned())];
        let worker = start_worker(&vars, &keys, origin.url(), port, scratch.path());
        Self {
            worker,
            origin,
            keys,
            scratch,
            _permit: permit,
        }
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        self.worker.url()
    }

    /// A new organization that the platform vouches for.
    pub fn org(&self) -> ForgedOrg {
        ForgedOrg::new(&self.url(), &self.keys.platform_key)
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }

    /// Directory of what it persists.
    pub fn persisted(&self) -> PathBuf {
        self.dir().join("edge/state")
    }
}

/// As `licet-origin keygen` makes them, but without an origin.
fn new_keys() -> Keys {
    let random = || xtask::net::random::<32>().unwrap();
    let [platform, edge] =
        ["platform.1", "edge.1"].map(|kid| LocalSigner::from_seed(kid, random()));
    Keys {
        master_key: Base64UrlUnpadded::encode_string(&random()),
        platform_key: platform.reveal(),
        platform_public: platform.verifying_key().to_string(),
        edge_key: edge.reveal(),
        edge_public: edge.verifying_key().to_string(),
    }
}
