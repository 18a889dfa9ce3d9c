//! What a change may cost: allocations, messages and operations, none of which depends on the speed of a machine.
