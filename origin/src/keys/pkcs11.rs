//! Keys in a hardware security module, or a service that looks like one: PKCS#11 3.0, Ed25519 as
//! `CKM_EDDSA`. Private keys are made there, sensitive and not extractable, and never leave it.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    mechanism::{
        Mechanism,
        eddsa::{EddsaParams, EddsaSignatureScheme},
    },
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    slot::Slot,
    types::AuthPin,
};
use licet_shared::jws::{SignError, Signer, VerifyingKey};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::{config::Secret, random};

/// Sessions that are kept open while nobody needs them.
const IDLE_SESSIONS: usize = 16;
/// `CKA_EC_PARAMS` of Ed25519, in the two ways that modules take: by name (PKCS#11 3.0 §2.3.10), by
/// object identifier (RFC 8410 §3).
const CURVE: [&[u8]; 2] = [b"\x13\x0cedwards25519", b"\x06\x03\x2b\x65\x70"];

/// Why a module did not do what it was to do. Never shows the PIN.
#[derive(Debug)]
pub struct ModuleError(String);

impl fmt::Display for ModuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ModuleError {}

impl From<Error> for ModuleError {
    fn from(error: Error) -> Self {
        Self(match error {
            Error::LibraryLoading(error) => format!("the library can't be loaded: {error}"),
            // The name is enough: the library's texts are paragraphs of the standard.
            Error::Pkcs11(code, function) => format!("{function:?} was answered {code:?}"),
            error => error.to_string(),
        })
    }
}

/// A module's token, logged in to.
pub struct Module {
    context: Pkcs11,
    slot: Slot,
    pin: AuthPin,
    idle: Mutex<Vec<Session>>,
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Module(…)")
    }
}

/// What a module knows of a key.
pub(crate) struct ModuleKey {
    /// Its `CKA_ID`.
    pub(crate) id: Vec<u8>,
    pub(crate) public: [u8; 32],
}

/// Calls that may take a while, on a thread where that holds nobody up.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

impl Module {
    /// Loads a library and logs in to the token with this label.
    ///
    /// # Errors
    /// [`ModuleError`] that says which step failed.
    pub fn open(library: &Path, token: &str, pin: &Secret) -> Result<Self, ModuleError> {
        let context = Pkcs11::new(library)?;
        match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            // By another user of the library in this process.
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(error.into()),
        }
        let slot = slot_of(&context, token)?;
        let module = Self {
            context,
            slot,
            pin: AuthPin::new(pin.reveal().trim().into()),
            idle: Mutex::default(),
        };
        let session = module.session()?;
        module.keep(session);
        Ok(module)
    }

    /// A new session. Logging in counts for all of them.
    fn session(&self) -> Result<Session, Error> {
        let session = self.context.open_rw_session(self.slot)?;
        match session.login(UserType::User, Some(&self.pin)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(error) => Err(error),
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, session: Session) {
        let mut idle = self.idle();
        if idle.len() < IDLE_SESSIONS {
            idle.push(session);
        }
    }

    /// Does something in a session; once more in a new one where the module has forgotten the old
    /// one, as after it was restarted.
    fn run<T>(&self, work: impl Fn(&Session) -> Result<T, Error>) -> Result<T, Error> {
        blocking(|| {
            let session = self.idle().pop();
            let session = session.map_or_else(|| self.session(), Ok)?;
            match work(&session) {
                Ok(done) => {
                    self.keep(session);
                    Ok(done)
                }
                Err(Error::Pkcs11(code, _)) if is_lost(code) => {
                    drop(session);
                    self.idle().clear();
                    let session = self.session()?;
                    let done = work(&session)?;
                    self.keep(session);
                    Ok(done)
                }
                Err(error) => Err(error),
            }
        })
    }

    /// Makes a key pair under this label, which is for people: a key is found by its id.
    pub(crate) fn generate(&self, label: &str) -> Result<ModuleKey, ModuleError> {
        let id = random::bytes::<16>().map_err(|_| ModuleError("no random bytes".into()))?;
        let mut made = Err(Error::NotSupported);
        for curve in CURVE {
            made = self.run(|session| make(session, &id, label, curve));
            if !matches!(&made, Err(Error::Pkcs11(code, _)) if is_of_curve(*code)) {
                break;
            }
        }
        let key = ModuleKey {
            id: id.to_vec(),
            public: point(&made?)?,
        };
        // Before anything depends on it.
        let (message, public) = (b"licet", VerifyingKey::new(label, key.public));
        let public = public.map_err(|error| ModuleError(error.to_string()))?;
        let signature = self.sign(&key.id, message)?;
        if public.verify(message, &signature) {
            Ok(key)
        } else {
            Err(ModuleError("a new key's halves differ".into()))
        }
    }

    /// The key with this label, which must be the only one.
    pub(crate) fn find(&self, label: &str) -> Result<ModuleKey, ModuleError> {
        let template = [
            Attribute::Class(ObjectClass::PUBLIC_KEY),
            Attribute::KeyType(KeyType::EC_EDWARDS),
            Attribute::Label(label.as_bytes().to_vec()),
        ];
        let found = self.run(|session| {
            let found = session.find_objects(&template)?;
            let wanted = [AttributeType::Id, AttributeType::EcPoint];
            found
                .into_iter()
                .map(|object| session.get_attributes(object, &wanted))
                .collect::<Result<Vec<_>, _>>()
        })?;
        let [attributes] = &found[..] else {
            let count = found.len();
            return Err(ModuleError(format!(
                "the token has {count} Ed25519 public keys labelled {label:?}, not one"
            )));
        };
        let mut key = ModuleKey {
            id: Vec::new(),
            public: [0; 32],
        };
        for attribute in attributes {
            match attribute {
                Attribute::Id(id) => key.id.clone_from(id),
                Attribute::EcPoint(bytes) => key.public = point(bytes)?,
                _ => {}
            }
        }
        Ok(key)
    }

    /// Ed25519 by the private key with this id.
    fn sign(&self, id: &[u8], message: &[u8]) -> Result<[u8; 64], ModuleError> {
        let template = [
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::Id(id.to_vec()),
        ];
        let signature = self.run(|session| {
            // Handles are a session's, so the key is looked for each time.
            let found: Vec<ObjectHandle> = session.find_objects(&template)?;
            let [key] = found[..] else {
                return Ok(None);
            };
            let scheme = EddsaParams::new(EddsaSignatureScheme::Ed25519);
            session
                .sign(&Mechanism::Eddsa(scheme), key, message)
                .map(Some)
        })?;
        let signature =
            signature.ok_or_else(|| ModuleError("the private key is not in the token".into()))?;
        let signature = <[u8; 64]>::try_from(signature);
        signature.map_err(|_| ModuleError("the signature has another length".into()))
    }
}

fn slot_of(context: &Pkcs11, token: &str) -> Result<Slot, ModuleError> {
    let mut found = Vec::new();
    let mut labels = Vec::new();
    for slot in context.get_slots_with_token()? {
        let label = context.get_token_info(slot)?.label().trim_end().to_owned();
        if label == token {
            found.push(slot);
        }
        labels.push(label);
    }
    match found[..] {
        [slot] => Ok(slot),
        _ => Err(ModuleError(format!(
            "{} tokens are labelled {token:?}, not one; there are {labels:?}",
            found.len()
        ))),
    }
}

/// What a module answers that has forgotten its sessions, or who is logged in.
const fn is_lost(code: RvError) -> bool {
    matches!(
        code,
        RvError::SessionHandleInvalid
            | RvError::SessionClosed
            | RvError::UserNotLoggedIn
            | RvError::DeviceRemoved
            | RvError::TokenNotPresent
    )
}

const fn is_of_curve(code: RvError) -> bool {
    matches!(
        code,
        RvError::AttributeValueInvalid
            | RvError::CurveNotSupported
            | RvError::DomainParamsInvalid
            | RvError::TemplateInconsistent
    )
}

/// Makes a key pair, and hands back its `CKA_EC_POINT`.
fn make(session: &Session, id: &[u8], label: &str, curve: &[u8]) -> Result<Vec<u8>, Error> {
    let common = |class| {
        vec![
            Attribute::Class(class),
            Attribute::KeyType(KeyType::EC_EDWARDS),
            Attribute::Token(true),
            Attribute::Id(id.to_vec()),
            Attribute::Label(label.as_bytes().to_vec()),
        ]
    };
    let mut public = common(ObjectClass::PUBLIC_KEY);
    public.extend([
        Attribute::Private(false),
        Attribute::Verify(true),
        Attribute::EcParams(curve.to_vec()),
    ]);
    let mut private = common(ObjectClass::PRIVATE_KEY);
    private.extend([
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
    ]);
    let mechanism = Mechanism::EccEdwardsKeyPairGen;
    let (object, _) = session.generate_key_pair(&mechanism, &public, &private)?;
    let attributes = session.get_attributes(object, &[AttributeType::EcPoint])?;
    match attributes.into_iter().next() {
        Some(Attribute::EcPoint(bytes)) => Ok(bytes),
        _ => Err(Error::InvalidValue),
    }
}

/// The public key in a `CKA_EC_POINT`: bare, or as an OCTET STRING or BIT STRING in DER.
fn point(bytes: &[u8]) -> Result<[u8; 32], ModuleError> {
    let bare = match bytes {
        [0x04, 0x20, bare @ ..] | [0x03, 0x21, 0x00, bare @ ..] => bare,
        bare => bare,
    };
    let bare = bare.try_into();
    bare.map_err(|_| ModuleError("a public key has another length than 32 bytes".into()))
}

/// A signer whose key is in a module. `Debug` shows the `kid` alone.
pub(crate) struct ModuleSigner {
    pub(crate) kid: String,
    pub(crate) module: Arc<Module>,
    pub(crate) id: Vec<u8>,
}

impl Signer for ModuleSigner {
    fn kid(&self) -> &str {
        &self.kid
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        let signature = self.module.sign(&self.id, message);
        signature.map_err(|error| SignError(error.to_string()))
    }
}

impl fmt::Debug for ModuleSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModuleSigner({})", self.kid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_is_read_in_each_form_that_modules_give() {
        let key = [7; 32];
        for head in [&[][..], &[0x04, 0x20], &[0x03, 0x21, 0x00]] {
            assert_eq!(point(&[head, &key[..]].concat()).unwrap(), key);
        }
        for bad in [&[][..], &[4, 32], &[7; 31], &[7; 33], &[4; 57]] {
            assert!(point(bad).is_err());
        }
    }

    #[test]
    fn a_library_that_is_none_is_said_to_be_so() {
        let secret = Secret::from("1234".to_owned());
        let error = Module::open(Path::new("/nowhere/none.so"), "licet", &secret).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("the library can't be loaded"), "{text}");
    }
}
