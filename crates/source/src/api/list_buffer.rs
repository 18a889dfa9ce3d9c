//! Collects a complete list before anything of it is passed on.

use std::collections::{HashMap, HashSet};

use portolan_core::event::Change;

use super::decode::Decoded;
use crate::convert::Resource;

/// A list that is not complete yet.
#[derive(Debug)]
pub(super) struct ListBuffer<T: Resource> {
    objects: Vec<T>,
    /// Changes of objects of a streamed list before it was complete.
    changed: HashMap<T::Key, Option<T>>,
    malformed: Vec<T::Key>,
}

impl<T: Resource> Default for ListBuffer<T> {
    fn default() -> Self {
        Self { objects: Vec::new(), changed: HashMap::new(), malformed: Vec::new() }
    }
}

impl<T: Resource> ListBuffer<T> {
    /// Adds an object of the list, or one that may be in it already if it `is_changed`.
    pub(super) fn add(&mut self, object: Decoded<T>, is_changed: bool) {
        match object {
            Decoded::Present(object) if is_changed || !self.changed.is_empty() => {
                self.changed.insert(object.key().clone(), Some(object));
            }
            Decoded::Present(object) => self.objects.push(object),
            Decoded::Absent(key) if is_changed => _ = self.changed.insert(key, None),
            Decoded::Absent(_) => {}
            Decoded::Malformed(key) => self.malformed.extend(key),
        }
    }

    /// The changes that lead from the objects in `known` to the list. `known` is brought up to date.
    ///
    /// That is one `Replaced`, unless a known object is malformed now and must stay as it was: then it is the
    /// difference, object by object.
    pub(super) fn finish(self, known: &mut HashSet<T::Key>) -> Vec<Change<T>> {
        let Self { mut objects, changed, malformed } = self;
        if !changed.is_empty() {
            objects.retain(|object| !changed.contains_key(object.key()));
            objects.extend(changed.into_values().flatten());
        }
        let mut now: HashSet<T::Key> = objects.iter().map(|object| object.key().clone()).collect();
        if now.len() < objects.len() {
            // Pages may overlap. The last of several is used.
            let last: HashMap<T::Key, T> =
                objects.into_iter().map(|object| (object.key().clone(), object)).collect();
            objects = last.into_values().collect();
        }
        // Of an object that came twice, malformed once, the other one is used.
        let kept: Vec<T::Key> =
            malformed.into_iter().filter(|key| known.contains(key) && !now.contains(key)).collect();
        if kept.is_empty() {
            *known = now;
            return vec![Change::Replaced(objects)];
        }
        now.extend(kept);
        let deleted = known.difference(&now).cloned().map(Change::Deleted);
        let changes = objects.into_iter().map(Change::Applied).chain(deleted).collect();
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

    fn changed(name: &str) -> ServiceCidr {
        ServiceCidr { cidrs: vec!["10.0.0.0/8".parse().unwrap()], ..cidr(name) }
    }

    fn known(names: &[&str]) -> HashSet<Name> {
        names.iter().map(|name| Name::from(*name)).collect()
    }

    fn list(objects: impl IntoIterator<Item = ServiceCidr>) -> ListBuffer<ServiceCidr> {
        let mut list = ListBuffer::default();
        objects.into_iter().for_each(|object| list.add(Decoded::Present(object), false));
        list
    }

    fn replaced(list: ListBuffer<ServiceCidr>) -> Vec<ServiceCidr> {
        let Some(Change::Replaced(mut objects)) = list.finish(&mut known(&[])).pop() else { panic!() };
        objects.sort_by(|a, b| a.name.cmp(&b.name));
        objects
    }

    #[test]
    fn a_list_replaces_what_was_known() {
        let mut keys = known(&["x"]);
        let changes = list([cidr("a"), cidr("b")]).finish(&mut keys);
        assert_eq!(changes, [Change::Replaced(vec![cidr("a"), cidr("b")])]);
        assert_eq!(keys, known(&["a", "b"]));
    }

    #[test]
    fn changes_during_a_streamed_list_are_part_of_it() {
        let mut list = list(["a", "b", "c"].map(cidr));
        list.add(Decoded::Present(changed("a")), true);
        list.add(Decoded::Absent("b".into()), true);
        list.add(Decoded::Present(cidr("b")), false);
        list.add(Decoded::Absent("c".into()), true);
        assert_eq!(replaced(list), [changed("a"), cidr("b")]);
    }

    #[test]
    fn of_an_object_that_is_listed_twice_the_last_is_used() {
        let list = list([cidr("a"), cidr("b"), changed("a")]);
        assert_eq!(replaced(list), [changed("a"), cidr("b")]);
    }

    #[test]
    fn a_malformed_object_that_is_known_stays() {
        let mut list = list([cidr("a")]);
        list.add(Decoded::Malformed(Some("b".into())), false);
        list.add(Decoded::Malformed(Some("new".into())), false);
        let mut keys = known(&["a", "b", "gone"]);
        let changes = list.finish(&mut keys);
        assert_eq!(changes, [Change::Applied(cidr("a")), Change::Deleted("gone".into())]);
        assert_eq!(keys, known(&["a", "b"]));
    }

    #[test]
    fn a_malformed_object_that_is_not_known_is_absent() {
        let mut list = list([]);
        list.add(Decoded::Malformed(Some("new".into())), false);
        let mut keys = known(&["gone"]);
        assert_eq!(list.finish(&mut keys), [Change::Replaced(vec![])]);
        assert_eq!(keys, known(&[]));
    }
}
