//! `keygen`.

use base64ct::{Base64UrlUnpadded, Encoding};
use clap::{Args, ValueEnum};
use licet_shared::jws::LocalSigner;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{CliError, print_json};
use crate::random;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Lines for a shell or an env file
    Env,
    /// One JSON object
    Json,
}

/// Options of `keygen`.
#[derive(Debug, Args)]
pub(super) struct Keygen {
    /// How to print them
    #[arg(long, value_enum, default_value = "env")]
    format: Format,
}

#[derive(Serialize)]
struct Keys {
    master_key: String,
    platform_key: String,
    platform_public: String,
    edge_key: String,
    edge_public: String,
}

impl Keygen {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let keys = generate()?;
        match self.format {
            Format::Json => print_json(&keys),
            Format::Env => {
                println!("# For the origin");
                println!("LICET_MASTER_KEY={}", keys.master_key);
                println!("LICET_PLATFORM_KEY={}", keys.platform_key);
                println!("LICET_EDGE_KEYS={}", keys.edge_public);
                println!("# For the Worker");
                println!("PLATFORM_KEYS={}", keys.platform_public);
                println!("EDGE_KEY={}", keys.edge_key);
                Ok(())
            }
        }
    }
}

fn generate() -> Result<Keys, CliError> {
    let master = Zeroizing::new(random::bytes::<32>()?);
    let platform = LocalSigner::from_seed("platform.1", random::bytes()?);
    let edge = LocalSigner::from_seed("edge.1", random::bytes()?);
    Ok(Keys {
        master_key: Base64UrlUnpadded::encode_string(master.as_slice()),
        platform_public: platform.verifying_key().to_string(),
        platform_key: platform.reveal(),
        edge_public: edge.verifying_key().to_string(),
        edge_key: edge.reveal(),
    })
}

#[cfg(test)]
mod tests {
    use licet_shared::jws::VerifyingKey;

    use super::*;
    use crate::keys::MasterKey;

    #[test]
    fn every_key_reads_back_and_its_halves_fit() {
        let keys = generate().unwrap();
        assert!(keys.master_key.parse::<MasterKey>().is_ok());
        for (secret, public) in [
            (keys.platform_key, keys.platform_public),
            (keys.edge_key, keys.edge_public),
        ] {
            let signer: LocalSigner = secret.parse().unwrap();
            assert_eq!(
                signer.verifying_key(),
                public.parse::<VerifyingKey>().unwrap()
            );
        }
    }
}
