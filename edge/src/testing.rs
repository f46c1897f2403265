//! A small world for tests under node: an organization that signs documents, and in place of the
//! runtime's origin, cache and key-value store plain maps that a test can read and tamper with.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use js_sys::{Array, Function, Object, Reflect};
use licet_shared::{
    decision::fingerprint_hash,
    documents::{
        AtExpiry, Change, FeatureOverrides, FeaturesClaims, FeedClaims, Jwk, KeysClaims,
        LeaseClaims, LicenseClaims, LicenseStateClaims, Period, Revision, Status, StatusListClaims,
        StatusReference, TOKEN_VERSION, Tier, Ttl, Used,
    },
    id::{ActivationId, EventId, FeatureSetId, LeaseId, LicenseId, OrgId, OrgTag},
    jws::{Kind, LocalSigner, Times, sign},
    status_list::{Bits, StatusList},
    time::Timestamp,
};
use worker::wasm_bindgen::{JsCast, JsValue};

use crate::{
    clock::{self, Clock},
    config::Config,
    isolate::{Arrival, Isolate, Scope},
};

pub(crate) const DEVICE: &str = "device 1";

/// The token with a signature that nobody made.
pub(crate) fn forged(token: &str) -> String {
    let place = token.len() - 10;
    let other = if token.as_bytes()[place] == b'A' {
        "B"
    } else {
        "A"
    };
    let mut forged = token.to_owned();
    forged.replace_range(place..=place, other);
    forged
}

fn bytes(n: u8) -> [u8; 16] {
    [n; 16]
}

pub(crate) fn platform_key() -> LocalSigner {
    LocalSigner::from_seed("platform.1", [7; 32])
}

pub(crate) fn edge_key() -> LocalSigner {
    LocalSigner::from_seed("edge.1", [9; 32])
}

/// Settings that can be used, by name.
pub(crate) fn settings() -> BTreeMap<&'static str, String> {
    settings_of("https://edge.example")
}

fn settings_of(issuer: &str) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("ISSUER", issuer.into()),
        ("PLATFORM_KEYS", platform_key().verifying_key().to_string()),
        ("EDGE_KEY", edge_key().reveal()),
        ("ORIGIN_URL", issuer.replace("edge", "origin")),
        ("ORIGIN_TIMEOUT_MS", "200".into()),
        ("CORS_ORIGINS", "*".into()),
    ])
}

/// An organization as the origin of one installation knows it. Change it by `..org.clone()`.
#[derive(Clone)]
pub(crate) struct Org {
    /// Each new one is of an installation of its own: tests run side by side.
    pub(crate) issuer: String,
    pub(crate) key: u8,
    pub(crate) keys_version: u64,
    pub(crate) list_version: u64,
    pub(crate) revision: u32,
    pub(crate) status: u8,
    /// The list's version in which an entry was last marked as changed.
    pub(crate) changed: u64,
    /// The version of the license that tokens are made from, and of its document.
    pub(crate) license_version: u64,
    /// What the license's document says of it, with what is used of `exports`.
    pub(crate) tier: Tier,
    pub(crate) used: u64,
    /// Whether the feature set has a quota.
    pub(crate) metered: bool,
    /// How long ago it signs, in seconds.
    pub(crate) ago: i64,
    /// How far the feed had come when documents were read.
    pub(crate) epoch: u64,
}

impl Default for Org {
    fn default() -> Self {
        thread_local!(static INSTALLATIONS: Cell<u32> = const { Cell::new(0) });
        let number = INSTALLATIONS.replace(INSTALLATIONS.get() + 1);
        Self {
            issuer: format!("https://edge-{number}.example"),
            key: 1,
            keys_version: 1,
            list_version: 1,
            revision: 1,
            status: 0,
            changed: 0,
            license_version: 1,
            tier: Tier::Pro,
            used: 0,
            metered: false,
            ago: 0,
            epoch: 0,
        }
    }
}

impl Org {
    pub(crate) const INDEX: u32 = 7;

    pub(crate) fn tag() -> OrgTag {
        "ABCDEFGH".parse().unwrap()
    }

    pub(crate) fn features_id() -> FeatureSetId {
        FeatureSetId::from_uuid_bytes(bytes(2))
    }

    fn id() -> OrgId {
        OrgId::from_uuid_bytes(bytes(1))
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_unix((clock::now_ms() / 1000).cast_signed() - self.ago)
    }

    fn signer(&self) -> LocalSigner {
        LocalSigner::from_seed(format!("{}.{}", Self::tag(), self.key), [self.key; 32])
    }

    fn signed(&self, claims: &impl Kind, life_s: i64, signer: &LocalSigner) -> String {
        sign(claims, Times::starting(self.now(), life_s), signer).unwrap()
    }

    pub(crate) fn keys(&self) -> String {
        let claims = KeysClaims {
            ep: self.epoch,
            iss: self.issuer.clone(),
            sub: Self::id(),
            tag: Self::tag(),
            ver: self.keys_version,
            keys: vec![Jwk::of(&self.signer().verifying_key())],
        };
        self.signed(&claims, 86_400, &platform_key())
    }

    /// The feed that comes after epoch `since` of generation 1, and what it names.
    pub(crate) fn feed(&self, since: u64, changed: &[Change]) -> String {
        let claims = FeedClaims {
            iss: self.issuer.clone(),
            r#gen: 1,
            since,
            ep: self.epoch,
            changed: changed.to_vec(),
        };
        self.signed(&claims, 86_400, &platform_key())
    }

    pub(crate) fn list(&self) -> String {
        let mut list = StatusList::new(Bits::Four, 64).unwrap();
        list.set(Self::INDEX as usize, self.status).unwrap();
        let claims = StatusListClaims {
            ep: self.epoch,
            iss: self.issuer.clone(),
            org: Self::id(),
            sub: StatusReference::uri(&self.issuer, Self::tag(), 0),
            ver: self.list_version,
            ttl: Ttl(30),
            chg: self.changed,
            status_list: list.encode(),
        };
        self.signed(&claims, 86_400, &self.signer())
    }

    pub(crate) fn features(&self) -> String {
        let mut features = BTreeMap::from([("export.pdf".into(), true.into())]);
        if self.metered {
            let quota = serde_json::json!({ "quota": 10, "period": "once" });
            features.insert("exports".into(), quota);
        }
        let claims = FeaturesClaims {
            ep: self.epoch,
            iss: self.issuer.clone(),
            org: Self::id(),
            sub: Self::features_id(),
            rev: self.revision,
            features,
        };
        self.signed(&claims, 86_400, &self.signer())
    }

    pub(crate) fn license_id() -> LicenseId {
        LicenseId::from_uuid_bytes(bytes(3))
    }

    pub(crate) fn license(&self) -> String {
        let used = Used {
            period: Period::Once,
            start: 0,
            used: self.used,
        };
        let claims = LicenseStateClaims {
            iss: self.issuer.clone(),
            org: Self::id(),
            sub: Self::license_id(),
            ver: self.license_version,
            ttl: Ttl(if self.metered { 30 } else { 86_400 }),
            lists: vec![(0, self.list_version)],
            products: vec!["local_cli".into()],
            tier: self.tier,
            lexp: None,
            xb: AtExpiry::Restrict,
            ra: None,
            hb: None,
            lr: false,
            grace: 3_600,
            fs: Self::features_id(),
            fo: FeatureOverrides::default(),
            usage: BTreeMap::from([("exports".into(), vec![used])]),
        };
        self.signed(&claims, 86_400, &self.signer())
    }

    pub(crate) fn token(&self, life_s: i64) -> String {
        self.token_with(life_s, FeatureOverrides::default())
    }

    /// The token of a license with feature values of its own.
    pub(crate) fn token_with(&self, life_s: i64, own: FeatureOverrides) -> String {
        self.signed(&self.claims(own), life_s, &self.signer())
    }

    /// A token that says something else.
    pub(crate) fn claims_token(&self, change: impl FnOnce(&mut LicenseClaims)) -> String {
        let mut claims = self.claims(FeatureOverrides::default());
        change(&mut claims);
        self.signed(&claims, 86_400, &self.signer())
    }

    /// A token that says it is another organization's, which there is not.
    pub(crate) fn made_up_token(&self, tag: OrgTag) -> String {
        let mut claims = self.claims(FeatureOverrides::default());
        claims.status.status_list.uri = StatusReference::uri(&self.issuer, tag, 0);
        let signer = LocalSigner::from_seed(format!("{tag}.1"), [self.key; 32]);
        self.signed(&claims, 86_400, &signer)
    }

    /// The token of a license with floating seats.
    pub(crate) fn floating_token(&self, life_s: i64) -> String {
        let claims = LicenseClaims {
            lr: true,
            ..self.claims(FeatureOverrides::default())
        };
        self.signed(&claims, life_s, &self.signer())
    }

    /// A lease of a seat of it, for the token's activation.
    pub(crate) fn lease(&self, life_s: i64) -> String {
        let license = self.claims(FeatureOverrides::default());
        let claims = LeaseClaims {
            iss: license.iss,
            sub: license.sub,
            org: license.org,
            act: license.act,
            lea: LeaseId::from_uuid_bytes(bytes(6)),
            holder: "ada".into(),
            bor: false,
            status: license.status,
            ver: TOKEN_VERSION,
        };
        self.signed(&claims, life_s, &self.signer())
    }

    fn claims(&self, own: FeatureOverrides) -> LicenseClaims {
        LicenseClaims {
            iss: self.issuer.clone(),
            aud: vec!["local_cli".into()],
            sub: Self::license_id(),
            jti: EventId::from_uuid_bytes(bytes(4)),
            org: Self::id(),
            act: ActivationId::from_uuid_bytes(bytes(5)),
            fp: Some(fingerprint_hash(DEVICE)),
            fpc: None,
            tier: self.tier,
            lexp: None,
            xb: AtExpiry::Restrict,
            ra: None,
            hb: None,
            grace: 3_600,
            fs: Self::features_id(),
            fo: own,
            lr: false,
            rev: Some(Revision {
                license: self.license_version,
                list: self.list_version,
            }),
            status: Status {
                status_list: StatusReference {
                    idx: Self::INDEX,
                    uri: StatusReference::uri(&self.issuer, Self::tag(), 0),
                },
            },
            ver: TOKEN_VERSION,
        }
    }
}

/// What stands in for the runtime: `origin` (path to answer), `calls`, `cache`, `kv`, `later`.
/// The globals find the world of a call by the host in its URL.
const WORLD: &str = r#"
    const worlds = globalThis.worlds ??= new Map();
    const world_of = (url) => worlds.get(new URL(url).host.replace('origin', 'edge'));
    globalThis.fetch = async (url, init) => {
        const world = world_of(url), path = new URL(url).pathname;
        world.calls.push({ path, method: init.method, body: init.body, headers: new Headers(init.headers) });
        if (world.down) throw new TypeError('connection refused');
        if (world.slow.has(path)) await new Promise((done) => setTimeout(done, world.slow.get(path)));
        if (world.silent.has(path)) await new Promise((_, give_up) => {
            // Node does not stay up for a signal alone.
            const up = setInterval(() => {}, 1000);
            init.signal.addEventListener('abort', () => { clearInterval(up); give_up(init.signal.reason); });
        });
        const answer = world.origin.get(path) ?? { status: 404, type: 'application/problem+json', body:
            JSON.stringify({ type: 't', title: 't', status: 404, detail: 'd', code: 'NOT_FOUND', request_id: 'r' }) };
        return new Response(answer.body || null, { status: answer.status, headers: { 'content-type': answer.type, ...answer.headers } });
    };
    globalThis.caches = { default: {
        match: async (url) => world_of(url).cache.get(url)?.clone(),
        put: async (url, entry) => { world_of(url).cache.set(url, entry); },
        delete: async (url) => world_of(url).cache.delete(url),
    } };
    const world = { origin: new Map(), calls: [], cache: new Map(), kv: new Map(), later: [], down: false, silent: new Set(), slow: new Map() };
    world.env = { LAST_KNOWN_GOOD: {
        get: async (key) => world.kv.get(key) ?? null,
        put: async (key, value) => { world.kv.set(key, value); },
        delete: async (key) => { world.kv.delete(key); },
    } };
    world.context = { waitUntil: (work) => { world.later.push(work); } };
    worlds.set(new URL(issuer).host, world);
    return world;
"#;

/// The world of one test, and an isolate in it.
pub(crate) struct World {
    issuer: String,
    js: JsValue,
    isolate: Rc<Isolate>,
    /// Requests that were made and may have put something off.
    scopes: RefCell<Vec<Rc<Scope>>>,
}

impl World {
    /// An origin that has an organization's documents, and an isolate that has seen nothing.
    pub(crate) fn new(org: &Org) -> Self {
        let issuer = org.issuer.clone();
        let start = Function::new_with_args("issuer", WORLD);
        let js = start
            .call1(&JsValue::NULL, &issuer.as_str().into())
            .unwrap();
        let world = Self {
            isolate: Self::isolate(&issuer),
            issuer,
            js,
            scopes: RefCell::default(),
        };
        world.publish(org);
        world
    }

    fn isolate(issuer: &str) -> Rc<Isolate> {
        let settings = settings_of(issuer);
        Rc::new(Isolate::new(
            Config::read(|name| settings.get(name).cloned()).unwrap(),
        ))
    }

    /// A new isolate in the same data centre.
    pub(crate) fn restart(&mut self) {
        self.isolate = self.another();
    }

    /// One more isolate in the same data centre.
    pub(crate) fn another(&self) -> Rc<Isolate> {
        Self::isolate(&self.issuer)
    }

    /// Puts the organization's documents up at the origin.
    pub(crate) fn publish(&self, org: &Org) {
        let tag = Org::tag();
        self.answer(
            &format!("/edge/v1/orgs/{tag}/keys"),
            200,
            "application/keys+jwt",
            &org.keys(),
        );
        let list = format!("/edge/v1/orgs/{tag}/statuslists/0");
        self.answer(&list, 200, "application/statuslist+jwt", &org.list());
        let features = format!("/edge/v1/orgs/{tag}/feature-sets/{}", Org::features_id());
        self.answer(&features, 200, "application/features+jwt", &org.features());
        let license = format!("/edge/v1/orgs/{tag}/licenses/{}", Org::license_id());
        self.answer(
            &license,
            200,
            "application/license-state+jwt",
            &org.license(),
        );
    }

    /// Sets what the origin answers on a path.
    pub(crate) fn answer(&self, path: &str, status: u16, media_type: &str, body: &str) {
        let answer = Object::new();
        let set = |name: &str, value: JsValue| Reflect::set(&answer, &name.into(), &value).unwrap();
        set("status", status.into());
        set("type", media_type.into());
        set("body", body.into());
        self.map("origin").set(&path.into(), &answer);
    }

    /// Sets a further header of what the origin answers on a path.
    pub(crate) fn answer_header(&self, path: &str, name: &str, value: &str) {
        let headers = Object::new();
        Reflect::set(&headers, &name.into(), &value.into()).unwrap();
        let answer = self.map("origin").get(&path.into());
        Reflect::set(&answer, &"headers".into(), &headers).unwrap();
    }

    /// Lets the origin take calls for a path and never answer, or answer again.
    pub(crate) fn set_silent(&self, path: &str, silent: bool) {
        let paths: js_sys::Set = self.get("silent").unchecked_into();
        if silent {
            paths.add(&path.into());
        } else {
            paths.delete(&path.into());
        }
    }

    /// Lets the origin take its time with a path.
    pub(crate) fn set_slow(&self, path: &str, ms: u32) {
        self.map("slow").set(&path.into(), &ms.into());
    }

    /// Takes the origin from the network, or puts it back.
    pub(crate) fn set_down(&self, down: bool) {
        Reflect::set(&self.js, &"down".into(), &down.into()).unwrap();
    }

    fn get(&self, name: &str) -> JsValue {
        Reflect::get(&self.js, &name.into()).unwrap()
    }

    fn map(&self, name: &str) -> js_sys::Map {
        self.get(name).unchecked_into()
    }

    /// Calls that reached for the origin since the last look.
    pub(crate) fn calls(&self) -> Vec<SeenCall> {
        let calls: Array = self.get("calls").unchecked_into();
        let seen = calls.iter().map(SeenCall).collect();
        calls.set_length(0);
        seen
    }

    /// How many there were, which the next look still shows.
    pub(crate) fn calls_so_far(&self) -> u32 {
        Array::from(&self.get("calls")).length()
    }

    /// How much work the runtime knows of that goes on after answers.
    pub(crate) fn work_known(&self) -> u32 {
        Array::from(&self.get("later")).length()
    }

    /// How many entries the cache or the key-value store has.
    pub(crate) fn count(&self, tier: &str) -> u32 {
        self.map(tier).size()
    }

    /// Changes every entry of the cache or the key-value store, and says how many there were.
    pub(crate) async fn tamper(
        &self,
        tier: &str,
        change: impl Fn(&str, String) -> String,
    ) -> usize {
        let map = self.map(tier);
        let keys = Array::from(&map.keys());
        for key in keys.iter() {
            let entry = map.get(&key);
            let old = match entry.dyn_ref::<worker::web_sys::Response>() {
                Some(response) => {
                    let text = response.clone().unwrap().text().unwrap();
                    wasm_bindgen_futures::JsFuture::from(text).await.unwrap()
                }
                None => entry.clone(),
            };
            let new = change(&key.as_string().unwrap(), old.as_string().unwrap());
            match entry.dyn_ref::<worker::web_sys::Response>() {
                Some(response) => {
                    let init = worker::web_sys::ResponseInit::new();
                    init.set_headers_headers(&response.headers());
                    let entry =
                        worker::web_sys::Response::new_with_opt_str_and_init(Some(&new), &init);
                    map.set(&key, &entry.unwrap());
                }
                None => {
                    map.set(&key, &new.into());
                }
            }
        }
        keys.length() as usize
    }

    /// Takes entries out of the cache or the key-value store.
    pub(crate) fn remove(&self, tier: &str, which: impl Fn(&str) -> bool) {
        let map = self.map(tier);
        for key in Array::from(&map.keys()).iter() {
            if which(&key.as_string().unwrap()) {
                map.delete(&key);
            }
        }
    }

    /// Empties the cache or the key-value store.
    pub(crate) fn clear(&self, tier: &str) {
        self.map(tier).clear();
    }

    /// The surroundings of a request that comes in `later_s` seconds from now.
    pub(crate) fn scope_in(&self, later_s: i64) -> Rc<Scope> {
        self.scope_by(Clock::ahead(later_s))
    }

    /// The surroundings of a request that began `ago_s` seconds ago and has not looked at the
    /// clock since.
    pub(crate) fn scope_since(&self, ago_s: u64) -> Rc<Scope> {
        self.scope_by(Clock::at(clock::now_ms() - ago_s * 1_000))
    }

    fn scope_by(&self, clock: Clock) -> Rc<Scope> {
        self.scope_of(&self.isolate, clock)
    }

    /// The surroundings of a request to another isolate, by that clock.
    pub(crate) fn scope_of(&self, isolate: &Rc<Isolate>, clock: Clock) -> Rc<Scope> {
        let arrival = Arrival {
            clock,
            ..Arrival::now()
        };
        let context = worker::Context::new(self.get("context").unchecked_into());
        let scope = Rc::new(Scope::new(
            Rc::clone(isolate),
            self.get("env").unchecked_into(),
            context,
            arrival,
        ));
        self.scopes.borrow_mut().push(Rc::clone(&scope));
        scope
    }

    /// The surroundings of a request that comes in now.
    pub(crate) fn scope(&self) -> Rc<Scope> {
        self.scope_in(0)
    }

    /// Lets everything that was put off till after the response come to its end.
    pub(crate) async fn settle(&self) {
        for scope in self.scopes.take() {
            scope.answered();
        }
        loop {
            let later: Array = self.get("later").unchecked_into();
            let work = later.to_vec();
            later.set_length(0);
            if work.is_empty() {
                return;
            }
            for promise in work {
                let _ = wasm_bindgen_futures::JsFuture::from(js_sys::Promise::from(promise)).await;
            }
        }
    }
}

/// A call as the origin saw it.
pub(crate) struct SeenCall(JsValue);

impl SeenCall {
    fn get(&self, name: &str) -> JsValue {
        Reflect::get(&self.0, &name.into()).unwrap()
    }

    pub(crate) fn path(&self) -> String {
        self.get("path").as_string().unwrap()
    }

    pub(crate) fn body(&self) -> String {
        self.get("body").as_string().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.headers().get(name).unwrap()
    }

    pub(crate) fn header_names(&self) -> Vec<String> {
        let names = Array::from(&self.headers().keys());
        names.iter().map(|name| name.as_string().unwrap()).collect()
    }

    fn headers(&self) -> worker::web_sys::Headers {
        self.get("headers").unchecked_into()
    }
}

/// A request as the runtime would hand it in.
pub(crate) fn post(path: &str, headers: &[(&str, &str)], body: &str) -> crate::http::Incoming {
    request("POST", path, headers, Some(body))
}

/// Likewise, with any method.
pub(crate) fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&str>,
) -> crate::http::Incoming {
    let init = worker::web_sys::RequestInit::new();
    init.set_method(method);
    let js_headers = worker::web_sys::Headers::new().unwrap();
    for (name, value) in headers {
        js_headers.set(name, value).unwrap();
    }
    init.set_headers_headers(&js_headers);
    if let Some(body) = body {
        init.set_body(&body.into());
    }
    let url = format!("https://edge.example{path}");
    crate::http::Incoming::new(
        worker::web_sys::Request::new_with_str_and_init(&url, &init).unwrap(),
    )
}
