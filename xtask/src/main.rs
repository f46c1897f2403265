//! The command line of `cargo xtask`. What it does lives in the library.

use std::process::ExitCode;

use anyhow::{Result, bail};
use lexopt::prelude::*;
use xtask::commands::dev::DevOptions;
use xtask::{bench, commands, interrupt};

const HELP: &str = "\
Licet's development tool. Sets up what it needs by itself.

cargo xtask dev                  database, origin and edge on this machine, until Ctrl-C
    --once                       end after the first verdict; fails unless it is VALID
    --reset                      forget the database and keys of former runs
    --port N                     port of the edge (8787)
    --origin-port N              port of the origin (8600)
    --pg-port N                  port of Postgres (8632); DATABASE_URL uses a running one instead
cargo xtask test [FILTER...]     every test, or those whose names contain a FILTER
    --full                       also those that take long
cargo xtask lint                 formatting, clippy on both targets, dependencies
cargo xtask build [edge|origin]  what is deployed
cargo xtask bench edge           measure the Worker beside others
    --verdicts N                 while memory is watched (300000)
cargo xtask bench memory         measure the Worker's memory, over a million licenses
    --verdicts N                 so many (10000000, which takes an hour)
cargo xtask bench origin         measure the origin beside others, over a million licenses
    --orgs N --licenses N        over so many instead (10000, 1000000)
    --seconds N                  of each burst of load (4)
    --only TEXT                  the races whose names contain it; writes nothing down
cargo xtask bench freshness      measure from revocation to refusal, over a million licenses
    --orgs N --licenses N        over so many instead (10000, 1000000)
    --instances N                of the edge (8)
    --seconds N                  of the watch (60)
    --quick                      20 seconds, fewer numbers of instances and licenses; writes nothing down
cargo xtask postgres             a database to try things on, until Ctrl-C
    --keep                       the one of `dev`, not a throw-away one
    --port N                     on this port

Environment: LICET_STATE (directory that dev keeps things in), LICET_TOOLS (directory of
installed tools), LICET_POSTGRES_BIN (directory of initdb and postgres, or `npm`), DATABASE_URL.
";

fn main() -> ExitCode {
    let result = interrupt::install().and_then(|()| run(lexopt::Parser::from_env()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if interrupt::requested() => {
            eprintln!("interrupted");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: lexopt::Parser) -> Result<()> {
    let command = match args.next()? {
        Some(Value(command)) => command.to_string_lossy().into_owned(),
        None | Some(Long("help") | Short('h')) => "help".to_owned(),
        Some(other) => return Err(other.unexpected().into()),
    };
    match command.as_str() {
        "help" => {
            print!("{HELP}");
            Ok(())
        }
        "dev" => dev(&mut args),
        "test" => test(&mut args),
        "lint" => no_more(&mut args).and_then(|()| commands::lint::lint()),
        "build" => build(&mut args),
        "bench" => bench(&mut args),
        "postgres" => postgres(&mut args),
        other => bail!("no command `{other}`; `cargo xtask help` lists them"),
    }
}

fn dev(args: &mut lexopt::Parser) -> Result<()> {
    let mut options = DevOptions::default();
    while let Some(arg) = args.next()? {
        match arg {
            Long("once") => options.once = true,
            Long("reset") => options.reset = true,
            Long("port") => options.port = port_number(args, "--port")?,
            Long("origin-port") => options.origin_port = port_number(args, "--origin-port")?,
            Long("pg-port") => options.pg_port = port_number(args, "--pg-port")?,
            other => return Err(other.unexpected().into()),
        }
    }
    commands::dev::dev(&options)
}

fn test(args: &mut lexopt::Parser) -> Result<()> {
    let (mut filters, mut full) = (Vec::new(), false);
    while let Some(arg) = args.next()? {
        match arg {
            Long("full") => full = true,
            Value(filter) => filters.push(filter.to_string_lossy().into_owned()),
            other => return Err(other.unexpected().into()),
        }
    }
    commands::test::test(&filters, full)
}

fn build(args: &mut lexopt::Parser) -> Result<()> {
    let part = match args.next()? {
        Some(Value(part)) => Some(part.to_string_lossy().into_owned()),
        None => None,
        Some(other) => return Err(other.unexpected().into()),
    };
    no_more(args)?;
    match part.as_deref() {
        Some("edge") => commands::build::edge(),
        Some("origin") => commands::build::origin(true).map(drop),
        None => {
            commands::build::edge()?;
            commands::build::origin(true).map(drop)
        }
        Some(other) => bail!("`{other}` can't be built: edge or origin can"),
    }
}

fn bench(args: &mut lexopt::Parser) -> Result<()> {
    match args.next()? {
        Some(Value(what)) if what == "edge" => {
            bench::edge::run(verdicts(args)?.unwrap_or(bench::edge::VERDICTS))
        }
        Some(Value(what)) if what == "memory" => {
            bench::memory::run(verdicts(args)?.unwrap_or(bench::memory::VERDICTS))
        }
        Some(Value(what)) if what == "origin" => {
            let (mut size, mut only) = (bench::origin::Size::default(), None);
            while let Some(arg) = args.next()? {
                match arg {
                    Long("orgs") => size.orgs = args.value()?.parse()?,
                    Long("licenses") => size.licenses = args.value()?.parse()?,
                    Long("seconds") => size.seconds = args.value()?.parse()?,
                    Long("only") => only = Some(args.value()?.parse::<String>()?),
                    other => return Err(other.unexpected().into()),
                }
            }
            bench::origin::run(size, only.as_deref())
        }
        Some(Value(what)) if what == "freshness" => {
            let mut options = bench::freshness::Options::default();
            while let Some(arg) = args.next()? {
                match arg {
                    Long("orgs") => options.size.orgs = args.value()?.parse()?,
                    Long("licenses") => options.size.licenses = args.value()?.parse()?,
                    Long("instances") => options.instances = args.value()?.parse()?,
                    Long("seconds") => options.seconds = args.value()?.parse()?,
                    Long("quick") => options = options.quick(),
                    other => return Err(other.unexpected().into()),
                }
            }
            bench::freshness::run(options)
        }
        _ => bail!("say what to measure: cargo xtask bench edge, memory, origin, or freshness"),
    }
}

fn verdicts(args: &mut lexopt::Parser) -> Result<Option<u64>> {
    let mut verdicts = None;
    while let Some(arg) = args.next()? {
        match arg {
            Long("verdicts") => verdicts = Some(args.value()?.parse()?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(verdicts)
}

fn postgres(args: &mut lexopt::Parser) -> Result<()> {
    let (mut keep, mut port) = (false, None);
    while let Some(arg) = args.next()? {
        match arg {
            Long("keep") => keep = true,
            Long("port") => port = Some(port_number(args, "--port")?),
            other => return Err(other.unexpected().into()),
        }
    }
    commands::postgres::postgres(keep, port)
}

fn port_number(args: &mut lexopt::Parser, flag: &str) -> Result<u16> {
    let value = args.value()?.to_string_lossy().into_owned();
    match value.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => bail!("{flag} {value}: a port is a number from 1 to 65535"),
    }
}

fn no_more(args: &mut lexopt::Parser) -> Result<()> {
    match args.next()? {
        Some(arg) => Err(arg.unexpected().into()),
        None => Ok(()),
    }
}
