//! `do = "query"`: asks a database, by a query that its connector's configuration has. Gives its `rows`, by the names of the columns, and
//! whether any was `found`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Failure, Reading};
use crate::automation::template::Template;
use crate::automation::tools::Tools;

/// The step.
#[derive(Debug)]
pub(in crate::automation) struct Query {
    pub(super) parameters: Template,
    connector: String,
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    connector: String,
    /// Its name under `queries`.
    query: String,
    /// What its `:names` stand for.
    #[serde(default)]
    parameters: Map<String, Value>,
}

pub(super) fn read(own: &BTreeMap<String, Value>, reading: &mut Reading<'_>) -> Option<Query> {
    let keys: Keys = reading.keys(own)?;
    let connector = reading.connector("connector", &keys.connector, "has no queries", |connector| {
        !connector.queries().is_empty()
    });
    if let Some(connector) = connector {
        let known = connector.queries();
        match known.get(keys.query.as_str()) {
            None => {
                let names: Vec<&str> = known.keys().copied().collect();
                let remedy = format!("there are: {}", names.join(", "));
                reading.wrong(&["query"], "the connector has no query of this name", remedy);
            }
            Some(parameters) => {
                for missing in parameters.iter().filter(|name| !keys.parameters.contains_key(*name)) {
                    let remedy = format!("write e.g. parameters = {{ {missing} = \"{{{{ … }}}}\" }}");
                    reading.wrong(&["parameters"], format!("the query needs :{missing}"), remedy);
                }
                for name in keys.parameters.keys().filter(|name| !parameters.contains(name)) {
                    reading.wrong(
                        &["parameters", name],
                        format!("the query has no :{name}"),
                        "leave it out",
                    );
                }
            }
        }
    }
    Some(Query {
        parameters: reading.template(&["parameters"], &Value::Object(keys.parameters)),
        connector: keys.connector,
        name: keys.query,
    })
}

impl Query {
    pub(super) async fn perform(&self, input: &Value, tools: &Tools) -> Result<Value, Failure> {
        let connector = tools.connector(&self.connector)?;
        let text = |value: &Value| match value {
            Value::Null => None,
            Value::String(text) => Some(text.trim().to_owned()),
            other => Some(other.to_string()),
        };
        let given = input.as_object().into_iter().flatten();
        let parameters = given
            .filter_map(|(name, value)| Some((name.clone(), text(value)?)))
            .collect();
        let rows = connector.query(&self.name, &parameters).await?;
        Ok(json!({"found": !rows.is_empty(), "rows": rows}))
    }
}
