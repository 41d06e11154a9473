//! End-to-end tests: the stock `docker` command line against real daemons, each on a host of its own.
//!
//! Every test makes its own lab, so they run side by side. Nothing waits for a time: all wait for a state. Where a
//! test can't run, it says why; with `CI=true` that is a failure. The crates test their own rooms beside their code.

mod affinity;
mod availability;
mod backoff;
mod cluster;
mod cron;
mod disk;
mod engine;
mod health;
mod hold;
mod interlock;
mod jobs;
mod keys;
mod load;
mod logs;
mod losses;
mod managers;
mod membership;
mod metrics;
mod moving;
mod placement;
mod rebalance;
mod recovery;
mod registry;
mod restart;
mod services;
mod specification;
mod standalone;
mod standalone_burst;
mod standalone_events;
mod standalone_ha;
mod standalone_images;
mod standalone_own;
mod standalone_tls;
mod stock;
mod support;
mod tls;
mod two_then_three;
mod updates;
