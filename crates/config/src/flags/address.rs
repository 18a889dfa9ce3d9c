//! Flags that are addresses.

use portolan_core::address::parse_ip;

use super::value::Value;
use crate::bind;
use crate::error::ValueError;

/// An IP address; the empty text leaves the default in force, as in kube-proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) String);

impl Value for Address {
    fn set(&mut self, text: &str, _: bool) -> Result<(), ValueError> {
        if !text.is_empty() {
            parse_ip(text)?;
            text.clone_into(&mut self.0);
        }
        Ok(())
    }

    fn text(&self) -> String {
        self.0.clone()
    }

    fn kind(&self) -> &'static str {
        "ip"
    }
}

/// An IP address, or one with a port; the empty text leaves the default in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AddressPort(pub(crate) String);

impl Value for AddressPort {
    fn set(&mut self, text: &str, _: bool) -> Result<(), ValueError> {
        if !text.is_empty() {
            // Any port does here: which is the right one if there is none, other flags say.
            bind::parse(&bind::with_port(text, bind::HEALTHZ_PORT))
                .map_err(|_part| ValueError::BindAddress)?;
            text.clone_into(&mut self.0);
        }
        Ok(())
    }

    fn text(&self) -> String {
        self.0.clone()
    }

    fn kind(&self) -> &'static str {
        "ip[:port]"
    }
}
