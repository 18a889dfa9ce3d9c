//! Typed nf_tables objects and expressions over libnftnl, with a readable dump.
//!
//! Change tables with a [`Transaction`], read them as a [`TableDump`]; both go
//! through [`Tables`], which is the kernel ([`NetlinkTables`]) or, in tests, a
//! model of it in memory. Names are nft's own: tables hold
//! chains of rules, and sets and maps of elements; rules are made of
//! statements.
//!
//! ```text
//! Rule ── libnftnl ──▶ kernel ── dump ──▶ Expressions, compared as bytes with Rule::expressions()
//! ```
//!
//! Holds throughout: the bytes are those that nft itself would write, as far as it matters, so `nft list
//! ruleset` prints them and can load them again. A transaction takes effect as a whole or not at all.

mod bytes;
mod chain;
mod dump;
mod element;
mod encode;
mod error;
mod expr;
mod libnftnl;
mod netlink_tables;
mod parse;
mod print;
mod selector;
mod set;
mod statement;
mod table;
mod tables;
mod transaction;
mod userdata;
mod verdict;
mod watch;
mod wire;

pub use bytes::Bytes;
pub use chain::{BaseChain, Chain, ChainKind, Hook, PRIORITY_DSTNAT, PRIORITY_FILTER, PRIORITY_SRCNAT};
pub use dump::{DumpedChain, DumpedRule, DumpedSet, JumpRule, Owner, TableDump};
pub use element::{Element, ElementIter, ElementList, ElementValue};
pub use error::NftError;
pub use expr::{Expr, Expressions};
pub use netlink_tables::NetlinkTables;
pub use print::Listing;
pub use selector::{CT_STATE_NEW, CT_STATUS_DNAT, Datatype, FIB_TYPE_LOCAL, Selector, key_len};
pub use set::{Set, SetData, SetTimeout};
pub use statement::{MatchOp, Rule, Statement};
pub use table::{Family, Table, TableFlags, TableId};
pub use tables::{Commit, Features, Tables};
pub use transaction::{Operation, Transaction};
pub use verdict::Verdict;
pub use watch::{Notice, Noticed, Watch};

/// The longest comment nft accepts, in bytes: `NFT_USERDATA_MAXLEN` is 256, nft keeps to 128.
pub const COMMENT_MAX: usize = 128;
