//! A member without a thread or a clock: whoever holds it takes the turns and says when a tick has passed. For
//! simulations, in which the same turns follow from the same seed.

use std::sync::mpsc::Receiver;

use super::inbox::Input;
use super::thread::Driver;
use crate::error::RaftError;

/// The turns of a member made by [`super::RaftNode::stepped`].
pub struct Stepped {
    driver: Driver,
    inputs: Receiver<Input>,
    is_running: bool,
}

impl Stepped {
    pub(super) fn new(mut driver: Driver, inputs: Receiver<Input>) -> Self {
        driver.take_snapshots_inline();
        Self { driver, inputs, is_running: true }
    }

    /// What comes before the first turn.
    ///
    /// # Errors
    /// As [`Stepped::turn`].
    pub fn begin(&mut self) -> Result<(), RaftError> {
        let result = self.driver.begin();
        self.end_with(result)
    }

    /// Takes what waits in the inbox, and a tick where one has passed; then carries out what follows. A stopped
    /// member does nothing.
    ///
    /// # Errors
    /// What made the member stop.
    pub fn turn(&mut self, ticked: bool) -> Result<(), RaftError> {
        if !self.is_running {
            return Ok(());
        }
        let result = self.work(ticked);
        self.end_with(result)
    }

    /// Whether the member has not stopped.
    pub fn is_running(&self) -> bool {
        self.is_running
    }

    fn work(&mut self, ticked: bool) -> Result<(), RaftError> {
        let inputs: Vec<Input> = self.inputs.try_iter().collect();
        self.is_running = self.driver.take_all(inputs.into_iter())?;
        if !self.is_running {
            self.driver.stop(&Ok(()));
            return Ok(());
        }
        if ticked {
            self.driver.tick();
        }
        self.driver.settle()
    }

    fn end_with(&mut self, result: Result<(), RaftError>) -> Result<(), RaftError> {
        if result.is_err() {
            self.is_running = false;
            self.driver.stop(&result);
        }
        result
    }
}
