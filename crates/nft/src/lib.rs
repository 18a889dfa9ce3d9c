//! Typed nf_tables objects and expressions over libnftnl, with a readable dump and an in-memory fake.
//!
//! Change tables with a [`Transaction`], read them as a [`TableDump`]; both go
//! through [`Tables`], which is the kernel ([`NetlinkTables`]) or a pretence
//! with the same rules ([`FakeTables`]). Names are nft's own: tables hold
//! chains of rules, and sets and maps of elements; rules are made of
//! statements.
//!
//! ```text
//! Rule ── expressions() ──▶ Vec<Expr> ── encode ──▶ kernel ── dump ──▶ Vec<Expr>
//! ```
//!
//! Two things hold throughout. What is written is what nft itself would have
//! written, byte for byte where it matters, so `nft list ruleset` shows and
//! reloads it. And a transaction takes effect whole or not at all.

mod bytes;
mod chain;
mod describe;
mod dump;
mod element;
mod encode;
mod error;
mod expr;
mod fake;
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
pub use expr::{CtKey, Expr, FibAddress, LookupResult, MetaKey, PayloadBase, Register, Unknown};
pub use fake::{FakeChain, FakeSet, FakeTable, FakeTables};
pub use netlink_tables::NetlinkTables;
pub use selector::{CT_STATE_NEW, CT_STATUS_DNAT, Datatype, FIB_TYPE_LOCAL, Selector};
pub use set::{Set, SetData, SetTimeout};
pub use statement::{MatchOp, Rule, Statement};
pub use table::{Family, Table, TableFlags, TableId};
pub use tables::{Commit, Features, Tables};
pub use transaction::{Operation, Transaction};
pub use verdict::Verdict;
pub use watch::{Notice, Noticed, Watch};

/// The longest comment nft accepts, in bytes: `NFT_USERDATA_MAXLEN` is 256, nft keeps to 128.
pub const COMMENT_MAX: usize = 128;
