//! Long-running children: each in its own process group with its output in a
//! file, and none left behind however we end.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use crate::{interrupt, step};

/// A running child with everything it started.
///
/// Dropping it stops it. Should this process be killed outright, a watchdog
/// notices and stops it too.
pub struct Service {
    name: String,
    child: Child,
    watchdog: Option<Child>,
    log: PathBuf,
    stop_signal: Signal,
}

impl Service {
    /// Starts `command` as the leader of a new process group, appending its
    /// output to `log`. `stop_signal` is what asks it to end in good order.
    pub fn spawn(
        name: &str,
        command: &mut Command,
        log: &Path,
        stop_signal: Signal,
    ) -> Result<Self> {
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot open {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let watchdog = watch(child.id(), stop_signal)?;
        Ok(Self {
            name: name.to_owned(),
            child,
            watchdog: Some(watchdog),
            log: log.to_owned(),
            stop_signal,
        })
    }

    /// What it is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Process id of the group's leader.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The file that holds its output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its exit status once it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// One sentence and the last log lines, for when it ended unasked.
    pub fn obituary(&mut self) -> Option<String> {
        let status = self.ended()?;
        Some(format!(
            "{} ended by itself ({status}). Its last lines:\n{}\nThe whole log: {}",
            self.name,
            step::tail(&self.log, 20),
            self.log.display()
        ))
    }

    /// Asks `is_ready` until it says yes, the child ends, or `limit` has passed.
    pub fn wait_ready(
        &mut self,
        limit: Duration,
        mut is_ready: impl FnMut() -> bool,
    ) -> Result<()> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(10);
        while !is_ready() {
            interrupt::check()?;
            if let Some(obituary) = self.obituary() {
                bail!("{obituary}");
            }
            if started.elapsed() > limit {
                bail!(
                    "{} was not ready after {} s. Its last lines:\n{}\nThe whole log: {}",
                    self.name,
                    limit.as_secs(),
                    step::tail(&self.log, 20),
                    self.log.display()
                );
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Asks it to end, waits up to `limit`, then kills what is left of its group.
    /// May be called again.
    pub fn stop(&mut self, limit: Duration) -> Result<()> {
        self.end_watchdog();
        if self.ended().is_none() {
            signal_group(self.child.id(), self.stop_signal);
            let started = Instant::now();
            while self.ended().is_none() && started.elapsed() < limit {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        self.kill()
    }

    /// Kills the whole group with SIGKILL and waits until it is gone. May be called again.
    pub fn kill(&mut self) -> Result<()> {
        self.end_watchdog();
        signal_group(self.child.id(), Signal::KILL);
        self.child
            .wait()
            .with_context(|| format!("cannot wait for {}", self.name))?;
        // Grandchildren are reaped by init, not by us: give it a moment.
        let started = Instant::now();
        while group_lives(self.child.id()) && started.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn end_watchdog(&mut self) {
        if let Some(mut watchdog) = self.watchdog.take() {
            watchdog.kill().ok();
            watchdog.wait().ok();
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop(Duration::from_secs(5)).ok();
    }
}

/// A shell that reads from a pipe only we hold: it reads the end when we die,
/// even by SIGKILL, and then ends the group.
fn watch(group: u32, signal: Signal) -> Result<Child> {
    // Names and `-s`, for dash takes no number before a `--`.
    let name = if signal == Signal::INT { "INT" } else { "TERM" };
    let script = format!(
        "read -r _; kill -s {name} -- -{group}; for _ in 1 2 3 4 5 6 7 8 9 10; do \
         kill -s 0 -- -{group} || exit 0; sleep 0.5; done; kill -s KILL -- -{group}"
    );
    Command::new("/bin/sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("cannot start /bin/sh")
}

fn signal_group(group: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(group.cast_signed()) {
        // The only failure is that nobody is left, which is what is wanted.
        kill_process_group(pid, signal).ok();
    }
}

fn group_lives(group: u32) -> bool {
    Pid::from_raw(group.cast_signed()).is_some_and(|pid| test_kill_process_group(pid).is_ok())
}

/// Ids of the direct children of a process. Empty where there is no `/proc`.
pub fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| parent_of(*pid) == Some(parent))
        .collect()
}

/// Whether a process with this id exists (a zombie counts as gone).
pub fn is_alive(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => after_name(&stat).is_some_and(|rest| !rest.starts_with('Z')),
        Err(_) => Pid::from_raw(pid.cast_signed())
            .is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok()),
    }
}

/// Kills one process with SIGKILL; nothing happens when it is gone already.
pub fn kill_one(pid: u32) {
    if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
        rustix::process::kill_process(pid, Signal::KILL).ok();
    }
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    after_name(&stat)?.split(' ').nth(1)?.parse().ok()
}

/// `pid (name) state ppid …`: the name may itself hold spaces and parentheses.
fn after_name(stat: &str) -> Option<&str> {
    Some(stat.rsplit_once(") ")?.1)
}
