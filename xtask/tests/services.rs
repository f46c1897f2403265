//! A service goes with all it started, whoever ends it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::Signal;
use xtask::process::{self, Service};

#[test]
fn stopping_ends_grandchildren_too() -> Result<()> {
    let dir = scratch("stop")?;
    let mut service = family(&dir)?;
    let grandchild = grandchild(&dir)?;
    assert!(process::is_alive(grandchild));
    service.stop(Duration::from_secs(1))?;
    assert!(gone(grandchild));
    service.stop(Duration::from_secs(1)) // again: nothing happens
}

#[test]
fn one_that_ends_by_itself_says_how() -> Result<()> {
    let dir = scratch("obituary")?;
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "echo out of luck; exit 3"]);
    let mut service = Service::spawn("a service", &mut command, &dir.join("log"), Signal::TERM)?;
    let error = service.wait_ready(Duration::from_secs(10), || false);
    let text = error.map_or_else(|error| error.to_string(), |()| String::new());
    assert!(
        text.contains("a service") && text.contains("exit status: 3"),
        "{text}"
    );
    assert!(text.contains("out of luck"), "{text}");
    Ok(())
}

/// Run by the test below in a process of its own, which is then killed.
#[test]
#[ignore = "waits to be killed"]
fn owner_that_is_killed() -> Result<()> {
    let dir = PathBuf::from(std::env::var("LICET_OWNER_DIR")?);
    let _service = family(&dir)?;
    std::thread::sleep(Duration::from_secs(60));
    Ok(())
}

#[test]
fn a_killed_owner_leaves_nothing_behind() -> Result<()> {
    let dir = scratch("killed")?;
    let mut owner = Command::new(std::env::current_exe()?);
    owner.args(["--exact", "owner_that_is_killed", "--ignored"]);
    let mut owner = owner.env("LICET_OWNER_DIR", &dir).spawn()?;
    let grandchild = grandchild(&dir)?;
    owner.kill()?;
    owner.wait()?;
    assert!(gone(grandchild));
    Ok(())
}

/// A shell that starts another, which says who it is and stays.
fn family(dir: &Path) -> Result<Service> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "sh -c 'echo $$; exec sleep 60' & wait"]);
    Service::spawn("family", &mut command, &dir.join("log"), Signal::TERM)
}

fn grandchild(dir: &Path) -> Result<u32> {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(10) {
        let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
        if let Some(pid) = log.strip_suffix('\n') {
            return Ok(pid.parse()?);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None.context("the family did not start")
}

fn gone(pid: u32) -> bool {
    let started = Instant::now();
    while process::is_alive(pid) {
        if started.elapsed() > Duration::from_secs(10) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

fn scratch(name: &str) -> Result<PathBuf> {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("services-{name}"));
    fs::remove_dir_all(&dir).ok();
    xtask::paths::make_dir(dir)
}
