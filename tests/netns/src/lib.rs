//! Real tables and real packets, one fresh network namespace per test.
