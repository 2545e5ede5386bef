//! Texts and values that steps are made of: templates, checked once and rendered for each run.
//!
//! A template that is one `{{ expression }}` gives the value as it is, a list for one; any other gives text.

use minijinja::value::{Serde, Value as Rendered};
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use rust_decimal::Decimal;
use serde_json::{Map, Value};

use crate::templates::{evaluated, sole_expression};

/// What a template may spend, so that none goes on for ever.
const FUEL: u64 = 100_000;
/// The longest text that a template may give, in bytes.
const LONGEST: usize = 64 * 1024;

/// A template that cannot be rendered. Says nothing of what is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the template of {key} cannot be rendered: {problem}")]
pub(super) struct Unrenderable {
    pub(super) key: String,
    pub(super) problem: String,
}

/// A value with templates in it.
#[derive(Clone, Debug)]
pub(super) enum Template {
    /// One expression, whose value is given as it is.
    Expression(String),
    /// A text with expressions in it.
    Text(String),
    /// What has none.
    Plain(Value),
    /// A list of such values.
    List(Vec<Self>),
    /// Such values by name.
    Table(Vec<(String, Self)>),
}

/// The words that templates know beside the usual ones.
pub(super) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(64);
    environment.add_filter("money", money);
    environment.add_filter("quantity", quantity);
    environment
}

impl Template {
    /// Checks a value; an error says where in it, and what is wrong.
    pub(super) fn new(environment: &Environment<'static>, value: &Value) -> Result<Self, (Vec<String>, String)> {
        let within = |key: String| {
            move |(mut path, problem): (Vec<String>, String)| {
                path.insert(0, key);
                (path, problem)
            }
        };
        Ok(match value {
            Value::String(source) => Self::of_text(environment, source).map_err(|problem| (Vec::new(), problem))?,
            Value::Array(items) => Self::List(
                items
                    .iter()
                    .enumerate()
                    .map(|(at, item)| Self::new(environment, item).map_err(within(at.to_string())))
                    .collect::<Result<_, _>>()?,
            ),
            Value::Object(members) => Self::Table(
                members
                    .iter()
                    .map(|(name, member)| {
                        let member = Self::new(environment, member).map_err(within(name.clone()))?;
                        Ok((name.clone(), member))
                    })
                    .collect::<Result<_, _>>()?,
            ),
            plain => Self::Plain(plain.clone()),
        })
    }

    fn of_text(environment: &Environment<'static>, source: &str) -> Result<Self, String> {
        if !["{{", "{%", "{#"].iter().any(|mark| source.contains(mark)) {
            return Ok(Self::Plain(source.into()));
        }
        if let Some(expression) = sole_expression(source) {
            environment
                .compile_expression_owned(expression.to_owned())
                .map_err(|error| told(&error))?;
            return Ok(Self::Expression(expression.to_owned()));
        }
        environment.template_from_str(source).map_err(|error| told(&error))?;
        Ok(Self::Text(source.to_owned()))
    }

    /// What it gives.
    pub(super) fn render(
        &self,
        environment: &Environment<'static>,
        key: &str,
        facts: &Value,
    ) -> Result<Value, Unrenderable> {
        let failed = |error: &minijinja::Error| Unrenderable {
            key: key.to_owned(),
            problem: error.kind().to_string(),
        };
        Ok(match self {
            Self::Plain(value) => value.clone(),
            Self::Expression(source) => evaluated(environment, source, facts).map_err(|error| failed(&error))?,
            Self::Text(source) => {
                let text = environment
                    .template_from_str(source)
                    .and_then(|template| template.render(Rendered::from(Serde(facts))))
                    .map_err(|error| failed(&error))?;
                if text.len() > LONGEST {
                    return Err(Unrenderable {
                        key: key.to_owned(),
                        problem: format!("it gives a text of more than {LONGEST} bytes"),
                    });
                }
                text.into()
            }
            Self::List(items) => items
                .iter()
                .map(|item| item.render(environment, key, facts))
                .collect::<Result<_, _>>()?,
            Self::Table(members) => {
                let mut object = Map::new();
                for (name, member) in members {
                    object.insert(
                        name.clone(),
                        member.render(environment, &format!("{key}.{name}"), facts)?,
                    );
                }
                Value::Object(object)
            }
        })
    }
}

/// What is wrong with a template, and where in it.
fn told(error: &minijinja::Error) -> String {
    let line = error
        .line()
        .map_or_else(String::new, |line| format!(" (its line {line})"));
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    format!("the template is not right: {detail}{line}")
}

fn decimal(value: &Rendered) -> Option<Decimal> {
    match value.as_str() {
        Some(text) => text.trim().parse().ok(),
        None => value.to_string().parse().ok(),
    }
}

/// `{{ price.gross|money }}`: an amount as it is written in Romania, `1.234,50`; in English with `money("en")`. What is not
/// known is a dash.
fn money(value: &Rendered, language: Option<&str>) -> String {
    let Some(amount) = decimal(value) else {
        return "–".to_owned();
    };
    grouped(&format!("{:.2}", rounded(amount)), language)
}

/// `{{ stock.available|quantity }}`: a quantity without needless decimals. What is not known is a dash.
fn quantity(value: &Rendered, language: Option<&str>) -> String {
    let Some(amount) = decimal(value) else {
        return "–".to_owned();
    };
    grouped(&amount.normalize().to_string(), language)
}

/// To the second decimal, halves away from zero, as invoices are.
pub(super) fn rounded(amount: Decimal) -> Decimal {
    amount.round_dp_with_strategy(2, rust_decimal::RoundingStrategy::MidpointAwayFromZero)
}

fn grouped(number: &str, language: Option<&str>) -> String {
    let (thousands, point) = if language == Some("en") { (',', '.') } else { ('.', ',') };
    let (sign, digits) = number.strip_prefix('-').map_or(("", number), |rest| ("-", rest));
    let (whole, fraction) = digits
        .split_once('.')
        .map_or((digits, None), |(whole, part)| (whole, Some(part)));
    let mut text = sign.to_owned();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            text.push(thousands);
        }
        text.push(digit);
    }
    if let Some(fraction) = fraction {
        text.push(point);
        text.push_str(fraction);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rendered(template: &Value, facts: &Value) -> Result<Value, String> {
        let environment = environment();
        let template = Template::new(&environment, template).map_err(|(_, problem)| problem)?;
        template
            .render(&environment, "text", facts)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_expression_gives_its_value_and_anything_else_text() {
        let facts = json!({"found": {"skus": ["A", "B"], "count": 2}});
        assert_eq!(rendered(&json!("{{ found.skus }}"), &facts), Ok(json!(["A", "B"])));
        assert_eq!(
            rendered(&json!("{{ found.count }} pieces"), &facts),
            Ok(json!("2 pieces"))
        );
        let nested = json!({"a": ["{{ found.count }}", 7], "b": "plain"});
        assert_eq!(rendered(&nested, &facts), Ok(json!({"a": [2, 7], "b": "plain"})));
    }

    #[test]
    fn what_visitors_write_is_never_a_template() {
        let facts = json!({"message": {"content": "{{ 7 * 7 }}{% for x in range(9) %}x{% endfor %}"}});
        let said = rendered(&json!("You wrote: {{ message.content }}"), &facts).unwrap();
        assert_eq!(
            said,
            json!("You wrote: {{ 7 * 7 }}{% for x in range(9) %}x{% endfor %}")
        );
    }

    #[test]
    fn a_template_that_goes_on_and_on_is_stopped() {
        let endless = json!("{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}");
        assert!(rendered(&endless, &json!({})).is_err());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let environment = environment();
        let value = json!({"body": {"text": "{{ broken"}});
        let (path, problem) = Template::new(&environment, &value).unwrap_err();
        assert_eq!(path, ["body", "text"]);
        assert!(problem.contains("line 1"), "{problem}");
    }

    #[test]
    fn money_and_quantities_are_written_as_people_do() {
        let facts = json!({"price": "1234.5", "many": "1000000.00", "none": null, "half": "0.125"});
        let text = "{{ price|money }} {{ price|money('en') }} {{ many|quantity }} {{ none|money }} {{ half|money }}";
        assert_eq!(
            rendered(&json!(text), &facts),
            Ok(json!("1.234,50 1,234.50 1.000.000 – 0,13"))
        );
    }
}
