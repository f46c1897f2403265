//! Revocations through the account API, by machines of the licenses' own organizations.

use std::rc::Rc;

use anyhow::Result;
use tokio::task::{JoinHandle, spawn_local};

use super::{
    License, Shared,
    asking::{Said, ask},
    post,
};
use crate::{
    connection::Connection,
    pace::{now, until},
};

/// Connections to the origin.
const CONNECTIONS: usize = 16;

/// What a revocation is for.
enum Why {
    /// Nobody asks about it, or only by chance.
    Load,
    /// This token is asked about at each instance.
    Watched(usize),
    /// This token is asked about once at each instance, as of now.
    Demanded(usize),
}

pub(super) fn start(shared: &Rc<Shared>) -> Vec<JoinHandle<Result<()>>> {
    (0..CONNECTIONS)
        .map(|_| spawn_local(revoke_in_turn(Rc::clone(shared))))
        .collect()
}

async fn revoke_in_turn(shared: Rc<Shared>) -> Result<()> {
    let mut connection = None;
    while let Some((number, due)) = shared.revocations.next(now()) {
        let under_way = until(due).await;
        let Some((why, license)) = shared.to_revoke(number) else {
            continue;
        };
        let status = revoke(&mut connection, &shared.watch.origin, &license).await;
        let answered = now();
        if status == 200 {
            let took = answered - under_way;
            shared.found.borrow_mut().revocations.push(took);
        } else {
            let mut found = shared.found.borrow_mut();
            *found.not_revoked.entry(status).or_default() += 1;
            continue;
        }
        match why {
            Why::Load => {}
            Why::Watched(token) => {
                shared.tokens[token].revoked.set(Some(answered));
                shared.found.borrow_mut().watched += 1;
                shared.watch(token, answered);
            }
            Why::Demanded(token) => demand(&shared, token).await,
        }
    }
    Ok(())
}

/// The status of the answer; 0 where there was none.
async fn revoke(connection: &mut Option<Connection>, origin: &str, license: &License) -> u16 {
    let path = format!("/api/v1/licenses/{}/revoke", license.id);
    let request = post(&path, Some(&license.api_key), "");
    let mut open = match connection.take() {
        Some(open) => open,
        None => match Connection::open(origin).await {
            Ok(open) => open,
            Err(_) => return 0,
        },
    };
    let status = open.exchange(&request).await.map(|answer| answer.status);
    if let Ok(status) = status {
        *connection = Some(open);
        return status;
    }
    0
}

/// Asks all instances at once, each of which must know of the revocation now.
async fn demand(shared: &Rc<Shared>, token: usize) {
    let asked = (0..shared.watch.edges.len()).map(|edge| {
        let shared = Rc::clone(shared);
        spawn_local(async move {
            let sent = now();
            let edge = &shared.watch.edges[edge];
            let said = ask(&mut None, edge, &shared.tokens[token].demanding).await;
            let mut found = shared.found.borrow_mut();
            match said {
                Said::Valid | Said::Degraded => found.demanded_wrong += 1,
                Said::Revoked => found.demanded.push(now() - sent),
                Said::Other(code) => *found.demanded_other.entry(code).or_default() += 1,
            }
        })
    });
    for answer in asked.collect::<Vec<_>>() {
        answer.await.ok();
    }
}

impl Shared {
    /// What the revocation with this number is of; none when there is nothing left.
    fn to_revoke(&self, number: u64) -> Option<(Why, License)> {
        let one_of = |many: u64, rest: u64| many > 0 && number % many == rest % many;
        if now() < self.settle {
            if one_of(self.watch.watched_of, 0)
                && let Some(token) = self.next_token()
            {
                return Some((Why::Watched(token), self.tokens[token].license.clone()));
            }
            if one_of(self.watch.demanded_of, 1)
                && let Some(token) = self.next_token()
            {
                return Some((Why::Demanded(token), self.tokens[token].license.clone()));
            }
        }
        let other = self.next_other.replace(self.next_other.get() + 1);
        let license = self.watch.others.get(other)?.clone();
        Some((Why::Load, license))
    }

    /// A token that nobody has touched.
    fn next_token(&self) -> Option<usize> {
        let number = self.next_token.replace(self.next_token.get() + 1);
        self.tokens.get(number)?.touched.set(true);
        Some(number)
    }
}
