//! Our tables in the kernel, as another implementation of nf_tables reads them.
//!
//! The nftables backend writes a small cluster with every kind of Service twice: to the kernel, and to the tables in
//! memory that keep its statements. `rustables`, which shares no code with Portolan, lists what the kernel holds:
//! tables, chains, sets, and rules expression by expression. `expected` says what it should find for a statement.
//!
//! It cannot read elements, nor the rules of a chain in which one uses a register of four bytes, a part of the
//! connection that it does not know, or an ICMPv6 code. The test names exactly these chains.

#[cfg(test)]
mod expected;
#[cfg(test)]
mod node;
#[cfg(test)]
mod tests;
