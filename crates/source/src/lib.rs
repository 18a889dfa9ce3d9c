//! Turns API-server watches, or a folder of manifests, into core events.
