//! Pure model and decisions: what this node's kernel should hold, and the trait of those who make it so.
