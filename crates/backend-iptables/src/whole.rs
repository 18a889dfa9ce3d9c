//! All rules of a plan as one input: what a node without any of them gets.

use std::io::{self, Write};
use std::sync::Arc;

use portolan_core::plan::ServicePort;
use portolan_core::{NodePlan, ServicePortName};

use crate::names::{Chain, Table};
use crate::render::{Context, LISTS, Sink, dispatch, fixed_chains, jumps, last_rules, own_chains};
use crate::restore::{Input, Written};

/// Writes everything that `plan` takes, service ports by name, as one input for `iptables-restore
/// --noflush`.
///
/// Loaded twice, it would put the jumps from the kernel's chains there twice; all else is replaced.
///
/// # Errors
/// Those of the writer.
pub fn whole(cx: &Context<'_>, plan: &NodePlan, into: impl Write) -> io::Result<Written> {
    let mut ports: Vec<_> = plan.service_ports.iter().collect();
    ports.sort_unstable_by_key(|(name, _)| *name);
    let mut input = Input::new(into);
    for table in Table::ALL {
        input.table(table);
        declare(cx, table, &ports, &mut input.declared());
        append(cx, table, &ports, &mut input.appended());
        for (_, from, rule) in jumps(cx).filter(|(of, ..)| *of == table) {
            input.insert(Chain::BuiltIn(from), rule);
        }
        input.commit();
    }
    input.finish()
}

type Ports<'p> = [(&'p ServicePortName, &'p Arc<ServicePort>)];

/// Tells at least what has chains in `table`.
fn declare(cx: &Context<'_>, table: Table, ports: &Ports<'_>, sink: &mut impl Sink) {
    for (of, list) in LISTS {
        sink.chain(of, Chain::Fixed(list));
    }
    fixed_chains(cx, sink);
    if table == Table::Nat {
        for (name, port) in ports {
            own_chains(cx, name, port, sink);
        }
    }
}

/// Tells at least what has rules in `table`.
fn append(cx: &Context<'_>, table: Table, ports: &Ports<'_>, sink: &mut impl Sink) {
    fixed_chains(cx, sink);
    if table != Table::Mangle {
        for (name, port) in ports {
            dispatch(cx, name, port, sink);
        }
    }
    last_rules(cx, sink);
    if table == Table::Nat {
        for (name, port) in ports {
            own_chains(cx, name, port, sink);
        }
    }
}
