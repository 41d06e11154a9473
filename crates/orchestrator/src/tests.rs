//! Whole lives of services: all control loops to their fixpoint, agents played by a few lines, time by a variable.

mod backoff;
mod cron;
mod failover;
mod hold;
mod jobs;
mod moving;
mod moving_properties;
mod properties;
mod room;
mod scaling;
mod updating;
mod world;
