//! Whether this manager may act: what the election told last, judged by the clock at each question.
//!
//! A manager that was suspended, or cut off from the store, stops to be the primary at its deadline, whether or not it
//! heard of anything: everyone who changes something asks here first, see [`Leadership::is_primary`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::{self, Moment};

/// What a manager is to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    /// It serves the request itself.
    Primary,
    /// It passes the request on to the primary at this address, where one is known.
    Replica {
        /// `host:port`
        primary: Option<String>,
    },
}

/// What an election told last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Standing {
    /// Until when this manager is the primary; none where it isn't.
    pub(crate) until: Option<Moment>,
    /// Another manager that is.
    pub(crate) primary: Option<String>,
}

/// A manager's role, for all who must know it. Cheap to copy.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leadership {
    /// None where there is one manager alone.
    standing: Option<Arc<watch::Sender<Standing>>>,
}

impl Leadership {
    /// That of a manager which takes part in an election, and has no role yet.
    pub(crate) fn candidate() -> Self {
        let (standing, _) = watch::channel(Standing::default());
        Self { standing: Some(Arc::new(standing)) }
    }

    /// Notes what the election tells.
    pub(crate) fn set(&self, told: Standing) {
        if let Some(standing) = &self.standing {
            standing.send_if_modified(|standing| {
                let is_new = *standing != told;
                *standing = told;
                is_new
            });
        }
    }

    /// The role at this moment.
    pub(crate) fn role(&self) -> Role {
        self.standing
            .as_ref()
            .map_or(Role::Primary, |standing| role(&standing.borrow(), clock::now()))
    }

    /// Whether this manager may change anything at this moment.
    pub(crate) fn is_primary(&self) -> bool {
        self.role() == Role::Primary
    }

    /// The role as soon as there is a primary, or after the time at most.
    pub(crate) async fn settled(&self, limit: Duration) -> Role {
        let Some(standing) = &self.standing else { return Role::Primary };
        let mut changes = standing.subscribe();
        let settled = changes
            .wait_for(|standing| role(standing, clock::now()) != Role::Replica { primary: None });
        // The sender lives as long as `self`.
        let _ = tokio::time::timeout(limit, settled).await;
        self.role()
    }

    /// Waits until this one is not the primary any more, as far as is known.
    pub(crate) async fn moved_from(&self, primary: &str) {
        let Some(standing) = &self.standing else { return std::future::pending().await };
        let mut changes = standing.subscribe();
        // The sender lives as long as `self`.
        let _ = changes.wait_for(|standing| standing.primary.as_deref() != Some(primary)).await;
    }
}

fn role(standing: &Standing, now: Moment) -> Role {
    match standing.until {
        Some(until) if now < until => Role::Primary,
        _ => Role::Replica { primary: standing.primary.clone() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_primary_is_none_at_its_deadline() {
        let at = Duration::from_secs;
        let leads = Standing { until: Some(at(10)), primary: None };
        assert_eq!(role(&leads, at(9)), Role::Primary);
        assert_eq!(role(&leads, at(10)), Role::Replica { primary: None });
        assert!(Leadership::default().is_primary());
        assert!(!Leadership::candidate().is_primary());
    }
}
