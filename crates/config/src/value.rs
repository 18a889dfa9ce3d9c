//! Values as pflag reads them.

use std::ffi::OsString;

use crate::error::ValueError;

/// UTF-8 text.
pub(crate) fn text(value: OsString) -> Result<String, ValueError> {
    value.into_string().map_err(|_bytes| ValueError::Encoding)
}

/// What Go's `strconv.ParseBool` takes.
pub(crate) fn switch(value: &str) -> Result<bool, ValueError> {
    match value {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
        _ => Err(ValueError::Bool),
    }
}

/// Verbosity is a signed 32-bit number in klog, and never negative.
const HIGHEST_VERBOSITY: u32 = i32::MAX.unsigned_abs();

/// A log verbosity.
pub(crate) fn verbosity(value: &str) -> Result<u32, ValueError> {
    number(value).filter(|level| *level <= HIGHEST_VERBOSITY).ok_or(ValueError::Verbosity)
}

/// The number of a bit in a packet mark, which has 32.
pub(crate) fn mark_bit(value: &str) -> Result<u32, ValueError> {
    number(value).filter(|bit| *bit < u32::BITS).ok_or(ValueError::MarkBit)
}

/// Digits alone, as people write numbers.
fn number(value: &str) -> Option<u32> {
    value.parse().ok().filter(|_| !value.starts_with('+'))
}

/// Items of a list flag; pflag reads them as one line of CSV.
pub(crate) fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').filter(|_| !value.is_empty())
}
