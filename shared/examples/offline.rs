//! A program for a machine without a network: it uses nothing of Licet but `licet-shared`.
//!
//! ```text
//! offline request <license key> <product> <fingerprint>   a request, to be carried to the vendor
//! offline code <fingerprint>                              the same, short enough to be typed
//! offline verify <license file> <product> <fingerprint>   may it run? the verdict as JSON
//! offline receipt <license file>                          deletes the file; says so, signed
//! ```
//!
//! `LICET_PLATFORM_KEYS` and `LICET_ORG` say whom it believes; in a shipped program both are
//! constants. What it keeps stands in `LICET_MACHINE`, a directory: the machine's key, and the newest
//! time it has seen. `LICET_NOW` sets its clock, to see what comes of that.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use base64ct::{Base64UrlUnpadded, Encoding};
use licet_shared::{
    decision::{Code, Context},
    documents::PlatformKeys,
    id::OrgTag,
    jws::LocalSigner,
    license_file::{
        ActivationRequest, DeactivationReceipt, LicenseFile, MachineCode, Trust, decide,
        machine_key,
    },
    time::Timestamp,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

const USAGE: &str = "offline request <license key> <product> <fingerprint>
offline code <fingerprint>
offline verify <license file> <product> <fingerprint>
offline receipt <license file>";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match *arguments {
        ["request", key, product, fingerprint] => request(key, product, fingerprint),
        ["code", fingerprint] => {
            println!("{}", MachineCode::of(fingerprint));
            Ok(ExitCode::SUCCESS)
        }
        ["verify", file, product, fingerprint] => verify(file, product, fingerprint),
        ["receipt", file] => receipt(Path::new(file)),
        _ => Err(USAGE.into()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::from(2)
    })
}

fn request(key: &str, product: &str, fingerprint: &str) -> Outcome<ExitCode> {
    let machine = this_machine()?;
    let request = ActivationRequest::new(key.parse()?, product, fingerprint, &machine, random()?);
    print!("{}", request.sign(&machine, now()?)?);
    Ok(ExitCode::SUCCESS)
}

fn verify(file: &str, product: &str, fingerprint: &str) -> Outcome<ExitCode> {
    let believed = Believed::read()?;
    let text = text_of(Path::new(file))?;
    let context = Context {
        product,
        fingerprint: Some(fingerprint),
        ..Context::default()
    };
    let now = now()?;
    let seen = Seen::since_file(LicenseFile::verify(&text, believed.trust()).ok().as_ref())?;
    let newest = seen.map(|seen| seen.newest);
    let verdict = decide(&text, believed.trust(), &context, newest, now);
    if let Some(seen) = seen.filter(|_| verdict.code != Code::ClockMovedBack) {
        seen.note(now)?;
    }
    println!("{}", serde_json::to_string(&verdict)?);
    Ok(ExitCode::from(u8::from(!verdict.valid)))
}

/// Deletes first: there is no moment at which both the receipt and a way to go on exist.
fn receipt(path: &Path) -> Outcome<ExitCode> {
    let believed = Believed::read()?;
    let file = LicenseFile::verify(&text_of(path)?, believed.trust())
        .map_err(|code| format!("{}: {code}", path.display()))?;
    let receipt = DeactivationReceipt::sign(&file, &this_machine()?, now()?)?;
    fs::remove_file(path)?;
    print!("{receipt}");
    Ok(ExitCode::SUCCESS)
}

/// What is no text is no license file either, and is for the decision to say.
fn text_of(path: &Path) -> Outcome<String> {
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(String::from_utf8(bytes).unwrap_or_default())
}

/// Whom this program believes.
struct Believed {
    platform_keys: PlatformKeys,
    org: OrgTag,
}

impl Believed {
    fn read() -> Outcome<Self> {
        Ok(Self {
            platform_keys: variable("LICET_PLATFORM_KEYS")?.parse()?,
            org: variable("LICET_ORG")?.parse()?,
        })
    }

    fn trust(&self) -> Trust<'_> {
        Trust {
            platform_keys: &self.platform_keys,
            org: self.org,
        }
    }
}

fn variable(name: &str) -> Outcome<String> {
    env::var(name).map_err(|error| format!("{name}: {error}").into())
}

fn state() -> PathBuf {
    env::var_os("LICET_MACHINE").map_or_else(|| ".".into(), PathBuf::from)
}

/// The key that never leaves this machine; made when it is first wanted.
fn this_machine() -> Outcome<LocalSigner> {
    let path = state().join("machine-key");
    let seed = if path.exists() {
        let mut seed = [0; 32];
        let text = fs::read_to_string(&path)?;
        let length = Base64UrlUnpadded::decode(text.trim(), &mut seed)
            .map_err(|error| error.to_string())?
            .len();
        if length != seed.len() {
            return Err(format!("{}: not a key", path.display()).into());
        }
        seed
    } else {
        let seed = random()?;
        fs::write(&path, Base64UrlUnpadded::encode_string(&seed))?;
        seed
    };
    Ok(machine_key(seed))
}

/// The newest time at which this program asked, and the newest license file that it had then. A
/// product keeps this where it is not easily found.
#[derive(Clone, Copy)]
struct Seen {
    file: Timestamp,
    newest: Timestamp,
}

impl Seen {
    fn path() -> PathBuf {
        state().join("newest-seen")
    }

    /// A newer file begins anew: its maker's clock is right, and the machine's may once have been
    /// far ahead.
    fn since_file(file: Option<&LicenseFile>) -> Outcome<Option<Self>> {
        let Some(made) = file.map(LicenseFile::as_of) else {
            return Ok(None);
        };
        let new = Self {
            file: made,
            newest: made,
        };
        let Ok(text) = fs::read_to_string(Self::path()) else {
            return Ok(Some(new));
        };
        let (file, newest) = text.trim().split_once(' ').ok_or("newest-seen: altered")?;
        let kept = Self {
            file: file.parse()?,
            newest: newest.parse()?,
        };
        Ok(Some(if made > kept.file { new } else { kept }))
    }

    fn note(self, now: Timestamp) -> Outcome<()> {
        let newest = self.newest.max(now);
        fs::write(Self::path(), format!("{} {newest}", self.file))?;
        Ok(())
    }
}

#[allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is a host, not the core"
)]
fn now() -> Outcome<Timestamp> {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};
    if let Ok(text) = env::var("LICET_NOW") {
        return Ok(text.parse()?);
    }
    // A clock from before 1970 is one that was set back.
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = since.unwrap_or(Duration::ZERO).as_secs();
    Ok(Timestamp::from_unix(i64::try_from(seconds)?))
}

#[cfg(not(target_arch = "wasm32"))]
#[allow(clippy::disallowed_methods, reason = "this is a host, not the core")]
fn random<const BYTES: usize>() -> Outcome<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(target_arch = "wasm32")]
fn random<const BYTES: usize>() -> Outcome<[u8; BYTES]> {
    Err("this example is for machines with files".into())
}
