//! What the proxy asks of the host besides packets: sysctls, limits, what the kernel offers.
