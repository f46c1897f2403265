//! The command line of `cargo xtask`. What it does lives in the library.

use std::process::ExitCode;

use anyhow::{Result, bail};
use lexopt::prelude::*;
use xtask::{commands, interrupt};

const HELP: &str = "\
Licet's development tool.

cargo xtask build [edge|origin]  build what is deployed
cargo xtask postgres             a database to try things on, until Ctrl-C
    --keep                       the one that `dev` uses, not a throw-away one
    --port N                     on this port
";

fn main() -> ExitCode {
    let result = interrupt::install().and_then(|()| run(lexopt::Parser::from_env()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if interrupt::requested() => ExitCode::from(130),
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: lexopt::Parser) -> Result<()> {
    let Some(Value(command)) = args.next()? else {
        print!("{HELP}");
        return Ok(());
    };
    match command.to_string_lossy().as_ref() {
        "build" => build(&mut args),
        "postgres" => postgres(&mut args),
        other => bail!("no command `{other}`; `cargo xtask` lists them"),
    }
}

fn build(args: &mut lexopt::Parser) -> Result<()> {
    let part = args.next()?;
    match part {
        None => {
            commands::build::edge()?;
            commands::build::origin(true).map(drop)
        }
        Some(Value(part)) if part == "edge" => commands::build::edge(),
        Some(Value(part)) if part == "origin" => commands::build::origin(true).map(drop),
        Some(other) => Err(other.unexpected().into()),
    }
}

fn postgres(args: &mut lexopt::Parser) -> Result<()> {
    let (mut keep, mut port) = (false, None);
    while let Some(arg) = args.next()? {
        match arg {
            Long("keep") => keep = true,
            Long("port") => port = Some(args.value()?.parse()?),
            other => return Err(other.unexpected().into()),
        }
    }
    commands::postgres::postgres(keep, port)
}
