//! Takes the white space out of the API's description before it becomes a part of the Worker.

use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=openapi.json");
    let description: serde_json::Value = serde_json::from_slice(&fs::read("openapi.json")?)?;
    let out = env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?;
    fs::write(
        Path::new(&out).join("openapi.json"),
        description.to_string(),
    )?;
    Ok(())
}
