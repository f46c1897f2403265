//! The tools a build needs, each found or installed, in the version this
//! clone's lock files ask for.

mod cargo;
mod node;
mod python;
mod system;

pub use self::cargo::{cargo_deny, wasm_bindgen_dir, worker_build};
pub use self::node::{Node, npm};
pub use self::python::schemathesis;
pub use self::system::{wasm_target, wrk};
