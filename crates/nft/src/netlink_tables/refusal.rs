//! Puts the kernel's refusal of a batch into words.

use std::io;

use portolan_netlink::Refusal;

use crate::encode::{Encoded, Origin, wire_count};
use crate::{Element, NftError, Operation, Transaction, describe, parse};

/// The error for a batch of which the kernel refused at least one message.
///
/// The first refusal counts: later ones are often its consequences, such as
/// rules for a chain that could not be made.
pub(super) fn explain(transaction: &Transaction, encoded: &Encoded, refusals: Vec<Refusal>) -> NftError {
    let further = refusals.len().saturating_sub(1);
    let named = refusals.iter().position(|refusal| encoded.origin(refusal.sequence).is_some());
    let Some(refusal) = refusals.into_iter().nth(named.unwrap_or(0)) else {
        return NftError::Malformed { what: "refusal" };
    };
    let source = io::Error::from_raw_os_error(refusal.errno);
    let step = encoded.origin(refusal.sequence).and_then(|origin| {
        transaction.operations().get(origin.operation).map(|operation| (origin, operation))
    });
    match step {
        Some((origin, operation)) => NftError::Refused {
            verb: describe::verb(operation),
            object: object(transaction, encoded, &refusal, origin, operation),
            errno: refusal.errno,
            message: refusal.message,
            further,
            source,
        },
        None => NftError::Batch {
            table: transaction.table().to_string(),
            errno: refusal.errno,
            message: refusal.message,
            source,
        },
    }
}

fn object(
    transaction: &Transaction,
    encoded: &Encoded,
    refusal: &Refusal,
    origin: Origin,
    operation: &Operation,
) -> String {
    let table = transaction.table();
    if let Some((set, list)) = operation.elements() {
        let elements = list.iter().skip(origin.elements_before);
        if let Some(element) = refused_element(encoded, refusal, set, elements) {
            return describe::element(&element, set, table);
        }
    }
    describe::object(operation, table)
}

/// The element at the place in the message that the kernel points at.
fn refused_element(
    encoded: &Encoded,
    refusal: &Refusal,
    set: &crate::Set,
    elements: impl Iterator<Item = Element>,
) -> Option<Element> {
    let message = encoded.batch.message(refusal.sequence)?;
    let mut place = parse::position(message, refusal.offset?)?;
    for element in elements {
        match place.checked_sub(wire_count(&element, set)) {
            Some(left) => place = left,
            None => return Some(element),
        }
    }
    None
}
