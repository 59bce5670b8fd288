//! (in work)
/// Placeholder until merged.
pub fn lint(_: &crate::runbook::load::Document) -> Vec<crate::problem::Problem> { Vec::new() }
