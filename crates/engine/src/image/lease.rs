//! Leases: layers that somebody works with and that no cleaning may take.
//!
//! A pull or a load holds each layer from before it looks for it until the image that needs it is in the index. What
//! a failed one leaves without an owner goes when its lease ends.

use super::digest::Digest;
use super::store::ImageStore;

/// Keeps layers while it lives.
pub(crate) struct Lease {
    store: ImageStore,
    held: Vec<Digest>,
}

impl Lease {
    pub(crate) fn new(store: &ImageStore) -> Self {
        Self { store: store.clone(), held: Vec::new() }
    }

    /// Holds a layer, whether it exists yet or not.
    pub(crate) fn hold(&mut self, layer: &Digest) {
        *self.store.state().leases.entry(layer.clone()).or_default() += 1;
        self.held.push(layer.clone());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.store.state();
        for layer in self.held.drain(..) {
            if let Some(count) = state.leases.get_mut(&layer) {
                *count -= 1;
                if *count == 0 {
                    state.leases.remove(&layer);
                }
            }
        }
        self.store.collect(&mut state);
    }
}
