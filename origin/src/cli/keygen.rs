//! `keygen`.

use base64ct::{Base64UrlUnpadded, Encoding};
use clap::{Args, ValueEnum};
use licet_shared::jws::{LocalSigner, VerifyingKey};
use serde_json::json;
use zeroize::Zeroizing;

use super::{CliError, ModuleArgs, print_json};
use crate::{config::ConfigError, fault::Fault, keys::IN_MODULE, random};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Lines for a shell or an env file
    Env,
    /// One JSON object
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    /// The key that other keys are sealed under
    Master,
    /// The key that signs organizations' key sets
    Platform,
    /// The key that an edge shows the origin
    Edge,
}

/// Options of `keygen`.
#[derive(Debug, Args)]
pub(super) struct Keygen {
    /// How to print them
    #[arg(long, value_enum, default_value = "env")]
    format: Format,
    /// One kind of key alone, to rotate it
    #[arg(long, value_enum, value_name = "KIND")]
    only: Option<Which>,
    /// Second half of the kids: one more than those in use
    #[arg(long, default_value = "1", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    number: u32,
    /// Make the platform's key in the module
    #[arg(long)]
    in_module: bool,
    #[command(flatten)]
    module: ModuleArgs,
}

impl Keygen {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let wanted = |which| self.only.is_none_or(|only| only == which);
        // Names and values: those of the origin, then those of the Worker.
        let (mut origin, mut worker) = (Vec::new(), Vec::new());
        if wanted(Which::Master) {
            origin.push(("master_key", "LICET_MASTER_KEY", master_key()?));
        }
        if wanted(Which::Platform) {
            let (private, public) = self.platform_key()?;
            origin.push(("platform_key", "LICET_PLATFORM_KEY", private));
            worker.push(("platform_public", "PLATFORM_KEYS", public.to_string()));
        }
        if wanted(Which::Edge) {
            let edge = signer("edge", self.number)?;
            let public = edge.verifying_key().to_string();
            origin.push(("edge_public", "LICET_EDGE_KEYS", public));
            worker.push(("edge_key", "EDGE_KEY", edge.reveal()));
        }
        match self.format {
            Format::Json => {
                let all = origin.into_iter().chain(worker);
                let all = all.map(|(name, _, value)| (name.to_owned(), json!(value)));
                print_json(&all.collect::<serde_json::Map<_, _>>())
            }
            Format::Env => {
                for (whom, keys) in [("the origin", origin), ("the Worker", worker)] {
                    if !keys.is_empty() {
                        println!("# For {whom}");
                    }
                    for (_, variable, value) in keys {
                        println!("{variable}={value}");
                    }
                }
                Ok(())
            }
        }
    }

    /// What the origin is given, and the public half.
    fn platform_key(&self) -> Result<(String, VerifyingKey), CliError> {
        if !self.in_module {
            let platform = signer("platform", self.number)?;
            return Ok((platform.reveal(), platform.verifying_key()));
        }
        let module = self.module.open()?.ok_or_else(|| {
            let why = "is not set: --in-module needs it";
            ConfigError::new("LICET_PKCS11_MODULE", why)
        })?;
        let kid = format!("platform.{}", self.number);
        if module.find(&kid).is_ok() {
            return Err(CliError::Failed(format!(
                "there is a key {kid} in the module already: say another --number"
            )));
        }
        let made = module.generate(&kid).map_err(CliError::failed)?;
        let public = VerifyingKey::new(kid.as_str(), made.public).map_err(CliError::failed)?;
        Ok((format!("{IN_MODULE}{kid}"), public))
    }
}

fn master_key() -> Result<String, Fault> {
    let bytes = Zeroizing::new(random::bytes::<32>()?);
    Ok(Base64UrlUnpadded::encode_string(bytes.as_slice()))
}

fn signer(name: &str, number: u32) -> Result<LocalSigner, Fault> {
    Ok(LocalSigner::from_seed(
        format!("{name}.{number}"),
        random::bytes()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::MasterKey;

    #[test]
    fn every_key_reads_back() {
        assert!(master_key().unwrap().parse::<MasterKey>().is_ok());
        let made = signer("edge", 3).unwrap();
        let read: LocalSigner = made.reveal().parse().unwrap();
        assert_eq!(made.verifying_key(), read.verifying_key());
        assert_eq!(made.verifying_key().kid(), "edge.3");
    }
}
