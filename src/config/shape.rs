//! Finds arrays where tables belong.
//!
//! serde would take an array for a table, as the table's values in the order of our fields. Nobody means that; who writes
//! `[[warehouse]]` means `[warehouse]`. Where tables belong is what the JSON Schema says.

use figment::value::{Dict, Value};
use serde_json::Value as Json;

use super::{KeyPath, example};

/// The paths of the arrays in `dict` that should be tables.
pub(super) fn arrays_for_tables(dict: &Dict) -> Vec<KeyPath> {
    let schema = example::schema();
    let mut found = Vec::new();
    walk(schema.as_value(), schema.as_value(), dict, &KeyPath::root(), &mut found);
    found
}

fn walk(root: &Json, table: &Json, dict: &Dict, at: &KeyPath, found: &mut Vec<KeyPath>) {
    for (name, value) in dict {
        let property = table.pointer("/properties").and_then(|properties| properties.get(name));
        let Some(schema) = property.or_else(|| table.get("additionalProperties")) else {
            continue;
        };
        let Some(schema) = table_schema(root, schema) else {
            continue;
        };
        let at = at.join(name);
        match value {
            Value::Array(..) => found.push(at),
            Value::Dict(_, inner) => walk(root, schema, inner, &at, found),
            _ => {}
        }
    }
}

/// The schema itself if it describes a table; a reference or an optional table is looked through.
fn table_schema<'s>(root: &'s Json, schema: &'s Json) -> Option<&'s Json> {
    if schema.get("type").and_then(Json::as_str) == Some("object") {
        return Some(schema);
    }
    if let Some(reference) = schema.get("$ref").and_then(Json::as_str) {
        return table_schema(root, root.pointer(reference.strip_prefix('#')?)?);
    }
    let variants = schema.get("anyOf").and_then(Json::as_array)?;
    variants.iter().find_map(|variant| table_schema(root, variant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_is_no_table() {
        let dict: Dict = toml_edit::de::from_str(
            "automations = [{}]\n[[warehouse]]\n[accounts]\nmain = []\n[accounts.other]\ncontacts = [\"id\"]\n\
             webhook = [\"x\"]\nmessages.fields = [\"id\"]\n[connectors.erp]\nkind = \"sql\"\nqueries = [\"x\"]\n",
        )
        .unwrap();
        let found: Vec<String> = arrays_for_tables(&dict).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "accounts.main",
                "accounts.other.contacts",
                "accounts.other.webhook",
                "warehouse"
            ]
        );
    }
}
