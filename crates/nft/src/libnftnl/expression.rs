//! Expressions, the parts of a rule.

use std::ptr::NonNull;

use nftnl::nftnl_sys as sys;

use super::{NAME_MAX, OUT_OF_MEMORY, Unwritable, VALUE_MAX, c_name, narrow};

/// One expression, freed when dropped unless a rule took it over.
pub(crate) struct Expression {
    raw: NonNull<sys::nftnl_expr>,
}

impl Expression {
    /// An expression of the kernel's name.
    pub(crate) fn new(name: &'static std::ffi::CStr) -> Result<Self, Unwritable> {
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

    pub(super) fn release(self) -> *mut sys::nftnl_expr {
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
