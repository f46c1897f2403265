//! `cargo xtask bench`: measurements, each compared with something in the same run.

use anyhow::{Result, bail};

use crate::{edge, tools};

/// Our Worker beside others on one workerd.
pub fn edge() -> Result<()> {
    tools::wrk()?;
    edge::build()?;
    bail!("the edge benchmark is not written yet");
}
