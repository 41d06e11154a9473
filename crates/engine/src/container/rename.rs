//! `docker rename`.

use super::names;
use crate::engine::Engine;
use crate::error::{Error, Result};

impl Engine {
    /// Gives a container another name.
    pub async fn rename(&self, reference: &str, name: &str) -> Result<()> {
        if name.is_empty() {
            return Err(Error::invalid("Neither old nor new names may be empty"));
        }
        let container = self.container(reference)?;
        let name = names::validate(name)?.to_owned();
        let _operation = container.operation.lock().await;
        let old = container.read(|record| record.name.clone());
        if old == name {
            let message = "Renaming a container with the same name as its current name";
            return Err(Error::invalid(message));
        }
        self.with_registry(|registry| registry.reserve_name(&name, &container.id))?;
        let saved = container.update(true, |record| record.name.clone_from(&name));
        let released = if saved.is_ok() { &old } else { &name };
        self.with_registry(|registry| registry.release_name(released));
        saved?;
        container.publish(&self.inner.events, "rename", &[("oldName", format!("/{old}"))]);
        Ok(())
    }
}
