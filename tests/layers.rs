//! Keeps the arrows of `docs/architecture.md` true.
