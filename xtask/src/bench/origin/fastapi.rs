//! The service one would write instead, in a virtual environment of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;

use super::CONNECTIONS;
use super::data::Data;
use crate::process::Service;
use crate::step::{long_step, run_quiet};
use crate::{net, paths};

/// One per core, as uvicorn's manual has it for two.
const WORKERS: usize = 2;

/// Installs what `requirements.txt` pins, unless that is what is installed. Hands back the
/// environment.
pub(super) fn install() -> Result<PathBuf> {
    let source = paths::workspace().join("bench/peers/fastapi/requirements.txt");
    let wanted = fs::read_to_string(&source).context("bench/peers/fastapi is incomplete")?;
    let venv = paths::scratch()?.join("fastapi");
    let stamp = venv.join("requirements.txt");
    if fs::read_to_string(&stamp).is_ok_and(|there| there == wanted) {
        return Ok(venv);
    }
    long_step(
        "install FastAPI and its kin",
        "from the Python index",
        || {
            fs::remove_dir_all(&venv).ok();
            let mut python = Command::new("python3");
            python.args(["-m", "venv"]).arg(&venv);
            run_quiet("python3 -m venv", &mut python)?;
            let mut pip = Command::new(venv.join("bin/pip"));
            pip.args([
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--requirement",
            ]);
            pip.arg(&source);
            run_quiet("pip install", &mut pip)?;
            fs::write(&stamp, wanted)?;
            Ok(())
        },
    )?;
    Ok(venv)
}

/// The running peer.
pub(super) struct Peer {
    service: Service,
    pub(super) address: String,
}

impl Peer {
    pub(super) fn start(data: &Data, dir: &Path, venv: &Path) -> Result<Self> {
        let port = net::free_port()?;
        let mut command = Command::new(venv.join("bin/uvicorn"));
        command.current_dir(paths::workspace().join("bench/peers/fastapi"));
        command.args([
            "app:app",
            "--host",
            "127.0.0.1",
            "--port",
            &port.to_string(),
        ]);
        command.args(["--workers", &WORKERS.to_string()]);
        command.args(["--loop", "uvloop", "--http", "httptools"]);
        command.args(["--no-access-log", "--log-level", "warning"]);
        command.env("DATABASE_URL", data.app_url());
        command.env("POOL_SIZE", (CONNECTIONS / WORKERS).to_string());
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        let log = dir.join("fastapi.log");
        let mut service = Service::spawn("FastAPI", &mut command, &log, Signal::TERM)?;
        let ready = format!("http://127.0.0.1:{port}/health");
        service.wait_ready(Duration::from_secs(60), || net::answers_ok(&ready))?;
        Ok(Self {
            service,
            address: format!("127.0.0.1:{port}"),
        })
    }

    /// Process id of uvicorn, whose children do the work.
    pub(super) fn id(&self) -> u32 {
        self.service.id()
    }
}
