//! Typed nf_tables objects and expressions over libnftnl, with a readable dump and an in-memory fake.
