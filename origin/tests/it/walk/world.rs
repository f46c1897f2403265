//! Organizations with people of every role, keys of every scope, and something of everything.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use axum::http::Method;
use licet_origin::{
    accounts::permissions::{Permission, Role},
    api::AccountSettings,
    buckets::Quota,
    db::DatabaseSettings,
    http::StateSettings,
};
use licet_shared::{
    documents::AccessClaims,
    jws::{Times, sign},
};
use serde_json::{Value, json};

pub use crate::support::account::PASSWORD;

use super::{
    description::Operation,
    table::{Row, Target},
};
use crate::support::{
    Bed, BedOptions, ISSUER, TestDatabase,
    account::{Caller, Person},
    edge::{Reply, now},
    machine::Machine,
    platform,
};

const YEAR_S: i64 = 31_536_000;

/// An origin that lets as many come as a walk needs.
pub fn bed() -> Bed {
    let patient = Duration::from_secs(30);
    let many = Quota {
        capacity: 1_000_000,
        window_s: 60,
    };
    let options = BedOptions {
        accounts: AccountSettings {
            newcomers: many,
            refusals: many,
            ..AccountSettings::default()
        },
        database: DatabaseSettings {
            pool_wait: patient,
            statement_timeout: patient,
            lock_timeout: patient,
            ..DatabaseSettings::default()
        },
        state: StateSettings {
            request_timeout: 2 * patient,
            ..StateSettings::default()
        },
        ..BedOptions::default()
    };
    Bed::with(TestDatabase::migrated(), &options)
}

/// A name that nothing else has.
fn name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("n{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// What a row's body is made of.
pub struct Given<'a> {
    pub owner: &'a Person,
    /// What the call is about.
    pub target: &'a str,
    /// New each time.
    pub name: String,
    ids: &'a BTreeMap<&'static str, String>,
}

impl Given<'_> {
    /// The id, of this kind, of something that the organization has.
    pub fn id(&self, prefix: &str) -> &str {
        &self.ids[prefix]
    }
}

/// An organization.
pub struct Org<'a> {
    pub bed: &'a Bed,
    pub owner: Person,
    people: BTreeMap<Role, Person>,
    /// One of each kind.
    pub ids: BTreeMap<&'static str, String>,
    /// By what they may, those who may nothing else and those who may all else.
    machines: BTreeMap<Permission, [Caller; 2]>,
}

/// A call that has been put together.
pub struct Aim {
    pub method: Method,
    pub path: String,
    pub body: Option<Value>,
}

impl<'a> Org<'a> {
    pub async fn new(bed: &'a Bed, slug: &str) -> Self {
        let owner = bed.sign_up(slug).await;
        bed.database.admin(&format!(
            "UPDATE licet.organizations SET plan = 'ENTERPRISE', max_users = 10000,
                 max_projects = 10000, max_licenses = 10000 WHERE slug = '{slug}'"
        ));
        let mut org = Self {
            bed,
            people: BTreeMap::from([(Role::Owner, owner.clone())]),
            owner,
            ids: BTreeMap::new(),
            machines: BTreeMap::new(),
        };
        for role in [Role::Admin, Role::Member, Role::Guest] {
            let person = bed.join(&org.owner, role.as_str()).await;
            org.people.insert(role, person);
        }
        let product = json!({ "code": "local_cli", "name": "Local CLI" });
        let product = org.made("/api/v1/products", &product).await;
        org.ids.insert("prd", product);
        for (prefix, target) in [
            ("fs", Target::FeatureSet),
            ("pol", Target::Policy),
            ("lic", Target::License),
            ("act", Target::Activation),
            ("prj", Target::Project),
            ("key", Target::ApiKey),
            ("inv", Target::Invitation),
            ("usr", Target::User),
        ] {
            let id = org.make(target, &org.owner).await;
            org.ids.insert(prefix, id);
        }
        for permission in Permission::ALL {
            let others: Vec<_> = Permission::ALL
                .iter()
                .copied()
                .filter(|it| it != permission)
                .collect();
            let pair = [
                org.machine(&[*permission]).await,
                org.machine(&others).await,
            ];
            org.machines.insert(*permission, pair);
        }
        org
    }

    /// Somebody of this role.
    pub fn person(&self, role: Role) -> &Person {
        &self.people[&role]
    }

    /// A key that may this and nothing else.
    pub fn allowed(&self, permission: Permission) -> &Caller {
        &self.machines[&permission][0]
    }

    /// A key that may everything but this.
    pub fn not_allowed(&self, permission: Permission) -> &Caller {
        &self.machines[&permission][1]
    }

    pub async fn machine(&self, scopes: &[Permission]) -> Caller {
        let body = json!({ "name": "machine", "scopes": scopes });
        let made = self
            .bed
            .post(&self.owner.caller, "/api/v1/api-keys", &body)
            .await
            .json(201);
        Caller {
            bearer: made["secret"].as_str().unwrap().into(),
        }
    }

    /// How many changes there have been: each leaves one event in the trail.
    pub fn changes(&self) -> Option<String> {
        let org: licet_shared::id::OrgId = self.owner.org.parse().unwrap();
        let sql = format!(
            "SELECT max(seq) FROM licet.audit_events WHERE org_id = '{}'",
            crate::support::sql::uuid(org)
        );
        self.bed.database.admin(&sql)[0][0].clone()
    }

    /// A call about a new target.
    pub async fn aim(&self, operation: &Operation, row: &Row, caller: &Person) -> Aim {
        let target = self.make(row.target, caller).await;
        self.aim_at(operation, row, &target)
    }

    /// A call about this target, if it is about any.
    pub fn aim_at(&self, operation: &Operation, row: &Row, target: &str) -> Aim {
        let given = Given {
            owner: &self.owner,
            target,
            name: name(),
            ids: &self.ids,
        };
        Aim {
            method: operation.method.clone(),
            path: operation.path_of(target),
            body: row.body.map(|body| body(&given)),
        }
    }

    /// POSTs, and hands back the id of what was made.
    async fn made(&self, path: &str, body: &Value) -> String {
        let reply = self.bed.post(&self.owner.caller, path, body).await;
        reply.json(201)["id"].as_str().unwrap().into()
    }

    async fn act(&self, method: Method, path: &str) {
        let reply = self
            .bed
            .ask_with(&self.owner.caller, method, path, None, &[])
            .await;
        assert!(reply.status.is_success(), "{path}: {}", reply.text());
    }

    /// Something that is in `path` and has this done to it.
    async fn then(&self, path: &str, body: &Value, method: Method, more: &str) -> String {
        let id = self.made(path, body).await;
        self.act(method, &format!("{path}/{id}{more}")).await;
        id
    }

    /// A new target: its id, or the text that stands for it.
    pub async fn make(&self, target: Target, caller: &Person) -> String {
        use Target as T;
        let name = name();
        let product = json!({ "code": name, "name": name });
        let features = json!({ "name": name, "features": { "export": true } });
        let project = json!({ "name": name });
        // Who changes a key must have its scopes.
        let key = json!({ "name": name, "scopes": ["api_keys:write"] });
        let invitation = json!({ "email": format!("{name}@x.test"), "role": "GUEST" });
        match target {
            T::Nothing => String::new(),
            T::Product => self.made("/api/v1/products", &product).await,
            T::DeletedProduct => {
                self.then("/api/v1/products", &product, Method::DELETE, "")
                    .await
            }
            T::FeatureSet => self.made("/api/v1/feature-sets", &features).await,
            T::DeletedFeatureSet => {
                self.then("/api/v1/feature-sets", &features, Method::DELETE, "")
                    .await
            }
            T::Policy => self.made("/api/v1/policies", &self.policy(&name)).await,
            T::DeletedPolicy => {
                self.then("/api/v1/policies", &self.policy(&name), Method::DELETE, "")
                    .await
            }
            T::License => self.made("/api/v1/licenses", &self.license()).await,
            T::SuspendedLicense => {
                self.then(
                    "/api/v1/licenses",
                    &self.license(),
                    Method::POST,
                    "/suspend",
                )
                .await
            }
            T::LicenseKey => self.license_key().await,
            T::Activation => self.activation(&name).await,
            T::Lease => self.lease(&name).await,
            T::Receipt => self.receipt(&name).await,
            T::SigningKey => self.made("/api/v1/signing-keys", &Value::Null).await,
            T::Project => self.made("/api/v1/projects", &project).await,
            T::ArchivedProject => {
                self.then("/api/v1/projects", &project, Method::POST, "/archive")
                    .await
            }
            T::DeletedProject => {
                self.then("/api/v1/projects", &project, Method::DELETE, "")
                    .await
            }
            T::ApiKey => self.made("/api/v1/api-keys", &key).await,
            T::Invitation => self.made("/api/v1/invitations", &invitation).await,
            T::User => self.bed.join(&self.owner, "MEMBER").await.id,
            T::RemovedUser => {
                let id = self.bed.join(&self.owner, "MEMBER").await.id;
                self.act(Method::DELETE, &format!("/api/v1/users/{id}"))
                    .await;
                id
            }
            T::AuditEvent => {
                self.made("/api/v1/products", &product).await;
                let path = "/api/v1/audit-events?limit=1";
                let newest = self.bed.get(&self.owner.caller, path).await.json(200);
                newest["data"][0]["id"].as_str().unwrap().into()
            }
            T::Session => {
                let me = self.bed.get(&caller.caller, "/api/v1/auth/me").await;
                me.json(200)["session_id"].as_str().unwrap().into()
            }
            T::InvitationToken => {
                let path = "/api/v1/invitations";
                let made = self.bed.post(&self.owner.caller, path, &invitation).await;
                made.json(201)["token"].as_str().unwrap().into()
            }
            T::RefreshToken => self.bed.join(&self.owner, "MEMBER").await.refresh,
        }
    }

    fn policy(&self, name: &str) -> Value {
        json!({
            "name": name, "tier": "PRO", "feature_set_id": self.ids["fs"],
            "product_ids": [self.ids["prd"]], "max_activations": 5, "license_duration_s": YEAR_S,
        })
    }

    fn license(&self) -> Value {
        let quota = json!({ "quota": 10, "period": "month" });
        json!({ "policy_id": self.ids["pol"], "features": { "exports.monthly": quota } })
    }

    async fn license_key(&self) -> String {
        let path = "/api/v1/licenses";
        let issued = self
            .bed
            .post(&self.owner.caller, path, &self.license())
            .await;
        issued.json(201)["key"].as_str().unwrap().into()
    }

    async fn lease(&self, fingerprint: &str) -> String {
        let mut license = self.license();
        license["terms"] = json!({ "seats": { "max": 3 } });
        let path = "/api/v1/licenses";
        let issued = self.bed.post(&self.owner.caller, path, &license).await;
        let key = issued.json(201)["key"].as_str().unwrap().to_owned();
        let token = self.bed.activate(&key, fingerprint).await.license_token;
        let answer = self.bed.acquire(&token.unwrap(), "somebody").await;
        answer.lease.unwrap().id.to_string()
    }

    async fn activation(&self, fingerprint: &str) -> String {
        let key = self.license_key().await;
        let answer = self.bed.activate(&key, fingerprint).await;
        answer.activation_id.unwrap().to_string()
    }

    async fn receipt(&self, fingerprint: &str) -> String {
        let key = self.license_key().await;
        let machine = Machine::new(fingerprint);
        let body = json!({ "request": machine.request(&key), "lifetime_s": 86400 });
        let path = "/api/v1/offline-activations";
        let made = self.bed.post(&self.owner.caller, path, &body).await;
        let file = made.json(200)["license_file"].as_str().unwrap().to_owned();
        machine.receipt(&file)
    }
}

impl Bed {
    /// Makes a call with these credentials.
    pub async fn aimed(&self, aim: &Aim, authorization: &[String]) -> Reply {
        let body = aim.body.as_ref();
        let mut request = crate::support::account::request(aim.method.clone(), &aim.path, body);
        for value in authorization {
            request = request.header("authorization", value);
        }
        self.send(crate::support::account::with_body(request, body))
            .await
    }
}

pub fn bearer(caller: &Caller) -> String {
    format!("Bearer {}", caller.bearer)
}

/// An access token of this person's session that was good from so many seconds ago, for an hour.
pub async fn token_from(bed: &Bed, person: &Person, seconds_ago: i64) -> String {
    let me = bed.get(&person.caller, "/api/v1/auth/me").await.json(200);
    let session = me["session_id"].as_str().unwrap();
    let claims = AccessClaims {
        iss: ISSUER.into(),
        aud: "licet-accounts".into(),
        sub: person.id.parse().unwrap(),
        org: person.org.parse().unwrap(),
        client_id: "licet".into(),
        scope: String::new(),
        sid: session.parse().unwrap(),
        jti: session.parse().unwrap(),
    };
    let times = Times::starting(now().plus(-seconds_ago), 3600);
    sign(&claims, times, &platform()).unwrap()
}
