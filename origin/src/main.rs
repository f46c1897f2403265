//! The `licet-origin` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    licet_origin::cli::run()
}
