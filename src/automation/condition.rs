//! Conditions: CEL expressions, compiled once (<https://cel.dev>).

use cel::{Context, ExecutionError, Program};
use serde_json::Value;

/// An expression that is true or false of what is known.
pub(super) struct Condition(Program);

impl std::fmt::Debug for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Condition").finish_non_exhaustive()
    }
}

impl Condition {
    /// Compiles `source`, which may read these variables; an error says what is wrong, and where.
    pub(super) fn new(source: &str, variables: &[&str]) -> Result<Self, String> {
        let program = Program::compile(source).map_err(|errors| {
            let told = errors.errors.iter().map(|error| {
                let (line, column) = error.pos;
                format!("line {line}, column {column}: {}", error.msg)
            });
            format!("the expression is not right: {}", told.collect::<Vec<_>>().join("; "))
        })?;
        let bound = bound(source);
        let unknown = program
            .references()
            .variables()
            .into_iter()
            .find(|name| !variables.contains(name) && !bound.contains(name))
            .map(str::to_owned);
        match unknown {
            Some(name) => Err(format!(
                "the expression reads `{name}`, which there is not; there are: {}",
                variables.join(", ")
            )),
            None => Ok(Self(program)),
        }
    }

    /// Whether it holds. What reads a member that is not there does not hold; an error says what else is wrong, without
    /// any value.
    pub(super) fn holds(&self, facts: &Value) -> Result<bool, String> {
        let mut context = Context::default();
        for (name, value) in facts.as_object().into_iter().flatten() {
            context
                .add_variable(name.as_str(), value)
                .map_err(|_| format!("`{name}` cannot be read by an expression"))?;
        }
        match self.0.execute(&context) {
            Ok(cel::Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(format!(
                "the expression gives a {:?}, not true or false",
                other.type_of()
            )),
            Err(ExecutionError::NoSuchKey(_)) => Ok(false),
            Err(error) => Err(kind(&error)),
        }
    }
}

/// The names that macros give to what they go through, as in `tags.exists(tag, …)`: the parsed expression does not tell them from others.
fn bound(source: &str) -> Vec<&str> {
    let macros = ["all(", "exists(", "exists_one(", "filter(", "map("];
    let behind = macros.iter().flat_map(|name| source.split(name).skip(1));
    behind
        .filter_map(|rest| rest.split_once(','))
        .map(|(name, _)| name.trim())
        .collect()
}

/// What went wrong; the error's own text quotes values, which may be personal.
fn kind(error: &ExecutionError) -> String {
    match error {
        ExecutionError::UndeclaredReference(name) => format!("the expression uses `{name}`, which there is not"),
        ExecutionError::NoSuchOverload(overload) => format!(
            "`{}` does not take ({})",
            overload.function(),
            overload.argument_types().join(", ")
        ),
        ExecutionError::FunctionError { function, .. } => format!("`{function}` failed"),
        ExecutionError::InvalidArgumentCount { expected, actual } => {
            format!("a function takes {expected} arguments, and was given {actual}")
        }
        _ => "values are compared or used that do not fit each other".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(source: &str, facts: &Value) -> Result<bool, String> {
        Condition::new(source, &["message", "contact", "conversation"])?.holds(facts)
    }

    #[test]
    fn an_expression_reads_what_is_known() {
        let facts = json!({"message": {"content": "Aveți pe stoc PH-1000?", "role": "visitor"},
            "contact": {"tags": ["lead", "vip"], "custom_fields": {"city": "Iași"}}, "conversation": null});
        for (source, expected) in [
            ("message.content.contains('stoc')", true),
            ("message.content.matches('(?i)PH-\\\\d+')", true),
            ("'vip' in contact.tags && contact.custom_fields.city == 'Iași'", true),
            ("contact.tags.exists(tag, tag.startsWith('le'))", true),
            ("message.role == 'bot'", false),
            ("conversation == null", true),
            ("contact.phone == '1'", false),
            ("has(contact.phone)", false),
            ("size(contact.tags) > 5", false),
        ] {
            assert_eq!(holds(source, &facts), Ok(expected), "{source}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_expression_is_said_before_it_is_used() {
        let problem = holds("message.content.contains(", &json!({})).unwrap_err();
        assert!(problem.contains("line 1"), "{problem}");
        let problem = holds("mesage.content == ''", &json!({})).unwrap_err();
        assert!(problem.contains("`mesage`") && problem.contains("message"), "{problem}");
    }

    #[test]
    fn no_value_is_in_what_is_said_of_a_failure() {
        let facts = json!({"message": {"content": "ana@exemplu.ro"}});
        for source in ["message.content > 5", "message.content", "message.content + 1 == 2"] {
            let problem = holds(source, &facts).unwrap_err();
            assert!(!problem.contains("ana"), "{problem}");
        }
    }
}
