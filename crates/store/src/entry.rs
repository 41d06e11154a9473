//! The log entry's body for a transaction: SwarmKit's `InternalRaftRequest`, written without a copy of any object.

use std::borrow::Cow;

use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, int32, key_len};
use prost::encoding::{message, uint64};
use swarm_proto::v1::StoreActionKind;

use crate::change::{Change, Delta};
use crate::object::Object;

/// Fields of `InternalRaftRequest` and of `StoreAction`, whose targets have theirs by [`Object::TARGET`].
const ID: u32 = 1;
const ACTION: u32 = 2;
const KIND: u32 = 1;

/// The body that records these changes; `version` is the one that their transaction made.
pub(crate) fn body(ticket: u64, version: u64, changes: &[Change]) -> Vec<u8> {
    let mut body = Vec::new();
    if ticket != 0 {
        uint64::encode(ID, &ticket, &mut body);
    }
    for change in changes {
        match change {
            Change::Node(delta) => action(delta, version, &mut body),
            Change::Service(delta) => action(delta, version, &mut body),
            Change::Task(delta) => action(delta, version, &mut body),
            Change::Network(delta) => action(delta, version, &mut body),
            Change::Cluster(delta) => action(delta, version, &mut body),
            Change::Secret(delta) => action(delta, version, &mut body),
            Change::Resource(delta) => action(delta, version, &mut body),
            Change::Extension(delta) => action(delta, version, &mut body),
            Change::Config(delta) => action(delta, version, &mut body),
            Change::Volume(delta) => action(delta, version, &mut body),
        }
    }
    body
}

fn action<T: Object>(delta: &Delta<T>, version: u64, body: &mut Vec<u8>) {
    let (kind, object) = match (&delta.old, &delta.new) {
        (None, Some(new)) => (StoreActionKind::StoreActionCreate, Cow::Borrowed(&**new)),
        (Some(_), Some(new)) => (StoreActionKind::StoreActionUpdate, Cow::Borrowed(&**new)),
        (Some(old), None) => {
            // A removal tells replicas the version that it made, so that versions never repeat.
            let mut gone = T::clone(old);
            gone.meta_mut().version.get_or_insert_default().index = version;
            (StoreActionKind::StoreActionRemove, Cow::Owned(gone))
        }
        (None, None) => return,
    };
    let kind = i32::from(kind);
    let length = message::encoded_len(T::TARGET, &*object) + int32::encoded_len(KIND, &kind);
    body.reserve(length + key_len(ACTION) + encoded_len_varint(length as u64));
    encode_key(ACTION, WireType::LengthDelimited, body);
    encode_varint(length as u64, body);
    int32::encode(KIND, &kind, body);
    message::encode(T::TARGET, &*object, body);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prost::Message as _;
    use swarm_proto::v1::store_action::Target;
    use swarm_proto::v1::{
        Cluster, Config, Extension, InternalRaftRequest, Meta, Network, Node, Resource, Secret,
        Service, StoreAction, Task, Version, Volume,
    };

    use super::*;

    /// Every table's change, from one object of it, and the target that the schema has for it.
    macro_rules! each_table {
        ($($kind:ident)*) => {
            vec![$({
                let object = $kind { id: "x".into(), ..$kind::default() };
                let delta = |old: Option<$kind>, new: Option<$kind>| {
                    Change::$kind(Delta { old: old.map(Arc::new), new: new.map(Arc::new) })
                };
                let meta = Some(Meta { version: Some(Version { index: 7 }), ..Meta::default() });
                let gone = $kind { meta, ..object.clone() };
                (
                    [
                        delta(None, Some(object.clone())),
                        delta(Some(object.clone()), Some(object.clone())),
                        delta(Some(object.clone()), None),
                    ],
                    [
                        Target::$kind(object.clone().into()),
                        Target::$kind(object.into()),
                        Target::$kind(gone.into()),
                    ],
                )
            }),*]
        };
    }

    #[test]
    fn a_body_is_what_the_schema_says() {
        let tables = each_table!(
            Node Service Task Network Cluster Secret Resource Extension Config Volume
        );
        let kinds = [
            StoreActionKind::StoreActionCreate,
            StoreActionKind::StoreActionUpdate,
            StoreActionKind::StoreActionRemove,
        ];
        for (changes, targets) in tables {
            let action = |(kind, target): (StoreActionKind, Target)| StoreAction {
                action: kind.into(),
                target: Some(target),
            };
            let actions = kinds.into_iter().zip(targets).map(action).collect();
            let expect = InternalRaftRequest { id: 300, action: actions };
            assert_eq!(body(300, 7, &changes), expect.encode_to_vec(), "{changes:?}");
        }
        assert_eq!(body(0, 7, &[]), Vec::<u8>::new());
    }
}
