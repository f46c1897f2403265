//! Saying what is being done and how long it took; a command's own output only
//! when it fails.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{interrupt, paths};

/// Runs `work` and prints `  ok  name (1.2 s)`, or `FAIL  name (1.2 s)`.
pub fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    let result = work();
    let seconds = started.elapsed().as_secs_f64();
    match &result {
        Ok(_) => println!("  ok  {name} ({seconds:.1} s)"),
        Err(_) => println!("FAIL  {name} ({seconds:.1} s)"),
    }
    result
}

/// As [`step`], but says what to expect once it takes longer than a moment.
pub fn long_step<T>(name: &str, expect: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let (done, still_running) = mpsc::channel::<()>();
    let notice = format!("  ..  {name}: {expect}");
    let teller = std::thread::spawn(move || {
        if still_running.recv_timeout(Duration::from_secs(3)) == Err(RecvTimeoutError::Timeout) {
            println!("{notice}");
        }
    });
    let result = step(name, work);
    drop(done);
    teller.join().ok();
    result
}

/// Runs a command with its output in a log file. When it fails, the error holds
/// the last lines and says where the whole log is.
pub fn run_quiet(name: &str, command: &mut Command) -> Result<()> {
    let log = log_file(name)?;
    let out = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
    command
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out);
    let status = wait(command)?;
    if status.success() {
        fs::remove_file(&log).ok();
        return Ok(());
    }
    bail!(
        "{name}: {status}\n{}\nThe whole log: {}",
        tail(&log, 30),
        log.display()
    );
}

/// Runs a command on our own terminal. For what people want to watch: tests.
pub fn run_loud(name: &str, command: &mut Command) -> Result<()> {
    let status = wait(command.stdin(Stdio::null()))?;
    if !status.success() {
        bail!("{name}: {status}");
    }
    Ok(())
}

/// A command's standard output, trimmed; its standard error is in the error.
pub fn run_text(command: &mut Command) -> Result<String> {
    let program = program(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| cannot_run(&program))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{program}: {}\n{}", output.status, stderr.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Waits for a child while listening for Ctrl-C and SIGTERM, which end it.
fn wait(command: &mut Command) -> Result<ExitStatus> {
    let program = program(command);
    let mut child = command.spawn().with_context(|| cannot_run(&program))?;
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(status) = child.try_wait()? {
            interrupt::check()?;
            return Ok(status);
        }
        if interrupt::requested() {
            if let Some(pid) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
                rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
            }
            child.wait()?;
            bail!("interrupted");
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// The last `lines` lines of a log, indented, for an error message.
pub fn tail(log: &Path, lines: usize) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    let last = all
        .get(all.len().saturating_sub(lines)..)
        .unwrap_or_default();
    last.iter()
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn log_file(name: &str) -> Result<PathBuf> {
    // The number keeps two runs of one step in one process apart, the id two processes.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let slug: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let logs = paths::make_dir(paths::scratch()?.join("logs"))?;
    Ok(logs.join(format!("{}-{number}-{slug}.log", std::process::id())))
}

fn program(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn cannot_run(program: &str) -> String {
    format!("cannot run `{program}`: is it installed and on PATH?")
}
