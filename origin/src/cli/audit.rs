//! `audit verify`: whether an organization's audit trail is whole.

use clap::{Args, Subcommand};
use licet_shared::id::EventId;
use serde::Serialize;

use super::{CliError, DatabaseArgs, operator::Operator, print_json};
use crate::db::{
    Tenant,
    audit::{self, Personal, Stored, anchor, link},
};

const PAGE: i64 = 1000;

/// Options of `audit`.
#[derive(Debug, Args)]
pub(super) struct Audit {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Recompute every hash of an organization's chain
    Verify(Verify),
}

#[derive(Debug, Args)]
struct Verify {
    /// The organization's slug
    #[arg(long, value_name = "SLUG")]
    org: String,
    /// A `seq:hash` that an earlier run printed as `head`: the chain must still contain it, so
    /// that a trail whose end was cut off shows as well
    #[arg(long, value_name = "SEQ:HASH")]
    anchor: Option<String>,
}

/// What a check found.
#[derive(Debug, Default, Serialize)]
struct Report {
    org: String,
    whole: bool,
    events: i64,
    /// Events whose personal part was erased, as it may be.
    erased: u64,
    /// End of the chain, to be kept elsewhere as an anchor.
    head: Option<String>,
    broken: Option<Break>,
}

/// Where a chain is broken first.
#[derive(Debug, Serialize)]
struct Break {
    seq: i64,
    event: Option<EventId>,
    why: &'static str,
}

impl Audit {
    pub(super) async fn run(&self) -> Result<(), CliError> {
        let Command::Verify(verify) = &self.command;
        let operator = Operator::connect(&self.database).await?;
        let tenant = operator.for_org(&verify.org).await?;
        let report = verify.check(&tenant).await?;
        print_json(&report)?;
        match &report.broken {
            None => Ok(()),
            Some(broken) => Err(CliError::Failed(format!(
                "the audit trail of {:?} is broken at event {}: {}",
                verify.org, broken.seq, broken.why
            ))),
        }
    }
}

/// A walk along the chain.
struct Walk<'a> {
    seq: i64,
    hash: [u8; 32],
    anchor: Option<&'a str>,
    erased: u64,
}

impl Verify {
    async fn check(&self, tenant: &Tenant) -> Result<Report, CliError> {
        // First, so that events that come meanwhile lie beyond it.
        let head = tenant
            .run_pipelined("audit_head", |tx| Box::pin(audit::head(tx)))
            .await?;
        let mut walk = Walk {
            seq: 0,
            hash: [0; 32],
            anchor: self.anchor.as_deref(),
            erased: 0,
        };
        let end = head.as_ref().map_or(0, |(seq, _)| *seq);
        let mut broken = None;
        while broken.is_none() && walk.seq < end {
            let after = walk.seq;
            let page = tenant
                .run_pipelined("audit_page", |tx| Box::pin(audit::page(tx, after, PAGE)))
                .await?;
            if page.is_empty() {
                broken = Some(Break {
                    seq: after + 1,
                    event: None,
                    why: "it is missing",
                });
            }
            broken = broken.or_else(|| {
                page.iter()
                    .take_while(|it| it.seq <= end)
                    .find_map(|it| walk.step(it))
            });
        }
        let at_end = head.as_ref().is_none_or(|(_, hash)| *hash == walk.hash);
        let wrong = |why| {
            Some(Break {
                seq: walk.seq,
                event: None,
                why,
            })
        };
        if broken.is_none() && !at_end {
            broken = wrong("the recorded end of the chain is another");
        }
        if broken.is_none() && walk.anchor.is_some() {
            broken = wrong("the anchor is not in the chain");
        }
        Ok(Report {
            org: self.org.clone(),
            whole: broken.is_none(),
            events: walk.seq,
            erased: walk.erased,
            head: broken.is_none().then(|| anchor(walk.seq, &walk.hash)),
            broken,
        })
    }
}

impl Walk<'_> {
    fn step(&mut self, event: &Stored) -> Option<Break> {
        let broken = |why| {
            Some(Break {
                seq: event.seq,
                event: Some(event.id),
                why,
            })
        };
        if event.seq != self.seq + 1 {
            return Some(Break {
                seq: self.seq + 1,
                event: None,
                why: "it is missing",
            });
        }
        if event.prev_hash != self.hash {
            return broken("it does not follow the one before");
        }
        let hash = link(&self.hash, event.seq, &event.digest);
        if event.hash != hash {
            return broken("it was altered");
        }
        match event.personal {
            Personal::Altered => return broken("what it says of a person was altered"),
            Personal::Erased => self.erased += 1,
            Personal::Never | Personal::Kept => {}
        }
        (self.seq, self.hash) = (event.seq, hash);
        if self
            .anchor
            .is_some_and(|wanted| wanted == anchor(event.seq, &hash))
        {
            self.anchor = None;
        }
        None
    }
}
