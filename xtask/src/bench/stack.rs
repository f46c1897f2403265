//! What is measured: the built Worker with a real origin behind it, beside its peers on one workerd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::origin::{self, Keys, Origin, OriginConfig};
use crate::postgres::{Cluster, Options};
use crate::process::Service;
use crate::step::run_quiet;
use crate::tools::Node;
use crate::{net, paths, process};

const ISSUER: &str = "https://bench.licet.example";
const COMPATIBILITY_DATE: &str = "2026-04-01";
const LIMIT: Duration = Duration::from_secs(20);
/// Threads that fetch tokens.
const FETCHERS: usize = 8;

/// Database, origin and the edge on a workerd of its own.
pub(super) struct Stack {
    // Dropped in this order: the edge, the origin, the database.
    host: Host,
    _origin: Origin,
    _cluster: Cluster,
    license_key: String,
    dir: PathBuf,
}

impl Stack {
    /// Starts everything for one license with `devices` activations to give.
    pub(super) fn start(dir: &Path, devices: usize) -> Result<Self> {
        const DATABASE: &str = "bench";
        let cluster = Cluster::temporary(&Options::default())?;
        cluster.create_database(DATABASE)?;
        let (app, system) = (net::random_password()?, net::random_password()?);
        origin::migrate(&cluster.admin_url(DATABASE), &app, &system)?;
        let keys = Keys::generate()?;
        let database_url = cluster.url(DATABASE, "licet_app", &app);
        let limit = devices.to_string();
        let seed = origin::seed(&database_url, &keys, &["--max-activations", &limit])?;
        let license_key = seed["license"]["key"]
            .as_str()
            .context("the seed has no license key")?
            .to_owned();
        let origin = Origin::start(OriginConfig {
            port: None,
            database_url,
            keys: keys.clone(),
            issuer: ISSUER.into(),
            log: dir.join("origin.log"),
            env: Vec::new(),
        })?;
        let edge = edge_worker(&origin.url(), &keys);
        let host = Host::start(dir, &[edge])?;
        Ok(Self {
            host,
            _origin: origin,
            _cluster: cluster,
            license_key,
            dir: dir.to_owned(),
        })
    }

    /// Base URL of the edge.
    pub(super) fn edge_url(&self) -> Result<String> {
        self.host.url("edge")
    }

    /// A body for `validate` per device, activated now.
    pub(super) fn activate(&self, devices: usize) -> Result<Vec<Value>> {
        let url = format!("{}/api/v1/licenses/activate", self.edge_url()?);
        in_parallel(devices, |number| {
            let fingerprint = format!("device-{number}");
            let body = json!({
                "license_key": self.license_key, "product": "local_cli", "fingerprint": fingerprint,
            });
            let answer = net::post_json(&url, &body, LIMIT)?;
            validate_body(&answer.json()?, &fingerprint)
        })
    }

    /// As many bodies, with tokens that all differ: the devices' tokens, refreshed again and again.
    pub(super) fn refresh(&self, devices: &[Value], count: usize) -> Result<Vec<Value>> {
        let url = format!("{}/api/v1/licenses/refresh", self.edge_url()?);
        in_parallel(count, |number| {
            let device = &devices[number % devices.len()];
            let token = device["token"].as_str().unwrap_or_default();
            let answer = net::post_bearer(&url, token, LIMIT)?;
            validate_body(
                &answer.json()?,
                device["fingerprint"].as_str().unwrap_or_default(),
            )
        })
    }

    /// Starts the edge anew beside its peers, which get what the edge has fetched as bindings.
    pub(super) fn with_peers(mut self, example: &Value) -> Result<Self> {
        let edge = self.edge_url()?;
        let verdict =
            net::post_json(&format!("{edge}/api/v1/licenses/validate"), example, LIMIT)?.json()?;
        let tag = self.license_key.split('-').next().unwrap_or_default();
        let document = |path: &str| {
            net::get(&format!("{edge}/api/v1/orgs/{tag}/{path}"), LIMIT).map(|answer| answer.body)
        };
        let bindings = json!({
            "ISSUER": ISSUER,
            "JWKS": document("jwks.json")?,
            "STATUS_LIST": document("statuslists/0")?,
            "FEATURES": json!({ "values": verdict["features"], "set": verdict["feature_set"] }).to_string(),
        });
        let workers = [
            edge_config(&self.host)?,
            // With a namespace as the edge has one: what simulates it here begins with its workerd, and is
            // no part of either's start where it is deployed.
            json!({
                "name": "jose",
                "kv": ["LAST_KNOWN_GOOD"],
                "bindings": bindings,
                "modules": [module(&bundle(&self.dir, "jose")?)],
            }),
            json!({ "name": "hono", "bindings": bindings, "modules": [module(&bundle(&self.dir, "hono")?)] }),
            json!({
                "name": "hello",
                "bindings": { "ANSWER": verdict.to_string() },
                "modules": [module(&bundle(&self.dir, "hello")?)],
            }),
        ];
        self.host.service.stop(LIMIT)?;
        self.host = Host::start(&self.dir, &workers)?;
        Ok(self)
    }

    /// Milliseconds from the start of a workerd with one Worker alone to its first verdict, so many
    /// times for the edge and for `jose`, in turn.
    pub(super) fn starts(&self, body: &Value, times: usize) -> Result<[Vec<f64>; 2]> {
        let workers: Vec<&Value> = self.host.workers.iter().take(2).collect();
        let result = self.dir.join("starts.json");
        let config = json!({
            "root": "/",
            "compatibilityDate": COMPATIBILITY_DATE,
            "urls": result,
            "workers": workers,
            "starts": times,
            "body": body,
        });
        let file = self.dir.join("starts-host.json");
        paths::write_private(&file, &config.to_string())?;
        let mut command = Node::find()?.run(&paths::workspace().join("xtask/bench/edge/host.mjs"));
        run_quiet("the Workers' host", command.arg(&file))?;
        let read: Value = serde_json::from_str(&fs::read_to_string(&result)?)?;
        let of = |name: &str| read[name].as_array().into_iter().flatten();
        Ok(["edge", "jose"].map(|name| of(name).filter_map(Value::as_f64).collect()))
    }

    /// Base URL of a Worker by its name.
    pub(super) fn url(&self, worker: &str) -> Result<String> {
        self.host.url(worker)
    }

    /// Process id of workerd.
    pub(super) fn workerd(&self) -> Result<u32> {
        self.host.workerd()
    }
}

fn validate_body(answer: &Value, fingerprint: &str) -> Result<Value> {
    let token = answer["license_token"]
        .as_str()
        .with_context(|| format!("no token in {answer}"))?;
    Ok(json!({ "token": token, "product": "local_cli", "fingerprint": fingerprint }))
}

/// Does `work` for 0 to `count` on several threads; the results in order.
fn in_parallel<T: Send>(count: usize, work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    let share = count.div_ceil(FETCHERS);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..FETCHERS)
            .map(|thread| {
                let work = &work;
                let range = (thread * share).min(count)..((thread + 1) * share).min(count);
                scope.spawn(move || range.map(work).collect::<Result<Vec<T>>>())
            })
            .collect();
        let mut all = Vec::with_capacity(count);
        for thread in threads {
            match thread.join() {
                Ok(part) => all.extend(part?),
                Err(_) => bail!("a thread that fetched tokens panicked"),
            }
        }
        Ok(all)
    })
}

/// An edge by itself, whose origin is somebody else's.
pub(super) struct Alone(Host);

impl Alone {
    /// Starts one with such settings, whose heap is noted in a file, a line of bytes each time.
    pub(super) fn watched(dir: &Path, settings: &Value, heap: &Path) -> Result<Self> {
        let host = Host::launch(dir, &[edge_with(settings)], Some(heap))?;
        Ok(Self(host))
    }

    /// Base URL.
    pub(super) fn url(&self) -> Result<String> {
        self.0.url("edge")
    }

    /// Process id of workerd.
    pub(super) fn workerd(&self) -> Result<u32> {
        self.0.workerd()
    }
}

/// The built Worker, as it is deployed.
pub(super) fn edge_worker(origin_url: &str, keys: &Keys) -> Value {
    edge_with(&json!({
        "ORIGIN_URL": origin_url,
        "ISSUER": ISSUER,
        "PLATFORM_KEYS": keys.platform_public,
        "EDGE_KEY": keys.edge_key,
        "CORS_ORIGINS": "*",
        "ORIGIN_TIMEOUT_MS": "3000",
    }))
}

fn edge_with(settings: &Value) -> Value {
    let build = paths::edge_build();
    let [script, wasm] = paths::WORKER_FILES;
    json!({
        "name": "edge",
        "kv": ["LAST_KNOWN_GOOD"],
        "bindings": settings,
        "modules": [
            module(&build.join(script)),
            { "type": "CompiledWasm", "path": build.join(wasm) },
        ],
    })
}

fn module(path: &Path) -> Value {
    json!({ "type": "ESModule", "path": path })
}

/// A peer with its npm packages in one file.
fn bundle(dir: &Path, peer: &str) -> Result<PathBuf> {
    let out = dir.join(format!("{peer}.mjs"));
    let mut esbuild = Command::new(Node::find()?.esbuild()?);
    esbuild.current_dir(paths::workspace());
    esbuild.arg(format!("xtask/bench/edge/{peer}.mjs"));
    esbuild.args([
        "--bundle",
        "--format=esm",
        "--minify",
        "--conditions=workerd,worker,browser",
    ]);
    esbuild.arg(format!("--outfile={}", out.display()));
    run_quiet("esbuild", &mut esbuild)?;
    Ok(out)
}

/// Miniflare with some Workers on one workerd.
pub(super) struct Host {
    service: Service,
    urls: Value,
    workers: Vec<Value>,
}

fn edge_config(host: &Host) -> Result<Value> {
    host.workers
        .first()
        .cloned()
        .context("the edge is not configured")
}

impl Host {
    pub(super) fn start(dir: &Path, workers: &[Value]) -> Result<Self> {
        Self::launch(dir, workers, None)
    }

    fn launch(dir: &Path, workers: &[Value], heap: Option<&Path>) -> Result<Self> {
        let (config, urls) = (dir.join("host.json"), dir.join("urls.json"));
        fs::remove_file(&urls).ok();
        let json = json!({
            "root": "/",
            "compatibilityDate": COMPATIBILITY_DATE,
            "urls": urls,
            "workers": workers,
            "heap": heap,
        });
        // The edge's key is in it.
        paths::write_private(&config, &json.to_string())?;
        let mut command = Node::find()?.run(&paths::workspace().join("xtask/bench/edge/host.mjs"));
        command.arg(&config);
        let log = dir.join("host.log");
        let mut service = Service::spawn("the Workers' host", &mut command, &log, Signal::TERM)?;
        let mut read = Value::Null;
        service.wait_ready(LIMIT, || {
            let text = fs::read_to_string(&urls).unwrap_or_default();
            serde_json::from_str(&text).is_ok_and(|urls| {
                read = urls;
                true
            })
        })?;
        Ok(Self {
            service,
            urls: read,
            workers: workers.to_vec(),
        })
    }

    pub(super) fn url(&self, worker: &str) -> Result<String> {
        let url = self.urls[worker]
            .as_str()
            .with_context(|| format!("no Worker {worker}"))?;
        Ok(url.trim_end_matches('/').to_owned())
    }

    pub(super) fn workerd(&self) -> Result<u32> {
        process::children(self.service.id())
            .first()
            .copied()
            .context("no workerd")
    }
}
