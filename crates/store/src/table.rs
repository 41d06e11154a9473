//! One table: objects by identifier and, where names are unique, by name.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

use crate::error::Error;
use crate::object::Object;

/// Objects of one kind in a persistent map; a clone shares everything.
#[derive(Debug, Clone)]
pub struct Table<T> {
    objects: OrdMap<Arc<str>, Arc<T>>,
    /// Lower-cased, as SwarmKit compares names without regard to case.
    names: OrdMap<Arc<str>, Arc<str>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { objects: OrdMap::new(), names: OrdMap::new() }
    }
}

impl<T: Object> Table<T> {
    pub(crate) fn get(&self, id: &str) -> Option<&Arc<T>> {
        self.objects.get(id)
    }

    /// The object with its identifier as the table holds it.
    pub(crate) fn get_key_value(&self, id: &str) -> Option<(&Arc<str>, &Arc<T>)> {
        self.objects.get_key_value(id)
    }

    /// The identifier as the table holds it, for others to share; a new one where there is no such object.
    pub(crate) fn key(&self, id: &str) -> Arc<str> {
        self.get_key_value(id).map_or_else(|| id.into(), |(id, _)| id.clone())
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Arc<T>> {
        self.objects.get(self.names.get(&*name.to_lowercase())?)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.objects.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }

    pub(crate) fn by_id_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Arc<T>> {
        self.objects
            .range::<_, str>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(id, _)| id.starts_with(prefix))
            .map(|(_, object)| object)
    }

    /// Refuses a name that another object has.
    pub(crate) fn check_name(&self, object: &T) -> Result<(), Error> {
        let name = object.name();
        if name.is_empty() {
            return Ok(());
        }
        match self.names.get(&*name.to_lowercase()) {
            Some(holder) if &**holder != object.id() => {
                Err(Error::NameConflict { kind: T::KIND, name: name.to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// Puts `object` in place of the one with its identifier, which is returned; `key` is that identifier.
    pub(crate) fn put(&mut self, key: &Arc<str>, object: Arc<T>) -> Option<Arc<T>> {
        let Some(held) = self.objects.get_mut(&**key) else {
            self.enter_name(object.name(), key);
            self.objects.insert(key.clone(), object);
            return None;
        };
        let old = std::mem::replace(held, object.clone());
        if old.name() != object.name() {
            self.strike_name(old.name());
            self.enter_name(object.name(), key);
        }
        Some(old)
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<Arc<T>> {
        let old = self.objects.remove(id)?;
        self.strike_name(old.name());
        Some(old)
    }

    fn enter_name(&mut self, name: &str, key: &Arc<str>) {
        if !name.is_empty() {
            self.names.insert(name.to_lowercase().into(), key.clone());
        }
    }

    fn strike_name(&mut self, name: &str) {
        if !name.is_empty() {
            self.names.remove(&*name.to_lowercase());
        }
    }
}
