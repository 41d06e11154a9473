//! A message that many others hold: a clone shares it, and writing to one that is shared makes a copy of it first.
//!
//! On the wire it is the message itself. The `.proto` files name it by a message of its own (`SharedTaskSpec`), for which
//! the build puts this type in.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use prost::DecodeError;
use prost::bytes::{Buf, BufMut};
use prost::encoding::{DecodeContext, WireType};

/// A message behind a pointer that clones share. Comparing two that share it costs nothing.
#[derive(Default)]
pub struct Shared<T>(Arc<T>);

impl<T> Shared<T> {
    /// Whether both are one and the same message.
    pub fn is_same(a: &Self, b: &Self) -> bool {
        Arc::ptr_eq(&a.0, &b.0)
    }
}

impl<T> From<T> for Shared<T> {
    fn from(message: T) -> Self {
        Self(Arc::new(message))
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        Self::is_same(self, other) || *self.0 == *other.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: prost::Message + Clone + Default> prost::Message for Shared<T> {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        self.0.encode_raw(buf);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        Arc::make_mut(&mut self.0).merge_field(tag, wire_type, buf, ctx)
    }

    fn encoded_len(&self) -> usize {
        self.0.encoded_len()
    }

    fn clear(&mut self) {
        self.0 = Arc::default();
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::v1::{Driver, Task, TaskSpec};

    fn task(log_driver: &str) -> Task {
        let log_driver = Some(Driver { name: log_driver.into(), ..Driver::default() });
        let spec = TaskSpec { log_driver, force_update: 7, ..TaskSpec::default() };
        Task { id: "t".into(), spec: Some(spec.into()), ..Task::default() }
    }

    #[test]
    fn is_the_message_itself_on_the_wire() {
        let task = task("x");
        let spec = task.spec.clone().expect("it has one");
        assert_eq!(spec.encode_to_vec(), TaskSpec::clone(&spec).encode_to_vec());
        let bytes = task.encode_to_vec();
        assert_eq!(bytes.len(), task.encoded_len());
        assert_eq!(Task::decode(bytes.as_slice()), Ok(task));
    }

    #[test]
    fn writing_leaves_those_who_shared_it_alone() {
        let first = task("x");
        let mut second = first.clone();
        let spec = second.spec.as_mut().expect("it has one");
        assert!(first.spec.as_ref().is_some_and(|first| Shared::is_same(first, spec)));
        spec.force_update = 8;
        assert_ne!(first, second);
        assert_eq!(first.spec.map(|spec| spec.force_update), Some(7));
    }
}
