//! One run: a stormy time, a calm one, and what must hold at the end.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use swarm_ca::Role;
use swarm_proto::v1::Node;
use swarm_store::Tables;

use crate::checks::{difference, unconverged};
use crate::client::Client;
use crate::clock;
use crate::manager::Manager;
use crate::options::Options;
use crate::seat::{machine_of, node_id};
use crate::world::World;

/// Services have converged when they have been so for this long.
const STEADY: Duration = Duration::from_secs(10);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What a run without violations did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The run's seed.
    pub seed: u64,
    /// A digest of everything that happened: the same seed has the same.
    pub digest: u64,
    /// Events that were handled.
    pub events: u64,
    /// Entries that were committed.
    pub entries: usize,
    /// Terms that had a leader.
    pub terms: usize,
    /// Writes that clients were told to be done.
    pub acknowledged: usize,
    /// Linearizable reads that were answered.
    pub reads: usize,
    /// Tasks that were started.
    pub tasks: usize,
    /// The virtual time that passed.
    pub virtual_time: Duration,
}

/// A violation, and how to see it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The run's seed.
    pub seed: u64,
    /// How it was run.
    pub options: Options,
    /// What did not hold.
    pub violation: String,
    /// The end of the trace.
    pub trace: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, options, violation, trace } = self;
        write!(
            f,
            "{trace}seed {seed}: {violation}\nreplay: cargo run -p swarm-sim -- --seed {seed}{options}"
        )
    }
}

/// Runs one seed.
///
/// # Errors
/// The first check that did not hold.
pub fn run(seed: u64, options: Options) -> Result<Report, Box<Failure>> {
    let mut world = World::new(seed, options);
    // A room's own assertion is a violation like any other.
    let outcome = catch_unwind(AssertUnwindSafe(|| play(&mut world)));
    let outcome = outcome.unwrap_or_else(|panic| Err(format!("no room panics: {}", said(&*panic))));
    match outcome {
        Ok(()) => Ok(Report {
            seed,
            digest: world.env.trace.digest(),
            events: world.events,
            entries: world.env.checks.log.len(),
            terms: world.env.checks.leaders.terms(),
            acknowledged: world.env.checks.acknowledged.len(),
            reads: world.env.checks.reads,
            tasks: world.env.checks.running.len(),
            virtual_time: world.env.now,
        }),
        Err(violation) => {
            let trace = world.env.trace.tail();
            Err(Box::new(Failure { seed, options, violation, trace }))
        }
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it says nothing").to_owned()
}

fn play(world: &mut World) -> Result<(), String> {
    world.storm();
    let stormy = world.env.options.stormy;
    world.run(stormy)?;
    world.heal();
    let calm_until = stormy + world.env.options.calm_max;
    mend(world, calm_until)?;
    converge(world, calm_until)?;
    agree(world, calm_until)
}

fn mend(world: &mut World, until: Duration) -> Result<(), String> {
    let wishes: Vec<_> = world.clients.iter_mut().flat_map(Client::last_wishes).collect();
    for wish in wishes {
        let key = wish.key.clone();
        let revision = wish.revision;
        while !is_written(world, &key, revision) {
            if world.env.now >= until {
                return Err(format!("writes are taken again: {key:?} is not"));
            }
            world.ask(0, wish.clone());
            world.carry_out();
            world.run(world.env.now + Duration::from_secs(1))?;
        }
    }
    Ok(())
}

fn is_written(world: &mut World, key: &crate::checks::Key, revision: u64) -> bool {
    let Some(leader) = world.leader() else { return false };
    let tables = world.process(leader).map(|process| process.tables());
    tables.is_some_and(|tables| key.revision(&tables) == Some(revision))
}

fn converge(world: &mut World, until: Duration) -> Result<(), String> {
    let mut steady_since = None;
    loop {
        world.run(world.env.now + LOOK_EVERY)?;
        let lack = lack(world);
        match lack {
            None => {
                let since = *steady_since.get_or_insert(world.env.now);
                if world.env.now - since >= STEADY {
                    return Ok(());
                }
            }
            Some(lack) if world.env.now >= until => {
                return Err(format!("services converge after the faults: {lack}"));
            }
            Some(_) => steady_since = None,
        }
    }
}

fn lack(world: &mut World) -> Option<String> {
    let Some(leader) = world.leader() else { return Some("nobody leads".to_owned()) };
    let containers = world.containers();
    let tables = world.process(leader)?.tables();
    clock::set(world.env.now, world.managers.get(&leader)?.ahead_ms);
    unconverged(&tables, clock::now(), &containers)
}

/// All managers that are wanted are members, and hold the same state.
fn agree(world: &mut World, until: Duration) -> Result<(), String> {
    loop {
        let Some(difference) = disagreement(world) else { return Ok(()) };
        if world.env.now >= until {
            return Err(format!("all managers hold the same state: {difference}"));
        }
        world.run(world.env.now + LOOK_EVERY)?;
    }
}

fn disagreement(world: &mut World) -> Option<String> {
    let Some(leader) = world.leader() else { return Some("nobody leads".to_owned()) };
    let wanted: Vec<u64> = world.operator.wanted().iter().copied().collect();
    let process = world.process(leader)?;
    let (status, tables) = (process.status(), process.tables());
    let voters: Vec<u64> = status.voters.iter().copied().map(machine_of).collect();
    if voters != wanted {
        return Some(format!("the members are {:?} instead of {wanted:?}", status.voters));
    }
    let misplaced =
        world.managers.values().find_map(|machine| misplaced(machine, &wanted, &tables));
    if misplaced.is_some() {
        return misplaced;
    }
    wanted.into_iter().find_map(|id| {
        let Some(process) = world.process(id) else { return Some(format!("{id} does not run")) };
        let other = process.tables();
        difference(&tables, &other).map(|what| format!("{leader} and {id}: {what}"))
    })
}

/// Roles, certificates and managers go together.
fn misplaced(machine: &Manager, wanted: &[u64], tables: &Tables) -> Option<String> {
    let role = if wanted.contains(&machine.id) { Role::Manager } else { Role::Worker };
    let node = tables.get::<Node>(&node_id(machine.id));
    let given = node.and_then(|node| Role::from_proto(node.role));
    let is_right = given == Some(role)
        && machine.seat.certificate == Some(role)
        && machine.process.is_some() == (role == Role::Manager);
    (!is_right).then(|| {
        format!(
            "machine {} is to be a {role}: its node's role is {given:?}, its certificate {:?}",
            machine.id, machine.seat.certificate
        )
    })
}
