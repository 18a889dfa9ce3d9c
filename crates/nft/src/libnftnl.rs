//! Owning wrappers for libnftnl's objects; all of this crate's `unsafe` is here.
//!
//! libnftnl builds a table, chain, set or rule from attributes and writes it as
//! the payload of a netlink message. It writes without knowing how large the
//! message buffer is, so a [`Message`] is larger than anything the limits below
//! let through.
//!
//! Elements do not come this way: one allocation and several calls for each of
//! half a million would cost more than the kernel's own work.

#![expect(unsafe_code, reason = "libnftnl is a C library; nothing else in this crate calls it")]

use std::ffi::{CStr, CString};
use std::ptr::NonNull;

use nftnl::nftnl_sys as sys;

/// Why an object cannot be written; the caller adds which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unwritable(pub(crate) &'static str);

/// The longest name: `NFT_NAME_MAXLEN` is 256 with its zero, linux/netfilter/nf_tables.h.
const NAME_MAX: usize = 255;
/// The longest user data: `NFT_USERDATA_MAXLEN`, linux/netfilter/nf_tables.h.
const USERDATA_MAX: usize = 256;
/// The most expressions of a rule: `NFT_RULE_MAXEXPRS`, net/netfilter/nf_tables_api.c.
const EXPRESSIONS_MAX: usize = 128;
/// The longest value of any other attribute: `NFT_DATA_VALUE_MAXLEN`.
const VALUE_MAX: usize = 64;
/// The size of the longest object without expressions: a few names and numbers, and user data.
const OBJECT_MAX: usize = 4096;
/// The size of the longest expression: at most one name, two values and ten numbers.
const EXPRESSION_MAX: usize = NAME_MAX + 1 + 2 * VALUE_MAX + 200;

/// One libnftnl object, freed when dropped.
pub(crate) struct Object {
    raw: Raw,
    expressions: usize,
}

#[derive(Clone, Copy)]
enum Raw {
    Table(NonNull<sys::nftnl_table>),
    Chain(NonNull<sys::nftnl_chain>),
    Set(NonNull<sys::nftnl_set>),
    Rule(NonNull<sys::nftnl_rule>),
}

impl Object {
    pub(crate) fn table() -> Result<Self, Unwritable> {
        // SAFETY: takes nothing.
        Self::new(unsafe { sys::nftnl_table_alloc() }, Raw::Table)
    }

    pub(crate) fn chain() -> Result<Self, Unwritable> {
        // SAFETY: takes nothing.
        Self::new(unsafe { sys::nftnl_chain_alloc() }, Raw::Chain)
    }

    pub(crate) fn set() -> Result<Self, Unwritable> {
        // SAFETY: takes nothing.
        Self::new(unsafe { sys::nftnl_set_alloc() }, Raw::Set)
    }

    pub(crate) fn rule() -> Result<Self, Unwritable> {
        // SAFETY: takes nothing.
        Self::new(unsafe { sys::nftnl_rule_alloc() }, Raw::Rule)
    }

    fn new<T>(raw: *mut T, kind: fn(NonNull<T>) -> Raw) -> Result<Self, Unwritable> {
        let raw = NonNull::new(raw).ok_or(OUT_OF_MEMORY)?;
        Ok(Self { raw: kind(raw), expressions: 0 })
    }

    /// Sets a number of four bytes.
    pub(crate) fn number(&mut self, attribute: u32, number: u32) -> Result<(), Unwritable> {
        self.attribute(attribute, &number.to_ne_bytes(), size_of::<u32>())
    }

    /// Sets a number of eight bytes.
    pub(crate) fn long(&mut self, attribute: u32, number: u64) -> Result<(), Unwritable> {
        self.attribute(attribute, &number.to_ne_bytes(), size_of::<u64>())
    }

    /// Sets a name.
    pub(crate) fn name(&mut self, attribute: u32, name: &str) -> Result<(), Unwritable> {
        let name = c_name(name)?;
        self.attribute(attribute, name.as_bytes_with_nul(), NAME_MAX + 1)
    }

    /// Sets user data.
    pub(crate) fn userdata(&mut self, attribute: u32, notes: &[u8]) -> Result<(), Unwritable> {
        self.attribute(attribute, notes, USERDATA_MAX)
    }

    /// Sets the lengths of a concatenation's fields.
    pub(crate) fn fields(&mut self, attribute: u32, lengths: &[u8]) -> Result<(), Unwritable> {
        // One less than the registers there are: libnftnl counts the lengths up to a zero after them.
        self.attribute(attribute, lengths, 15)
    }

    /// Appends an expression to a rule.
    pub(crate) fn add(&mut self, expression: Expression) -> Result<(), Unwritable> {
        let Raw::Rule(rule) = self.raw else { return Err(Unwritable("only rules have expressions")) };
        self.expressions += 1;
        if self.expressions > EXPRESSIONS_MAX {
            return Err(Unwritable("it has too many expressions"));
        }
        // SAFETY: both objects are alive; the rule takes the expression over, so it is not freed here.
        unsafe { sys::nftnl_rule_add_expr(rule.as_ptr(), expression.release()) };
        Ok(())
    }

    /// Writes the object as a message.
    pub(crate) fn write(&self) -> Result<Message, Unwritable> {
        let mut message = Message::new(self.expressions);
        let header = message.header();
        // SAFETY: the message is aligned, starts with an empty header, and has room for more than
        // the limits of `name`, `userdata`, `fields`, `value` and `add` let an object be.
        unsafe {
            match self.raw {
                Raw::Table(raw) => sys::nftnl_table_nlmsg_build_payload(header, raw.as_ptr()),
                Raw::Chain(raw) => sys::nftnl_chain_nlmsg_build_payload(header, raw.as_ptr()),
                Raw::Set(raw) => sys::nftnl_set_nlmsg_build_payload(header, raw.as_ptr()),
                Raw::Rule(raw) => sys::nftnl_rule_nlmsg_build_payload(header, raw.as_ptr()),
            }
        }
        message.check()
    }

    fn attribute(&mut self, attribute: u32, data: &[u8], limit: usize) -> Result<(), Unwritable> {
        if data.len() > limit {
            return Err(Unwritable("a value is too long"));
        }
        let (attribute, length) = narrow(attribute, data)?;
        let data = data.as_ptr().cast();
        // SAFETY: `data` has `length` bytes and outlives the call; libnftnl copies it. Numbers have the size their
        // attribute wants, names end in a zero.
        let result = unsafe {
            match self.raw {
                Raw::Table(raw) => sys::nftnl_table_set_data(raw.as_ptr(), attribute, data, length),
                Raw::Chain(raw) => sys::nftnl_chain_set_data(raw.as_ptr(), attribute, data, length),
                Raw::Set(raw) => sys::nftnl_set_set_data(raw.as_ptr(), attribute, data, length),
                Raw::Rule(raw) => sys::nftnl_rule_set_data(raw.as_ptr(), attribute, data, length),
            }
        };
        if result < 0 { Err(OUT_OF_MEMORY) } else { Ok(()) }
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: this value alone owns the object, and ends here.
        unsafe {
            match self.raw {
                Raw::Table(raw) => sys::nftnl_table_free(raw.as_ptr()),
                Raw::Chain(raw) => sys::nftnl_chain_free(raw.as_ptr()),
                Raw::Set(raw) => sys::nftnl_set_free(raw.as_ptr()),
                Raw::Rule(raw) => sys::nftnl_rule_free(raw.as_ptr()),
            }
        }
    }
}

/// One expression, freed when dropped unless a rule took it over.
pub(crate) struct Expression {
    raw: NonNull<sys::nftnl_expr>,
}

impl Expression {
    /// An expression of the kernel's name.
    pub(crate) fn new(name: &'static CStr) -> Result<Self, Unwritable> {
        // SAFETY: the name ends in a zero; null is checked below.
        let raw = unsafe { sys::nftnl_expr_alloc(name.as_ptr()) };
        Ok(Self { raw: NonNull::new(raw).ok_or(OUT_OF_MEMORY)? })
    }

    /// Sets a number of four bytes.
    pub(crate) fn number(self, attribute: u32, number: u32) -> Result<Self, Unwritable> {
        self.set(attribute, &number.to_ne_bytes(), VALUE_MAX)
    }

    /// Sets a number of eight bytes.
    pub(crate) fn long(self, attribute: u32, number: u64) -> Result<Self, Unwritable> {
        self.set(attribute, &number.to_ne_bytes(), VALUE_MAX)
    }

    /// Sets a number of one byte.
    pub(crate) fn byte(self, attribute: u32, number: u8) -> Result<Self, Unwritable> {
        self.set(attribute, &[number], VALUE_MAX)
    }

    /// Sets a name.
    pub(crate) fn name(self, attribute: u32, name: &str) -> Result<Self, Unwritable> {
        let name = c_name(name)?;
        self.set(attribute, name.as_bytes_with_nul(), NAME_MAX + 1)
    }

    /// Sets a value to compare with, or a mask.
    pub(crate) fn value(self, attribute: u32, value: &[u8]) -> Result<Self, Unwritable> {
        self.set(attribute, value, VALUE_MAX)
    }

    fn set(self, attribute: u32, data: &[u8], limit: usize) -> Result<Self, Unwritable> {
        if data.len() > limit {
            return Err(Unwritable("a value is too long"));
        }
        let (attribute, length) = narrow(attribute, data)?;
        // SAFETY: `data` has `length` bytes and outlives the call; libnftnl copies it. Numbers have
        // the size their attribute wants, names end in a zero.
        let result =
            unsafe { sys::nftnl_expr_set(self.raw.as_ptr(), attribute, data.as_ptr().cast(), length) };
        if result < 0 { Err(OUT_OF_MEMORY) } else { Ok(self) }
    }

    fn release(self) -> *mut sys::nftnl_expr {
        let raw = self.raw.as_ptr();
        std::mem::forget(self);
        raw
    }
}

impl Drop for Expression {
    fn drop(&mut self) {
        // SAFETY: this value alone owns the expression, and ends here.
        unsafe { sys::nftnl_expr_free(self.raw.as_ptr()) };
    }
}

/// A message that libnftnl writes.
pub(crate) struct Message {
    words: Vec<u64>,
}

impl Message {
    /// An empty message, with room for an object with so many expressions: a header that counts only itself.
    fn new(expressions: usize) -> Self {
        let mut new = Self { words: vec![0; (OBJECT_MAX + expressions * EXPRESSION_MAX) / size_of::<u64>()] };
        let length = u32::try_from(size_of::<sys::libc::nlmsghdr>()).unwrap_or_default();
        // SAFETY: the words are aligned for a header and there are enough of them for one.
        unsafe { (*new.header()).nlmsg_len = length };
        new
    }

    fn header(&mut self) -> *mut sys::libc::nlmsghdr {
        self.words.as_mut_ptr().cast()
    }

    fn check(self) -> Result<Self, Unwritable> {
        if self.length() <= size_of_val(&self.words[..]) {
            Ok(self)
        } else {
            Err(Unwritable("it is too long"))
        }
    }

    fn length(&self) -> usize {
        let header = self.words.as_ptr().cast::<sys::libc::nlmsghdr>();
        // SAFETY: as in `new`.
        usize::try_from(unsafe { (*header).nlmsg_len }).unwrap_or(usize::MAX)
    }

    /// What follows the netlink header.
    pub(crate) fn payload(&self) -> &[u8] {
        let length = self.length().min(size_of_val(&self.words[..]));
        // SAFETY: the words are initialised, `length` of their bytes lie within them, and bytes have
        // no alignment.
        let bytes = unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast::<u8>(), length) };
        bytes.get(size_of::<sys::libc::nlmsghdr>()..).unwrap_or_default()
    }
}

const OUT_OF_MEMORY: Unwritable = Unwritable("libnftnl is out of memory");

fn c_name(name: &str) -> Result<CString, Unwritable> {
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(Unwritable("a name must have 1 to 255 bytes"));
    }
    CString::new(name).map_err(|_nul| Unwritable("a name contains a zero byte"))
}

fn narrow(attribute: u32, data: &[u8]) -> Result<(u16, u32), Unwritable> {
    let attribute = u16::try_from(attribute).ok();
    attribute.zip(u32::try_from(data.len()).ok()).ok_or(Unwritable("a value is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_would_not_take_are_refused_before_libnftnl_sees_them() {
        let mut chain = Object::chain().unwrap();
        assert!(chain.name(sys::NFTNL_CHAIN_NAME, "").is_err());
        assert!(chain.name(sys::NFTNL_CHAIN_NAME, "a\0b").is_err());
        assert!(chain.name(sys::NFTNL_CHAIN_NAME, &"x".repeat(256)).is_err());
        assert!(chain.name(sys::NFTNL_CHAIN_NAME, &"x".repeat(255)).is_ok());
    }

    #[test]
    fn the_longest_rule_fits_its_message() {
        let mut rule = Object::rule().unwrap();
        let name = "x".repeat(NAME_MAX);
        rule.name(sys::NFTNL_RULE_TABLE, &name).unwrap();
        rule.name(sys::NFTNL_RULE_CHAIN, &name).unwrap();
        rule.userdata(sys::NFTNL_RULE_USERDATA, &[1; USERDATA_MAX]).unwrap();
        let lookup = || {
            Expression::new(c"dynset")
                .and_then(|e| e.name(sys::NFTNL_EXPR_DYNSET_SET_NAME, &name))
                .and_then(|e| e.number(sys::NFTNL_EXPR_DYNSET_SREG_KEY, 1))
                .and_then(|e| e.number(sys::NFTNL_EXPR_DYNSET_SREG_DATA, 2))
                .unwrap()
        };
        (0..EXPRESSIONS_MAX).for_each(|_| rule.add(lookup()).unwrap());
        assert!(rule.add(lookup()).is_err());
        let length = rule.write().unwrap().payload().len();
        let capacity = OBJECT_MAX + EXPRESSIONS_MAX * EXPRESSION_MAX;
        assert!(length > EXPRESSIONS_MAX * NAME_MAX && length < capacity, "{length} of {capacity}");
    }
}
