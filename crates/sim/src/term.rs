//! What a manager does while it leads: the control loops, as the manager's driver runs them, the dispatcher, and nodes'
//! roles.

use std::time::Duration;

use futures::FutureExt as _;
use swarm_store::{Commit, ControlLoop, Error, LoopDriver, Rest, Store};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::authority::Authority;
use crate::dispatcher::Dispatcher;
use crate::env::{Call, Env};
use crate::group::Peers;
use crate::net::ConnId;
use crate::options::Bug;
use crate::planted::{blind, forgetful};

/// One term of leading.
pub(crate) struct Term {
    number: u64,
    loops: Vec<Box<dyn ControlLoop>>,
    driver: LoopDriver,
    rest: Resting,
    written: Option<oneshot::Receiver<Result<(), Error>>>,
    dispatcher: Dispatcher,
    authority: Authority,
    /// The loops found that leadership is lost.
    is_over: bool,
}

/// How long the loops rest.
#[derive(Debug, Clone, Copy)]
struct Resting {
    until: Option<Duration>,
    /// Whatever happens.
    is_deaf: bool,
}

impl Term {
    pub(crate) fn begin(env: &mut Env, manager: u64, number: u64, store: &Store) -> Self {
        store.attach_feed();
        let seeds = std::cell::RefCell::new(&mut env.random);
        let mut loops = swarm_orchestrator::control_loops(|| seeds.borrow_mut().ids());
        if env.options.bug == Some(Bug::ForgetTick) {
            loops = forgetful(loops);
        }
        loops.extend(swarm_allocator::control_loops());
        let schedulers = swarm_scheduler::control_loops();
        let is_blind = env.options.bug == Some(Bug::BlindToPorts);
        loops.extend(if is_blind { blind(schedulers) } else { schedulers });
        Self {
            number,
            loops,
            driver: LoopDriver::default(),
            rest: Resting { until: Some(env.now), is_deaf: false },
            written: None,
            dispatcher: Dispatcher::begin(env, manager, store),
            authority: Authority::default(),
            is_over: false,
        }
    }

    /// The Raft term.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn end(self, env: &mut Env) {
        self.dispatcher.end(env);
    }

    /// Whatever can be done now; whether something was proposed.
    pub(crate) fn work(&mut self, env: &mut Env, store: &Store, peers: &Peers<'_>) -> bool {
        let cycled = self.cycle(env, store);
        let in_line = self.authority.work(env, store, peers);
        self.dispatcher.work(env, store) || cycled || in_line
    }

    /// The same as `swarm_manager`'s control driver does, without waiting.
    fn cycle(&mut self, env: &mut Env, store: &Store) -> bool {
        if let Some(written) = &mut self.written {
            match written.try_recv() {
                Err(TryRecvError::Empty) => return false,
                Ok(Ok(())) => self.written = None,
                _ => self.is_over = true,
            }
        }
        let is_due = self.rest.until.is_some_and(|until| until <= env.now);
        if self.is_over || !(is_due || (!self.rest.is_deaf && store.fed().now_or_never().is_some()))
        {
            return false;
        }
        let Self { loops, driver, .. } = self;
        if let Some(start) = driver.start(store) {
            driver.catch_up(loops, start);
        }
        let cycle = store.propose(|transaction| Ok::<_, Error>(driver.cycle(loops, transaction)));
        let rest = match cycle {
            Ok((rest, written)) => {
                self.written = written;
                rest
            }
            Err(Error::NotLeader) => {
                self.is_over = true;
                Rest::UntilFed(None)
            }
            Err(error) => {
                env.note(format_args!("the control loops could not write: {error}"));
                self.driver.restart();
                Rest::Unsettled
            }
        };
        let until = rest.length().map(|length| env.now + length);
        self.rest = Resting { until, is_deaf: rest == Rest::Unsettled };
        self.written.is_some() || rest == Rest::AT_ONCE
    }

    pub(crate) fn observe(&mut self, env: &mut Env, commit: &Commit) {
        self.dispatcher.observe(env, commit);
    }

    pub(crate) fn call(
        &mut self,
        env: &mut Env,
        store: &Store,
        conn: ConnId,
        node_id: &str,
        call: Call,
    ) {
        self.dispatcher.call(env, store, conn, node_id, call);
    }

    pub(crate) fn conn_lost(&mut self, env: &mut Env, conn: ConnId) {
        self.dispatcher.conn_lost(env, conn);
    }
}
