//! Loads keys, looks them up, and puts elements into dynamic sets.
//!
//! Sets in memory are never touched: what packets put into them is kept beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::fake::FakeSet;
use portolan_nft::{Bytes, Element, ElementValue, Selector, SetTimeout};

use super::chain::{Control, Walk};
use super::flow::{Flow, Loaded};
use super::path::Found;
use super::statement::{Branch, Place, share};
use super::{Learned, Novelty, Probability, TraceError};

/// The most values that one key may be drawn from; that many are looked up one by one.
const DRAWS_MAX: usize = 1 << 16;

/// The most elements of a dynamic set that names no size: what nft gives it, see [`portolan_nft::Set::size`].
const DYNAMIC_SIZE: usize = 65_535;

impl<'t> Walk<'t> {
    /// All keys that may be loaded, each as likely as any other; none if something cannot be loaded.
    pub(super) fn keys(
        &self,
        place: Place<'t>,
        selectors: &[Selector],
        flow: &Flow,
    ) -> Result<Vec<Bytes>, TraceError> {
        let mut keys = vec![Bytes::new()];
        for selector in selectors {
            let parts: Vec<Bytes> = match flow.load(*selector, self.packet, self.host)? {
                Loaded::Nothing => return Ok(Vec::new()),
                Loaded::Value(value) => vec![value],
                Loaded::Draw { modulus } => {
                    let many = usize::try_from(modulus).unwrap_or(usize::MAX).saturating_mul(keys.len());
                    if many > DRAWS_MAX {
                        return Err(place.malformed("it draws from too many numbers to try them all"));
                    }
                    (0..modulus).map(Bytes::u32_host).collect()
                }
            };
            keys = combine(&keys, &parts, selectors.len())
                .ok_or_else(|| place.malformed("a key is too long"))?;
        }
        Ok(keys)
    }

    /// What a packet's key meets in a set or map: elements, or nothing, with the share of each.
    pub(super) fn meet(
        &self,
        place: Place<'t>,
        key: &[Selector],
        set: &Arc<str>,
        flow: &Flow,
    ) -> Result<Vec<(Probability, Option<Found<'t>>)>, TraceError> {
        let set = place.set(set)?;
        let keys = self.keys(place, key, flow)?;
        let mut met: BTreeMap<Option<Bytes>, (usize, Option<Found<'t>>)> = BTreeMap::new();
        for key in &keys {
            let found = self.find(place, set, flow, key);
            // No two elements of a set start at the same key.
            met.entry(found.as_ref().map(|found| found.element.key)).or_insert((0, found)).0 += 1;
        }
        Ok(met.into_values().map(|(cases, found)| (share(cases, keys.len()), found)).collect())
    }

    /// Adds an element, or gives one that is there new time. A full set ends the rule.
    pub(super) fn update(
        &self,
        place: Place<'t>,
        (name, key, data): (&Arc<str>, &[Selector], Option<&[Selector]>),
        timeout: Option<Duration>,
        flow: &Flow,
    ) -> Result<Vec<Branch<'t>>, TraceError> {
        let set = place.set(name)?;
        let keys = self.keys(place, key, flow)?;
        let values = match data {
            Some(data) => self.keys(place, data, flow)?.into_iter().map(ElementValue::Data).collect(),
            None => vec![ElementValue::None],
        };
        if keys.is_empty() || values.is_empty() {
            return Ok(vec![Branch::only(flow.clone(), Control::Break)]);
        }
        if keys.len().saturating_mul(values.len()) > DRAWS_MAX {
            return Err(place.malformed("it draws from too many numbers to try them all"));
        }
        let lifetime = timeout.or(match set.set().timeout {
            SetTimeout::Default(whole) => Some(whole),
            SetTimeout::PerElement | SetTimeout::None => None,
        });
        let all = keys.len() * values.len();
        let pairs = keys.iter().flat_map(|key| values.iter().map(move |value| (key, value)));
        let branches = pairs.map(|(key, value)| {
            let mut flow = flow.clone();
            let learned =
                self.learn(place, set, &flow, Element { value: value.clone(), ..Element::key(*key) });
            let control = if learned.is_some() { Control::Go } else { Control::Break };
            flow.learned.extend(learned.map(|learned| Learned { lifetime, ..learned }));
            Branch { share: share(1, all), ..Branch::only(flow, control) }
        });
        Ok(branches.collect())
    }

    /// What becomes of an element that is put into a set; nothing if there is no room.
    ///
    /// The kernel leaves the data of an element alone that is there already.
    fn learn(&self, place: Place<'t>, set: &'t FakeSet, flow: &Flow, wanted: Element) -> Option<Learned> {
        let present = self.find(place, set, flow, &wanted.key);
        let (element, novelty) = match present {
            Some(found) => (found.element, Novelty::Refreshed),
            None if self.is_full(place, set, flow) => return None,
            None => (wanted, Novelty::Added),
        };
        let element = Element { expires: None, comment: None, ..element };
        let text = element.display(set.set(), place.site.id.family).to_string();
        let data = match element.value {
            ElementValue::Data(data) => Some(data),
            ElementValue::None | ElementValue::Verdict(_) => None,
        };
        let (table, name) = (place.site.id.clone(), Arc::clone(&set.set().name));
        Some(Learned { table, set: name, key: element.key, data, lifetime: None, novelty, text })
    }

    fn is_full(&self, place: Place<'t>, set: &FakeSet, flow: &Flow) -> bool {
        let beside = self.beside(place, set, flow).map(|learned| &learned.key);
        let added: BTreeSet<&Bytes> = beside.filter(|key| set.lookup(key).is_none()).collect();
        let size = set.set().size.map_or(DYNAMIC_SIZE, |size| usize::try_from(size).unwrap_or(usize::MAX));
        set.len() + added.len() >= size
    }

    /// The element of `set` that `key` lies in, if packets put it there or not.
    fn find(&self, place: Place<'t>, set: &'t FakeSet, flow: &Flow, key: &Bytes) -> Option<Found<'t>> {
        let learned = self.beside(place, set, flow).find(|learned| learned.key == *key);
        let element = learned.map(Learned::element).or_else(|| set.lookup(key).cloned())?;
        Some(Found { set, element })
    }

    /// What packets put into `set`, this one included.
    fn beside<'a>(
        &'a self,
        place: Place<'t>,
        set: &'a FakeSet,
        flow: &'a Flow,
    ) -> impl Iterator<Item = &'a Learned> {
        let ours = move |learned: &&Learned| learned.table == *place.site.id && learned.set == set.set().name;
        self.known.iter().chain(&flow.learned).filter(ours)
    }
}

/// Each of `keys` with each of `parts` after it, as registers hold them: a part that is `alone` at
/// its own length, of several each filled up to four bytes.
fn combine(keys: &[Bytes], parts: &[Bytes], selectors: usize) -> Option<Vec<Bytes>> {
    let mut combined = Vec::with_capacity(keys.len() * parts.len());
    for key in keys {
        for part in parts {
            let mut whole = *part;
            if selectors > 1 {
                whole = *key;
                whole.push(part);
                if whole.len() != key.len() + part.len().next_multiple_of(4) {
                    return None;
                }
            }
            combined.push(whole);
        }
    }
    Some(combined)
}

impl Learned {
    fn element(&self) -> Element {
        let value = self.data.map_or(ElementValue::None, ElementValue::Data);
        Element { value, ..Element::key(self.key) }
    }
}
