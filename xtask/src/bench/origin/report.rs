//! Figures for people: on the terminal and in `docs/BENCHMARKS.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;

use super::data::Data;
use super::reads::{REQUESTS, Read};
use super::rls::Cost;
use super::service::Memory;
use super::writes::{Race, Sample};
use super::{CONNECTIONS, Findings, ROUNDS};
use crate::bench::report::{Spread, machine, write_section};

/// Prints the tables and puts them in the place of the former ones.
pub(super) fn write(data: &Data, findings: &Findings) -> Result<()> {
    let text = format!(
        "{}\n\n{}\n{}\n{}\n{}",
        conditions(data)?,
        races(&findings.races),
        costs(&findings.rls),
        reads(&findings.reads),
        memory(&findings.memory),
    );
    write_section("origin", &text)
}

fn conditions(data: &Data) -> Result<String> {
    Ok(format!(
        "{}: {} organizations with {} licenses and as many activations, the biggest with a tenth of \
         them, in Postgres {} with `fsync` and `synchronous_commit` on. Origin, Postgres and whatever \
         sends the load share the cores; all have {CONNECTIONS} connections to the database, the HTTP \
         clients as many to the service. The peers in turn, {ROUNDS} rounds each after one to warm up; \
         medians, with the lowest and highest in brackets. `seed` said when it loaded: `{}`.",
        machine()?,
        data.size.orgs,
        data.size.licenses,
        data.cluster.major(),
        data.loaded.trim(),
    ))
}

fn races(races: &[Race]) -> String {
    let mut text = String::from(
        "| what | by | per second | origin to it | goal | p50 ms | p99 ms | CPU µs of the service | of the load |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for race in races {
        let origin = race.racers.first().map_or(&[][..], |it| &it.samples);
        for racer in &race.racers {
            let samples = &racer.samples;
            let ratio = Spread::of(origin.iter().zip(samples).map(|(a, b)| a.rate / b.rate));
            let median = |part: fn(&Sample) -> f64| {
                let median = Spread::of(samples.iter().map(part)).median;
                if median.is_nan() {
                    "–".to_owned()
                } else {
                    format!("{median:.2}")
                }
            };
            writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                race.what,
                racer.name,
                Spread::of(samples.iter().map(|sample| sample.rate)).show(0),
                ratio.show(2),
                racer.goal.unwrap_or("–"),
                median(|sample| sample.p50_ms),
                median(|sample| sample.p99_ms),
                median(|sample| sample.cpu_us),
                median(|sample| sample.load_cpu_us),
            )
            .ok();
        }
    }
    text
}

fn costs(costs: &[Cost]) -> String {
    let mut text = String::from(
        "| statements | with RLS, per second | by a BYPASSRLS role | RLS takes so many times as long | goal |\n\
         |---|---|---|---|---|\n",
    );
    for cost in costs {
        let ratio = cost.bound.iter().zip(&cost.unbound).map(|(a, b)| b / a);
        writeln!(
            text,
            "| {} | {} | {} | {} | ≤ 1.10 |",
            cost.what,
            Spread::of(cost.bound.iter().copied()).show(0),
            Spread::of(cost.unbound.iter().copied()).show(0),
            Spread::of(ratio).show(3),
        )
        .ok();
    }
    text
}

/// A line per operation: alone, and with the filter that takes longest.
fn reads(reads: &[Read]) -> String {
    let mut text = String::from(
        "| read | licenses of the organization | alone: p50 ms | p99 ms | slowest with | p50 ms | p99 ms |\n\
         |---|---|---|---|---|---|---|\n",
    );
    let mut groups: BTreeMap<(u32, &str), Vec<&Read>> = BTreeMap::new();
    for read in reads {
        groups
            .entry((read.org, &read.operation))
            .or_default()
            .push(read);
    }
    for ((_, operation), reads) in groups {
        let alone = reads.iter().find(|read| read.filter.is_empty());
        let slowest = reads
            .iter()
            .filter(|read| !read.filter.is_empty())
            .max_by(|a, b| a.p50_ms.total_cmp(&b.p50_ms));
        let times = |read: Option<&&Read>| match read {
            Some(read) => format!("{:.2} | {:.2}", read.p50_ms, read.p99_ms),
            None => "– | –".to_owned(),
        };
        let filter = slowest.map_or("–".to_owned(), |read| {
            let name = read.filter.split('=').next().unwrap_or_default();
            if name == "cursor" {
                "`cursor`".to_owned()
            } else {
                format!("`{}`", read.filter)
            }
        });
        writeln!(
            text,
            "| `{operation}` | {} | {} | {filter} | {} |",
            reads.first().map_or(0, |read| read.licenses),
            times(alone),
            times(slowest),
        )
        .ok();
    }
    let worst = reads.iter().max_by(|a, b| a.p50_ms.total_cmp(&b.p50_ms));
    if let Some(worst) = worst {
        writeln!(
            text,
            "\n{} reads were measured, {REQUESTS} times each; the slowest median was {:.1} ms (goal: < 50).",
            reads.len(),
            worst.p50_ms
        )
        .ok();
    }
    text
}

fn memory(memory: &Memory) -> String {
    #[allow(clippy::cast_precision_loss, reason = "for people to read")]
    let mib = |kib: u64| kib as f64 / 1024.0;
    format!(
        "Resident memory of the origin: {:.0} MiB when it has just started, {:.0} MiB at most while 256 \
         connections activate, renew tokens and fetch status lists of 200 organizations.\n",
        mib(memory.idle),
        mib(memory.most)
    )
}
