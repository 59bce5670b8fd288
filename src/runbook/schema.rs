//! x
#[cfg(test)]
mod tests {
    #[test]
    fn show() {
        println!("{}", serde_json::to_string_pretty(&schemars::schema_for!(super::super::model::Runbook)).unwrap());
        println!("COMMON {}", serde_json::to_string_pretty(&schemars::schema_for!(super::super::model::CheckCommon)).unwrap());
    }
}
