//! One plan, as `explain (format json, verbose)` shows it.

use std::collections::BTreeSet;

use serde_json::Value;

/// What matters of a plan.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The planner's estimate for all of it.
    pub cost: f64,
    /// Indexes that it scans.
    pub indexes: BTreeSet<String>,
    /// Indexes that decide `on conflict`.
    pub arbiters: BTreeSet<String>,
    /// Tables that it reads from end to end, with their schemas.
    pub scanned: BTreeSet<(String, String)>,
    /// Tables that it deletes from, with their schemas.
    pub deletes_from: BTreeSet<String>,
}

impl Plan {
    /// Reads one.
    pub fn read(json: &str) -> Result<Plan, String> {
        let value: Value = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let top = value.get(0).and_then(|first| first.get("Plan"));
        let top =
            top.ok_or("the server showed no plan: only select, insert, update, delete and merge have one")?;
        let cost = top.get("Total Cost").and_then(Value::as_f64).ok_or("the plan has no cost")?;
        let mut plan = Plan { cost, ..Plan::default() };
        plan.walk(top);
        Ok(plan)
    }

    fn walk(&mut self, node: &Value) {
        let word = |key: &str| node.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let table = || (word("Schema"), word("Relation Name"));
        match node.get("Index Name").and_then(Value::as_str) {
            Some(name) => {
                self.indexes.insert(name.to_owned());
            }
            None if word("Node Type") == "Seq Scan" => {
                self.scanned.insert(table());
            }
            None => {}
        }
        let arbiters = node.get("Conflict Arbiter Indexes").and_then(Value::as_array);
        self.arbiters.extend(arbiters.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
        if matches!(word("Operation").as_str(), "Delete" | "Merge") {
            let (schema, name) = table();
            self.deletes_from.insert(format!("{schema}.{name}"));
            for target in node.get("Target Tables").and_then(Value::as_array).into_iter().flatten() {
                let part = |key: &str| target.get(key).and_then(Value::as_str).unwrap_or_default();
                self.deletes_from.insert(format!("{}.{}", part("Schema"), part("Relation Name")));
            }
        }
        for below in node.get("Plans").and_then(Value::as_array).into_iter().flatten() {
            self.walk(below);
        }
    }

    /// How many times as much another plan costs.
    pub fn times(&self, other: &Plan) -> f64 {
        if self.cost > 0.0 {
            other.cost / self.cost
        } else if other.cost > 0.0 {
            f64::INFINITY
        } else {
            1.0
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plan_is_read_to_its_leaves() {
        let json = json!([{ "Plan": {
            "Node Type": "ModifyTable", "Operation": "Delete", "Schema": "public", "Relation Name": "parent",
            "Total Cost": 8.5, "Conflict Arbiter Indexes": ["arbiter"], "Plans": [
                { "Node Type": "Bitmap Heap Scan", "Plans": [{ "Node Type": "Bitmap Index Scan", "Index Name": "a" }] },
                { "Node Type": "Seq Scan", "Schema": "s", "Relation Name": "t" },
            ] } }]);
        let plan = Plan::read(&json.to_string()).unwrap();
        assert_eq!(
            (plan.cost, plan.indexes.contains("a"), plan.arbiters.contains("arbiter")),
            (8.5, true, true)
        );
        assert!(plan.scanned.contains(&("s".to_owned(), "t".to_owned())));
        assert!(plan.deletes_from.contains("public.parent"));
        assert!(Plan::read("[\"Utility Statement\"]").is_err());
        let with = |cost| Plan { cost, ..Plan::default() };
        assert_eq!(with(2.0).times(&with(20.0)), 10.0);
        assert_eq!(with(0.0).times(&with(0.0)), 1.0);
        assert_eq!(with(0.0).times(&with(1.0)), f64::INFINITY);
    }
}
