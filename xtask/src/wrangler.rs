//! The real Worker on a real workerd, by way of `wrangler dev`: offline, quiet,
//! on loopback, and gone without a trace when stopped.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::{Map, Value, json};

use crate::process::Service;
use crate::step::run_quiet;
use crate::tools::Node;
use crate::{net, paths};

/// What to run, and with which configuration.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Directory of this Worker's own: configuration, secrets, log. Created.
    pub dir: PathBuf,
    /// Where local KV and Cache API keep what they hold; outlives restarts.
    pub persist_to: PathBuf,
    /// Loopback port; a free one when `None`.
    pub port: Option<u16>,
    /// Which Worker.
    pub source: Source,
    /// Variables, over those of `wrangler.toml`.
    pub vars: Vec<(String, String)>,
    /// Secrets, such as `EDGE_KEY`.
    pub secrets: Vec<(String, String)>,
}

/// Which Worker to run.
#[derive(Clone, Debug)]
pub enum Source {
    /// A copy of this built Worker: a rebuild does not disturb it. Normally
    /// [`paths::edge_build`].
    Built(PathBuf),
    /// The clone's own, built anew whenever its source changes.
    Watched,
}

impl WorkerConfig {
    /// The built edge, with all that it writes under `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        Self {
            persist_to: dir.join("state"),
            dir,
            port: None,
            source: Source::Built(paths::edge_build()),
            vars: Vec::new(),
            secrets: Vec::new(),
        }
    }

    /// Adds or replaces a variable.
    pub fn var(mut self, name: &str, value: impl Into<String>) -> Self {
        self.vars.push((name.to_owned(), value.into()));
        self
    }

    /// Adds or replaces a secret.
    pub fn secret(mut self, name: &str, value: impl Into<String>) -> Self {
        self.secrets.push((name.to_owned(), value.into()));
        self
    }
}

/// A running Worker. Stopped when dropped.
pub struct Worker {
    config: WorkerConfig,
    node: Node,
    port: u16,
    service: Option<Service>,
}

impl Worker {
    /// Starts `wrangler dev` and waits until the Worker answers.
    pub fn start(config: WorkerConfig) -> Result<Self> {
        let node = Node::find()?;
        let port = config.port.map_or_else(net::free_port, Ok)?;
        paths::make_dir(config.dir.clone())?;
        paths::make_dir(config.persist_to.clone())?;
        let mut worker = Self {
            config,
            node,
            port,
            service: None,
        };
        worker.configure()?;
        worker.restart()?;
        Ok(worker)
    }

    /// Stops it, and has it start with another variable from then on.
    pub fn set_var(&mut self, name: &str, value: impl Into<String>) -> Result<()> {
        self.stop()?;
        self.config.vars.push((name.to_owned(), value.into()));
        self.configure()
    }

    /// The same for a secret.
    pub fn set_secret(&mut self, name: &str, value: impl Into<String>) -> Result<()> {
        self.stop()?;
        self.config.secrets.retain(|(there, _)| there != name);
        self.config.secrets.push((name.to_owned(), value.into()));
        self.configure()
    }

    /// Starts it again on the same port with the same persisted state, after
    /// [`stop`](Self::stop) or while it runs: a new, cold isolate.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        let mut command = wrangler(&self.node, &self.config.dir);
        command.arg("dev").arg("--config").arg(self.config_file());
        command.args([
            "--local",
            "--ip",
            "127.0.0.1",
            "--port",
            &self.port.to_string(),
        ]);
        command.args(["--inspector-ip", "127.0.0.1"]);
        command.args(["--inspector-port", &net::free_port()?.to_string()]);
        command.arg("--show-interactive-dev-session=false");
        command.arg("--persist-to").arg(&self.config.persist_to);
        let mut service = Service::spawn("wrangler dev", &mut command, &self.log(), Signal::TERM)?;
        let ready = format!("{}/health/ready", self.url());
        service.wait_ready(Duration::from_secs(120), || net::answers_ok(&ready))?;
        self.service = Some(service);
        Ok(())
    }

    /// Stops wrangler and workerd. What they persisted stays. May be called again.
    pub fn stop(&mut self) -> Result<()> {
        match self.service.take() {
            Some(mut service) => service.stop(Duration::from_secs(5)),
            None => Ok(()),
        }
    }

    /// Its base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The port it listens on, the same for all its life.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The file that holds what wrangler and the Worker wrote.
    pub fn log(&self) -> PathBuf {
        self.config.dir.join("wrangler.log")
    }

    /// Process id of wrangler, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.service.as_ref().map(Service::id)
    }

    /// One sentence and the last log lines, if it ended unasked.
    pub fn obituary(&mut self) -> Option<String> {
        self.service.as_mut()?.obituary()
    }

    fn config_file(&self) -> PathBuf {
        self.config.dir.join("wrangler.json")
    }

    /// Writes wrangler's configuration and the secrets beside it, where it looks for them.
    fn configure(&self) -> Result<()> {
        let dir = &self.config.dir;
        // wrangler keeps a debug log of each run for ever.
        fs::remove_dir_all(dir.join("wrangler-logs")).ok();
        let mut config = match &self.config.source {
            Source::Built(build) => built(&copy_build(build, dir)?)?,
            Source::Watched => watched(dir)?,
        };
        let vars = config["vars"].as_object().cloned().unwrap_or_default();
        config["vars"] = Value::Object(with(vars, &self.config.vars));
        fs::write(self.config_file(), serde_json::to_vec_pretty(&config)?)
            .with_context(|| format!("cannot write into {}", dir.display()))?;
        let secrets: String = self
            .config
            .secrets
            .iter()
            .map(|(name, value)| format!("{name}='{value}'\n"))
            .collect();
        paths::write_private(&dir.join(".dev.vars"), &secrets)
    }
}

/// `wrangler deploy --dry-run`: all of a deployment but the upload.
pub fn dry_run() -> Result<()> {
    let node = Node::find()?;
    let out = paths::make_dir(paths::scratch()?.join("dry-run"))?;
    let mut command = wrangler(&node, &out);
    command.args(["deploy", "--dry-run", "--outdir"]).arg(&out);
    run_quiet("wrangler deploy --dry-run", &mut command)
}

/// wrangler on our Node.js, with everything off that would leave this machine.
fn wrangler(node: &Node, dir: &Path) -> Command {
    let mut command = node.script("wrangler", "bin/wrangler.js");
    command.current_dir(paths::workspace());
    for (name, value) in [
        ("CI", "true"),
        ("DO_NOT_TRACK", "1"),
        ("NO_COLOR", "1"),
        ("WRANGLER_SEND_METRICS", "false"),
        ("WRANGLER_SEND_ERROR_REPORTS", "false"),
        // The banner is what looks for updates.
        ("WRANGLER_HIDE_BANNER", "true"),
        ("WRANGLER_NO_SKILLS_UPDATE_PROMPTS", "true"),
        ("CLOUDFLARE_CF_FETCH_ENABLED", "false"),
        // Recording every request locally would only slow it down.
        ("X_LOCAL_EXPLORER", "false"),
        ("X_LOCAL_OBSERVABILITY", "false"),
    ] {
        command.env(name, value);
    }
    // Else all Workers on this machine would write into one place of the user's.
    for (name, file) in [
        ("WRANGLER_LOG_PATH", "wrangler-logs"),
        ("WRANGLER_REGISTRY_PATH", "registry"),
        ("WRANGLER_CACHE_DIR", "cache"),
    ] {
        command.env(name, dir.join(file));
    }
    command
}

/// The clone's wrangler.toml, as JSON.
fn root_config() -> Result<Value> {
    let file = paths::workspace().join("wrangler.toml");
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    basic_toml::from_str(&text).context("cannot parse wrangler.toml")
}

fn built(worker: &Path) -> Result<Value> {
    let mut config = root_config()?;
    if let Some(config) = config.as_object_mut() {
        config.remove("build");
    }
    config["main"] = json!(worker.join(paths::WORKER_FILES[0]));
    Ok(config)
}

fn watched(config_dir: &Path) -> Result<Value> {
    let root = paths::workspace();
    let mut config = root_config()?;
    config["main"] = json!(root.join(config["main"].as_str().unwrap_or_default()));
    config["build"]["cwd"] = json!(root);
    let dirs = config["build"]["watch_dir"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let dirs = dirs.iter().filter_map(Value::as_str);
    // Unlike the others, wrangler takes these for relative, whatever they are.
    let dirs: Vec<PathBuf> = dirs
        .map(|dir| relative(config_dir, &root.join(dir)))
        .collect();
    config["build"]["watch_dir"] = json!(dirs);
    Ok(config)
}

/// The way from one absolute directory to another, by way of the root.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let up = from
        .components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .map(|_| "..");
    up.collect::<PathBuf>()
        .join(to.strip_prefix("/").unwrap_or(to))
}

fn copy_build(build: &Path, dir: &Path) -> Result<PathBuf> {
    let to = paths::make_dir(dir.join("worker"))?;
    for name in paths::WORKER_FILES {
        if fs::copy(build.join(name), to.join(name)).is_err() {
            bail!(
                "no built Worker in {}: run `cargo xtask build edge`",
                build.display()
            );
        }
    }
    Ok(to)
}

fn with(mut vars: Map<String, Value>, more: &[(String, String)]) -> Map<String, Value> {
    vars.extend(
        more.iter()
            .map(|(name, value)| (name.clone(), json!(value))),
    );
    vars
}

#[cfg(test)]
mod tests {
    use super::{built, relative, watched};
    use std::path::Path;

    #[test]
    fn the_root_configuration_is_what_runs_locally() -> anyhow::Result<()> {
        let built = built(Path::new("/copy"))?;
        assert_eq!(built["main"], "/copy/entry.js");
        assert!(built.get("build").is_none());
        assert_eq!(built["kv_namespaces"][0]["binding"], "LAST_KNOWN_GOOD");

        let watched = watched(Path::new("/some/state"))?;
        assert_eq!(watched["build"]["command"], "cargo xtask build edge");
        let dir = watched["build"]["watch_dir"][0]
            .as_str()
            .unwrap_or_default();
        assert!(
            dir.starts_with("../../") && dir.ends_with("edge/src"),
            "{dir}"
        );
        Ok(())
    }

    #[test]
    fn a_relative_way_leads_there() {
        let way = relative(Path::new("/a/b"), Path::new("/c/d"));
        assert_eq!(way, Path::new("../../c/d"));
    }
}
