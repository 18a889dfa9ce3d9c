//! Collects a complete list before anything of it is passed on.

use std::collections::{HashMap, HashSet};

use portolan_core::event::Change;

use super::failure::Failure;
use super::reader::Reader;
use crate::convert::Converted;
use crate::decode::Identity;
use crate::resource::Resource;

/// A list in the making.
#[derive(Debug)]
pub(super) struct Gathering<T: Resource> {
    objects: Vec<T>,
    /// What happened to objects of a streamed list before it was complete.
    late: HashMap<T::Key, Option<T>>,
    /// Objects that exist and cannot be read.
    unreadable: Vec<T::Key>,
}

impl<T: Resource> Default for Gathering<T> {
    fn default() -> Self {
        Self { objects: Vec::new(), late: HashMap::new(), unreadable: Vec::new() }
    }
}

impl<T: Resource> Gathering<T> {
    /// Reads an object of the list and takes it in; `changed` when it may be in the list already.
    ///
    /// # Errors
    /// It has no name: the list would lack an object that is not known.
    pub(super) fn collect(&mut self, reader: &mut Reader, json: &[u8], changed: bool) -> Result<(), Failure> {
        match reader.read::<T>(json) {
            Ok((Converted::Proxied(object), _)) if changed => self.change(object.key().clone(), Some(object)),
            Ok((Converted::Proxied(object), _)) => self.add(object),
            Ok((Converted::NotProxied(key), _)) if changed => self.change(key, None),
            Ok((Converted::NotProxied(_), _)) => {}
            Err(malformed) => {
                let Identity { namespace, name, .. } = malformed.name;
                let name = name.ok_or_else(|| Failure::garbled("has an object without a name"))?;
                self.unreadable.extend(T::key_of(namespace.as_deref(), &name));
            }
        }
        Ok(())
    }

    /// Takes in an object of the list.
    fn add(&mut self, object: T) {
        if self.late.is_empty() {
            self.objects.push(object);
        } else {
            self.change(object.key().clone(), Some(object));
        }
    }

    /// Takes in a change of an object that may be in the list already, or its end.
    pub(super) fn change(&mut self, key: T::Key, object: Option<T>) {
        self.late.insert(key, object);
    }

    /// The changes that make the list the truth for somebody who knows the objects of
    /// `known`; `known` is brought up to date.
    ///
    /// That is one `Replaced`, unless an object that is known cannot be read now and
    /// must stay as it was: then it is what differs, object by object.
    pub(super) fn finish(self, known: &mut HashSet<T::Key>) -> Vec<Change<T>> {
        let Self { mut objects, late, unreadable } = self;
        if !late.is_empty() {
            objects.retain(|object| !late.contains_key(object.key()));
            objects.extend(late.into_values().flatten());
        }
        let mut now: HashSet<T::Key> = objects.iter().map(|object| object.key().clone()).collect();
        if now.len() < objects.len() {
            // Pages may overlap. The last of several counts.
            let last: HashMap<T::Key, T> =
                objects.into_iter().map(|object| (object.key().clone(), object)).collect();
            objects = last.into_values().collect();
        }
        // Of an object that came twice, once whole, the whole one counts.
        let kept: Vec<T::Key> =
            unreadable.into_iter().filter(|key| known.contains(key) && !now.contains(key)).collect();
        if kept.is_empty() {
            *known = now;
            return vec![Change::Replaced(objects)];
        }
        now.extend(kept);
        let gone = known.difference(&now).cloned().map(Change::Deleted);
        let changes = objects.into_iter().map(Change::Applied).chain(gone).collect();
        *known = now;
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portolan_core::event::ServiceCidr;
    use portolan_core::name::Name;

    fn cidr(name: &str) -> ServiceCidr {
        ServiceCidr { name: name.into(), cidrs: vec![] }
    }

    fn known(names: &[&str]) -> HashSet<Name> {
        names.iter().map(|name| Name::from(*name)).collect()
    }

    #[test]
    fn a_list_replaces_what_was_known() {
        let mut gathering = Gathering::default();
        gathering.add(cidr("a"));
        gathering.add(cidr("b"));
        let mut keys = known(&["x"]);
        assert_eq!(gathering.finish(&mut keys), [Change::Replaced(vec![cidr("a"), cidr("b")])]);
        assert_eq!(keys, known(&["a", "b"]));
    }

    #[test]
    fn changes_during_a_streamed_list_count() {
        let mut gathering = Gathering::default();
        for name in ["a", "b", "c"] {
            gathering.add(cidr(name));
        }
        let changed = ServiceCidr { cidrs: vec!["10.0.0.0/8".parse().unwrap()], ..cidr("a") };
        gathering.change("a".into(), Some(changed.clone()));
        gathering.change("b".into(), None);
        gathering.add(cidr("b"));
        gathering.change("c".into(), None);
        let Some(Change::Replaced(mut objects)) = gathering.finish(&mut known(&[])).pop() else { panic!() };
        objects.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(objects, [changed, cidr("b")]);
    }

    #[test]
    fn of_an_object_that_is_listed_twice_the_last_counts() {
        let changed = ServiceCidr { cidrs: vec!["10.0.0.0/8".parse().unwrap()], ..cidr("a") };
        let mut gathering = Gathering::default();
        for object in [cidr("a"), cidr("b"), changed.clone()] {
            gathering.add(object);
        }
        let Some(Change::Replaced(mut objects)) = gathering.finish(&mut known(&[])).pop() else { panic!() };
        objects.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(objects, [changed, cidr("b")]);
    }

    #[test]
    fn an_unreadable_object_that_is_known_stays() {
        let mut gathering = Gathering::default();
        gathering.add(cidr("a"));
        gathering.unreadable.push("b".into());
        gathering.unreadable.push("new".into());
        let mut keys = known(&["a", "b", "gone"]);
        let changes = gathering.finish(&mut keys);
        assert_eq!(changes, [Change::Applied(cidr("a")), Change::Deleted("gone".into())]);
        assert_eq!(keys, known(&["a", "b"]));
    }

    #[test]
    fn an_unreadable_object_that_is_not_known_is_just_absent() {
        let mut gathering = Gathering::<ServiceCidr>::default();
        gathering.unreadable.push("new".into());
        let mut keys = known(&["gone"]);
        assert_eq!(gathering.finish(&mut keys), [Change::Replaced(vec![])]);
        assert_eq!(keys, known(&[]));
    }
}
