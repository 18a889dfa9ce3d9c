//! Kernel tests in virtual machines, for what the kernel at hand lacks.
