//! The Worker, made from `edge/`: compiled to Wasm, bound to JavaScript, optimised, bundled.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, bail};

use crate::step::{long_step, run_quiet, step};
use crate::tools::{self, Node};
use crate::{lock, paths};

/// The Worker's entry as it is written, and what it imports.
const ENTRY: &str = "edge/src/entry.js";
const SCRIPTS: [&str; 3] = [ENTRY, "edge/src/answered.js", "edge/src/ballast.js"];
const WASM_FILE: &str = "wasm32-unknown-unknown/edge/licet_edge.wasm";
/// The profile in `Cargo.toml`.
const PROFILE: [&str; 2] = ["--profile", "edge"];

/// Builds the Worker into `edge/build` unless what is there is current, and
/// hands back that directory.
pub fn build() -> Result<PathBuf> {
    let root = paths::workspace();
    if !root.join("edge/Cargo.toml").is_file() {
        bail!("there is no edge/Cargo.toml: run this inside a clone of Licet");
    }
    tools::wasm_target()?;
    long_step(
        "compile the edge to Wasm",
        "some minutes the first time",
        || compile(&root),
    )?;
    let node = Node::find()?;
    let bindgen = tools::wasm_bindgen_dir()?;
    let worker_build = tools::worker_build()?;
    let build = root.join("edge/build");
    lock::exclusive(&paths::scratch()?.join("edge.lock"), || {
        let stamp = Stamp::take(&build)?;
        if stamp.is_current() {
            return Ok(());
        }
        step("bind, optimise and bundle the Worker", || {
            let mut command = Command::new(&worker_build);
            command.args(PROFILE).arg("edge").current_dir(&root);
            command.env("WASM_BINDGEN_BIN", bindgen.join("wasm-bindgen"));
            command.env(
                "WASM_OPT_BIN",
                node.package_file("binaryen", "bin/wasm-opt"),
            );
            command.env("ESBUILD_BIN", node.esbuild()?);
            node.prepare(&mut command);
            run_quiet("worker-build", &mut command)?;
            run_quiet("wasm-opt", &mut optimise(&node, &build)?)?;
            run_quiet("esbuild", &mut bundle(&node, &root)?)
        })?;
        stamp.put()
    })?;
    Ok(build)
}

/// What counts is the size as it is deployed, compressed, and the number of functions: the runtime compiles each when it
/// is first called. So what is as small as a call is inlined, and what has one caller and is small; more makes
/// copies that differ and add to the size. Copies of one generic function stand side by side when functions are
/// sorted by their names.
const OPTIMISATIONS: [&str; 8] = [
    "-Os",
    "--converge",
    "--always-inline-max-function-size=6",
    "--one-caller-inline-max-function-size=35",
    "--flexible-inline-max-function-size=0",
    "--reorder-functions-by-name",
    "--strip-debug",
    "--strip-producers",
];

/// Optimises the Wasm in place of `worker-build`, which would leave all functions' names in it.
///
/// See [`OPTIMISATIONS`].
fn optimise(node: &Node, build: &Path) -> Result<Command> {
    let wasm = build.join(paths::WORKER_FILES[1]);
    let mut command = Command::new(node.package_file("binaryen", "bin/wasm-opt"));
    command.args(OPTIMISATIONS);
    // What rustc and wasm-bindgen make use of, and nothing that workerd may not know.
    for feature in [
        "mutable-globals",
        "sign-ext",
        "nontrapping-float-to-int",
        "bulk-memory",
        "multivalue",
        "reference-types",
        "exception-handling",
    ] {
        command.arg(format!("--enable-{feature}"));
    }
    command.arg(&wasm).arg("-o").arg(&wasm);
    node.prepare(&mut command);
    Ok(command)
}

/// The entry and what `worker-build` made, as one file.
fn bundle(node: &Node, root: &Path) -> Result<Command> {
    let mut esbuild = Command::new(node.esbuild()?);
    esbuild.current_dir(root).arg(ENTRY);
    esbuild.args(["--bundle", "--minify", "--format=esm"]);
    esbuild.args(["--external:cloudflare:*", "--external:./index_bg.wasm"]);
    esbuild.arg("--outfile=edge/build/entry.js");
    Ok(esbuild)
}

/// The same command that `worker-build` runs, so that it finds it done; here
/// so that its output and its time are told apart.
fn compile(root: &Path) -> Result<()> {
    let mut command = paths::cargo();
    command.args(["build", "--lib", "--target", "wasm32-unknown-unknown"]);
    command.args(PROFILE);
    run_quiet("compile the edge", command.current_dir(root.join("edge")))
}

/// Says what a finished build was made from: which compiled Wasm, by size and time, how it was optimised, and the scripts.
struct Stamp {
    file: PathBuf,
    text: String,
    bundle: PathBuf,
}

impl Stamp {
    fn take(build: &Path) -> Result<Self> {
        let wasm = paths::target().join(WASM_FILE);
        let meta = fs::metadata(&wasm).with_context(|| format!("no {}", wasm.display()))?;
        let age = meta
            .modified()?
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let lock = fs::read(paths::workspace().join("package-lock.json"))?;
        let read = |script| fs::read_to_string(paths::workspace().join(script));
        let scripts = SCRIPTS
            .map(read)
            .into_iter()
            .collect::<Result<String, _>>()?;
        let sizes = format!("{} {}", meta.len(), lock.len());
        let how = OPTIMISATIONS.join(" ");
        let text = format!("{sizes} {} {how}\n{scripts}", age.as_nanos());
        Ok(Self {
            file: build.join(".licet-stamp"),
            text,
            bundle: build.join(paths::WORKER_FILES[0]),
        })
    }

    fn is_current(&self) -> bool {
        self.bundle.is_file() && fs::read_to_string(&self.file).is_ok_and(|text| text == self.text)
    }

    fn put(&self) -> Result<()> {
        fs::write(&self.file, &self.text).context("cannot write into edge/build")
    }
}
