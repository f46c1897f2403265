//! Signals to processes of the tests' own.

use std::process::Command;

/// A process that takes connections and does nothing. Goes on when dropped.
#[derive(Debug)]
pub struct Stopped(u32);

impl Stopped {
    /// Stops the process with this id.
    #[track_caller]
    pub fn process(id: u32) -> Self {
        send(id, "-STOP");
        Self(id)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        send(self.0, "-CONT");
    }
}

/// Sends a signal, such as `-KILL`.
#[track_caller]
pub fn send(id: u32, name: &str) {
    let status = Command::new("kill")
        .args([name, &id.to_string()])
        .status()
        .unwrap();
    assert!(status.success(), "kill {name} {id}");
}
