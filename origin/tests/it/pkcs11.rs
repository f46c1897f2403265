//! Keys in a module, tested with SoftHSM2: an HSM's PKCS#11 library in software.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use licet_origin::{
    config::Secret,
    keys::{MasterKey, MasterKeys, Module, Platform, Vault},
};
use licet_shared::{
    decision::LicenseToken,
    documents::{OrgKeys, PlatformKeys},
    jws::VerifyingKey,
};
use serde_json::{Value, json};

use super::support::{
    Bed, BedOptions, ISSUER, MASTER_SEED, TestDatabase,
    edge::{Call, now},
};

const PIN: &str = "pin-94-softhsm";

/// A token of our own, in a directory of its own.
struct SoftHsm {
    library: PathBuf,
    dir: PathBuf,
}

impl Drop for SoftHsm {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn library() -> Option<PathBuf> {
    [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
        "/opt/homebrew/lib/softhsm/libsofthsm2.so",
    ]
    .into_iter()
    .map(PathBuf::from)
    .find(|path| path.is_file())
}

/// The installed one. Without it nothing is tested, which must not go unnoticed: where
/// `LICET_REQUIRE_SOFTHSM` is set it is a failure.
fn installed() -> Option<SoftHsm> {
    let Some(library) = library() else {
        let required = std::env::var_os("LICET_REQUIRE_SOFTHSM").is_some();
        assert!(!required, "there is no SoftHSM2: apt-get install softhsm2");
        // Past the capture of a test that passes.
        let line = "\nSKIPPED: nothing is tested with PKCS#11: there is no SoftHSM2 (Debian: apt-get install softhsm2)\n";
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return None;
    };
    let name = format!("licet-softhsm-{}", super::support::edge::unique());
    let hsm = SoftHsm {
        library,
        dir: std::env::temp_dir().join(name),
    };
    std::fs::create_dir_all(hsm.dir.join("tokens")).unwrap();
    let config = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        hsm.dir.join("tokens").display()
    );
    std::fs::write(hsm.config(), config).unwrap();
    std::fs::write(hsm.pin_file(), format!("{PIN}\n")).unwrap();
    let mut init = Command::new("softhsm2-util");
    init.args(["--init-token", "--free", "--label", "licet"]);
    init.args(["--so-pin", "so-pin-1234", "--pin", PIN]);
    let output = init.env("SOFTHSM2_CONF", hsm.config()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    Some(hsm)
}

impl SoftHsm {
    fn config(&self) -> PathBuf {
        self.dir.join("softhsm2.conf")
    }

    fn pin_file(&self) -> PathBuf {
        self.dir.join("pin")
    }

    /// A command with the module.
    fn run(&self, database: &TestDatabase, args: &[&str]) -> super::support::Run {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        database
            .command(args)
            .env("SOFTHSM2_CONF", &text(&self.config()))
            .env("LICET_PKCS11_MODULE", &text(&self.library))
            .env("LICET_PKCS11_TOKEN", "licet")
            .env("LICET_PKCS11_PIN_FILE", &text(&self.pin_file()))
    }
}

/// The library reads its configuration once per process, by way of the environment, which tests must
/// not change: so this one runs itself again in a process of its own.
const AGAIN: &str = "LICET_TEST_SOFTHSM_DIR";

#[test]
fn organizations_keys_are_made_and_sign_in_a_module() {
    if let Some(dir) = std::env::var_os(AGAIN) {
        let hsm = std::mem::ManuallyDrop::new(SoftHsm {
            library: library().unwrap(),
            dir: dir.into(),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        return runtime.block_on(in_a_module(&hsm));
    }
    let Some(hsm) = installed() else { return };
    let name = "pkcs11::organizations_keys_are_made_and_sign_in_a_module";
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(AGAIN, &hsm.dir)
        .env("SOFTHSM2_CONF", hsm.config())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

async fn in_a_module(hsm: &SoftHsm) {
    let open = |pin: &str| Module::open(&hsm.library, "licet", &Secret::from(pin.to_owned()));
    let wrong = open("wrong-pin").unwrap_err().to_string();
    assert_eq!(wrong, "Login was answered PinIncorrect");
    let module = Arc::new(open(PIN).unwrap());
    let none = Module::open(&hsm.library, "other", &Secret::from(PIN.to_owned()));
    assert!(
        none.unwrap_err()
            .to_string()
            .contains("there are [\"licet\"")
    );

    // The platform's key is there as well.
    let database = TestDatabase::migrated();
    let keygen = [
        "keygen",
        "--only",
        "platform",
        "--in-module",
        "--format",
        "json",
    ];
    let made = hsm.run(&database, &keygen).json();
    let platform_public: PlatformKeys = made["platform_public"].as_str().unwrap().parse().unwrap();
    let platform = Platform::in_module(&module, "platform.1").unwrap();

    let sealing = Vault::from(MasterKeys::from(MasterKey::new(MASTER_SEED)));
    let options = BedOptions {
        vault: Some(sealing.with_module(Arc::clone(&module), true)),
        platform: Some(platform),
        ..BedOptions::default()
    };
    let bed = Bed::with(database, &options);
    // Its first key is in the module.
    let owner = bed.sign_up("alpha").await.caller;
    let seeded = bed.database.seed("alpha", 50);
    let keys = bed.get(&owner, "/api/v1/signing-keys").await.json(200);
    assert_eq!(keys["data"][0]["store"], "PKCS11");
    let rows = bed
        .database
        .admin("SELECT sealed_seed IS NULL, octet_length(object_id) FROM licet.signing_keys");
    assert_eq!(rows, [[Some("t".to_owned()), Some("16".to_owned())]]);

    let token = bed
        .activate(&seeded.key, "one")
        .await
        .license_token
        .unwrap();
    assert!(bed.refresh(&token).await.valid);
    for document in [
        "statuslists/0".to_owned(),
        format!("licenses/{}", seeded.license),
    ] {
        let path = format!("/edge/v1/orgs/{}/{document}", seeded.tag);
        assert_eq!(bed.call(Call::get(&path)).await.status, 200, "{path}");
    }
    // It rotates like any other.
    for _ in 0..2 {
        let made = bed
            .post(&owner, "/api/v1/signing-keys", &Value::Null)
            .await
            .json(201);
        let kid = made["id"].as_str().unwrap().to_owned();
        let path = format!("/api/v1/signing-keys/{kid}/activate");
        let body = json!({ "emergency": true });
        assert_eq!(
            bed.post(&owner, &path, &body).await.json(200)["state"],
            "ACTIVE"
        );
    }
    assert!(bed.refresh(&token).await.valid);

    // Many at once, in sessions of their own.
    let many = (0..24).map(|device| {
        let (app, key) = (bed.app.clone(), seeded.key.clone());
        tokio::spawn(async move {
            let mut status = 503;
            // One at a time has the license's row: on a busy machine some are told to come again.
            for _ in 0..100 {
                let call = super::support::edge::activation(&key, &format!("d{device}"));
                let answer = tower::ServiceExt::oneshot(app.clone(), call.request()).await;
                status = answer.unwrap().status().as_u16();
                if status != 503 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            assert_eq!(status, 200);
        })
    });
    for one in futures_util::future::join_all(many).await {
        one.unwrap();
    }
    let path = format!("/edge/v1/orgs/{}/keys", seeded.tag);
    let text = bed.call(Call::get(&path)).await.text();
    let keys =
        OrgKeys::verify((&text).into(), ISSUER, seeded.tag, &platform_public, now()).unwrap();
    assert_eq!(keys.jwks().count(), 3);
    let token = bed
        .activate(&seeded.key, "one")
        .await
        .license_token
        .unwrap();
    let verified = LicenseToken::verify(&token, Some(&keys), now()).unwrap();
    assert_eq!(verified.org(), seeded.tag);

    // An origin without the module says whose fault it is, and signs nothing.
    let without = BedOptions {
        url: Some(bed.database.app_url()),
        ..BedOptions::default()
    };
    let without = Bed::with(TestDatabase::empty(), &without);
    let call = super::support::edge::activation(&seeded.key, "one");
    assert_eq!(without.call(call).await.code(), "INTERNAL");
    let out = bed
        .database
        .command(&["keys", "list", "--org", "alpha"])
        .json();
    assert_eq!(out.as_array().unwrap().len(), 3);
}

#[test]
fn the_platforms_key_is_made_and_signs_in_a_module() {
    let Some(hsm) = installed() else { return };
    let database = TestDatabase::migrated();
    let keygen = [
        "keygen",
        "--only",
        "platform",
        "--number",
        "7",
        "--in-module",
    ];
    let args = [&keygen[..], &["--format", "json"]].concat();
    let made = hsm.run(&database, &args).json();
    assert_eq!(made["platform_key"], "pkcs11:platform.7");
    let public: VerifyingKey = made["platform_public"].as_str().unwrap().parse().unwrap();
    assert_eq!(public.kid(), "platform.7");
    let again = hsm.run(&database, &keygen).end();
    assert_eq!(again.code, Some(1));
    assert!(
        again.stderr.contains("there is a key platform.7"),
        "{again:?}"
    );

    // Commands use the module for organizations' keys as well.
    let seed = hsm.run(&database, &["seed", "--org", "alpha"]);
    seed.env("LICET_NEW_KEYS", "pkcs11").succeed();
    let create = hsm.run(&database, &["keys", "create", "--org", "alpha"]);
    assert_eq!(create.json()["store"], "SEALED");
    let stores = database.admin("SELECT store FROM licet.signing_keys ORDER BY number");
    assert_eq!(
        stores,
        [[Some("PKCS11".to_owned())], [Some("SEALED".to_owned())]]
    );

    // Wrong settings are said, and no PIN is.
    let serve = |name: &str, value: &str| {
        let run = hsm.run(&database, &["serve", "--listen", "127.0.0.1:1"]);
        let run = run.env("LICET_PLATFORM_KEY", "pkcs11:platform.7");
        let ended = run.env(name, value).end();
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(!ended.stderr.contains(PIN), "{ended:?}");
        ended.stderr
    };
    for (name, value, sentence) in [
        (
            "LICET_PLATFORM_KEY",
            "pkcs11:platform.8",
            "0 Ed25519 public keys",
        ),
        ("LICET_PKCS11_MODULE", "/nowhere.so", "can't be loaded"),
        ("LICET_PKCS11_TOKEN", "other", "tokens are labelled"),
        ("LICET_PKCS11_TOKEN", "", "LICET_PKCS11_TOKEN is not set"),
        ("LICET_PKCS11_PIN", "1234567", "PinIncorrect"),
        ("LICET_PKCS11_PIN_FILE", "/nowhere", "can't be read"),
        ("LICET_PKCS11_MODULE", "", "LICET_PKCS11_MODULE is not set"),
        (
            "LICET_PLATFORM_KEYS",
            "platform.1:EXPrr3gXuMRJGVWbNGLu6JtlWl1UkOlWm-Hb4pJyb6M",
            "LICET_PLATFORM_KEYS",
        ),
    ] {
        let said = serve(name, value);
        assert!(said.contains(sentence), "{name}={value}: {said}");
    }
}
