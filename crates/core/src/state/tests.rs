//! Events in, plans out.
