//! A log in memory, for simulations: clones share it, so that a member can be dropped and started again.

use std::sync::{Arc, Mutex, PoisonError};

use super::{LogBatch, LogError, LogStore, Recovered};

/// A log that lives as long as its last clone.
#[derive(Debug, Clone, Default)]
pub struct MemoryLog {
    content: Arc<Mutex<Recovered>>,
}

impl LogStore for MemoryLog {
    fn recover(&mut self) -> Result<Recovered, LogError> {
        Ok(self.content.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn write(&mut self, batch: LogBatch<'_>) -> Result<(), LogError> {
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = batch.hard_state {
            content.hard_state = state.clone();
        }
        if let Some(snapshot) = batch.snapshot {
            content.snapshot = snapshot.clone();
        }
        if let Some(compact) = batch.compact {
            content.entries.retain(|entry| !compact.all && entry.index > compact.to.index);
            content.compacted = compact.to;
        }
        if let Some(first) = batch.entries.first() {
            content.entries.retain(|entry| entry.index < first.index);
            content.entries.extend_from_slice(batch.entries);
        }
        Ok(())
    }
}
