//! Finds and removes what another proxy, or another mode, left in the kernel.
