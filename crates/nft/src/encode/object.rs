//! Tables, chains and sets as libnftnl objects.

use nftnl::nftnl_sys as sys;

use crate::libnftnl::{Object, Unwritable};
use crate::wire::{self, DATA_VERDICT, POLICY_ACCEPT, set_flag};
use crate::{BaseChain, Bytes, Selector, Set, SetData, SetTimeout, Table, TableId, userdata};

/// `TYPE_BITS`, nft's datatype.h: how far one component of a concatenated type is from the next.
const TYPE_BITS: u32 = 6;

/// A table; without attributes just its name, to delete it.
pub(super) fn table(id: &TableId, table: Option<&Table>) -> Result<Object, Unwritable> {
    let mut object = Object::table()?;
    object.name(sys::NFTNL_TABLE_NAME, &id.name)?;
    let Some(table) = table else { return Ok(object) };
    object.number(sys::NFTNL_TABLE_FLAGS, table.flags.bits())?;
    if let Some(comment) = &table.comment {
        object.userdata(sys::NFTNL_TABLE_USERDATA, &comment_notes(comment)?)?;
    }
    Ok(object)
}

/// A chain; without a base just its name.
pub(super) fn chain(table: &TableId, name: &str, base: Option<&BaseChain>) -> Result<Object, Unwritable> {
    let mut object = Object::chain()?;
    object.name(sys::NFTNL_CHAIN_TABLE, &table.name)?;
    object.name(sys::NFTNL_CHAIN_NAME, name)?;
    if let Some(base) = base {
        object.number(sys::NFTNL_CHAIN_HOOKNUM, base.hook.number())?;
        object.number(sys::NFTNL_CHAIN_PRIO, base.priority.cast_unsigned())?;
        object.number(sys::NFTNL_CHAIN_POLICY, POLICY_ACCEPT)?;
        object.name(sys::NFTNL_CHAIN_TYPE, base.kind.as_str())?;
    }
    Ok(object)
}

/// Just the name of a set, to delete it.
pub(super) fn set_name(table: &TableId, name: &str) -> Result<Object, Unwritable> {
    let mut object = Object::set()?;
    object.name(sys::NFTNL_SET_TABLE, &table.name)?;
    object.name(sys::NFTNL_SET_NAME, name)?;
    Ok(object)
}

/// A set; `number` distinguishes it from others of the same batch.
pub(super) fn set(table: &TableId, set: &Set, number: u32) -> Result<Object, Unwritable> {
    check_set(table, set)?;
    let family = table.family;
    let mut object = set_name(table, &set.name)?;
    object.number(sys::NFTNL_SET_ID, number)?;
    object.number(sys::NFTNL_SET_FLAGS, set_flags(set))?;
    object.number(sys::NFTNL_SET_KEY_TYPE, concat_type(&set.key, table))?;
    object.number(sys::NFTNL_SET_KEY_LEN, length(set.key_len(family)))?;
    match &set.data {
        SetData::None => {}
        SetData::Verdict => object.number(sys::NFTNL_SET_DATA_TYPE, DATA_VERDICT)?,
        SetData::Value(data) => {
            object.number(sys::NFTNL_SET_DATA_TYPE, concat_type(data, table))?;
            object.number(sys::NFTNL_SET_DATA_LEN, length(set.data_len(family)))?;
        }
    }
    if let SetTimeout::Default(timeout) = set.timeout {
        object.long(sys::NFTNL_SET_TIMEOUT, wire::millis(timeout))?;
    }
    if let Some(size) = set.size {
        object.number(sys::NFTNL_SET_DESC_SIZE, size)?;
    }
    if set.interval && set.is_concatenated() {
        let fields: Vec<u8> = set.key.iter().map(|s| u8::try_from(s.len(family)).unwrap_or(0)).collect();
        object.fields(sys::NFTNL_SET_DESC_CONCAT, &fields)?;
    }
    object.userdata(sys::NFTNL_SET_USERDATA, &userdata::of_set(set, family))?;
    Ok(object)
}

fn check_set(table: &TableId, set: &Set) -> Result<(), Unwritable> {
    let fits = |length| (1..=Bytes::CAPACITY).contains(&length);
    if !fits(set.key_len(table.family)) {
        return Err(Unwritable("its key must have 1 to 64 bytes"));
    }
    if matches!(set.data, SetData::Value(_)) && !fits(set.data_len(table.family)) {
        return Err(Unwritable("its data must have 1 to 64 bytes"));
    }
    let data = if let SetData::Value(data) = &set.data { &data[..] } else { &[] };
    if set.key.iter().chain(data).any(|selector| *selector == Selector::CtOriginalProtoDst) {
        return Err(Unwritable("nft knows no type for `ct original proto-dst`; `th dport` has it"));
    }
    if matches!(set.timeout, SetTimeout::Default(timeout) if wire::millis(timeout) == 0) {
        return Err(TIMEOUT);
    }
    if set.comment.as_deref().is_some_and(|comment| !userdata::is_comment(comment)) {
        return Err(COMMENT);
    }
    Ok(())
}

/// The kernel's flags for a set's shape.
pub(crate) fn set_flags(set: &Set) -> u32 {
    let flag = |present: bool, flag: u32| if present { flag } else { 0 };
    flag(set.interval, set_flag::INTERVAL)
        | flag(set.interval && set.is_concatenated(), set_flag::CONCAT)
        | flag(set.data != SetData::None, set_flag::MAP)
        | flag(set.timeout != SetTimeout::None, set_flag::TIMEOUT)
        | flag(set.dynamic, set_flag::DYNAMIC)
}

/// nft's number for a concatenation of types. It holds five; more push the first ones out.
pub(crate) fn concat_type(selectors: &[Selector], table: &TableId) -> u32 {
    selectors.iter().fold(0, |all: u32, s| all.wrapping_shl(TYPE_BITS) | s.datatype(table.family) as u32)
}

pub(super) const TIMEOUT: Unwritable = Unwritable("its timeout must be at least a millisecond");
const COMMENT: Unwritable = Unwritable("its comment is too long, or has characters nft cannot print");

pub(super) fn comment_notes(comment: &str) -> Result<Vec<u8>, Unwritable> {
    if userdata::is_comment(comment) { Ok(userdata::with_comment(comment)) } else { Err(COMMENT) }
}

fn length(bytes: usize) -> u32 {
    // Checked to be at most 64.
    u32::try_from(bytes).unwrap_or_default()
}
