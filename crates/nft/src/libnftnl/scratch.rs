//! The buffer libnftnl writes messages in.

use nftnl::nftnl_sys as sys;

use super::{SCRATCH, Unwritable};

/// Room for libnftnl to write one message in.
pub(crate) struct Scratch {
    words: Vec<u64>,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self { words: vec![0; SCRATCH / size_of::<u64>()] }
    }

    pub(super) fn header(&mut self) -> *mut sys::libc::nlmsghdr {
        self.words.as_mut_ptr().cast()
    }

    /// An empty message: a header that counts only itself.
    pub(super) fn start(&mut self) {
        let length = u32::try_from(size_of::<sys::libc::nlmsghdr>()).unwrap_or_default();
        // SAFETY: the words are aligned for a header and there are enough of them for one.
        unsafe { (*self.header()).nlmsg_len = length };
    }

    pub(super) fn payload(&mut self) -> Result<&[u8], Unwritable> {
        // SAFETY: as in `start`.
        let length = usize::try_from(unsafe { (*self.header()).nlmsg_len }).unwrap_or(usize::MAX);
        let whole = self.words.len() * size_of::<u64>();
        if length > whole {
            return Err(Unwritable("it is too long"));
        }
        // SAFETY: the words are initialised, `length` of their bytes lie within them, and bytes have
        // no alignment.
        let bytes = unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast::<u8>(), length) };
        Ok(bytes.get(size_of::<sys::libc::nlmsghdr>()..).unwrap_or_default())
    }
}
