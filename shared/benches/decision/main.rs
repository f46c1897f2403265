//! What one verdict is made of, step by step: `cargo bench -p licet-shared`.
#![allow(clippy::unwrap_used, missing_docs)]

#[cfg(not(target_arch = "wasm32"))]
mod steps;

// divan keeps time by a clock that wasm32 has not.
fn main() {
    #[cfg(not(target_arch = "wasm32"))]
    divan::main();
}
