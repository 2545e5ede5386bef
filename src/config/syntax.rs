//! TOML syntax errors, shown without showing a secret.

use std::path::Path;

use toml_edit::TomlError;

use super::sources::{Place, position};
use super::{Issue, KeyPath};

/// What a syntax error in the file at `path` says to the user.
///
/// The parser's own rendering prints the whole line, which may hold a key. Here a line is shown up to its `=`, and only if
/// what stands before that is one of `known` keys: any other line may be the inside of a value.
pub(super) fn issue(path: &Path, text: &str, error: &TomlError, known: &[String]) -> Issue {
    let offset = error.span().map_or(text.len(), |span| span.start);
    let (line, column) = position(text, offset);
    let mut message = error.message().trim().replace('\n', ", ");
    if message.is_empty() {
        message.push_str("cannot be read");
    }
    let snippet = text
        .lines()
        .nth(line - 1)
        .and_then(|content| snippet(content, line, column, known))
        .unwrap_or_default();
    let remedy = if message.starts_with("duplicate") {
        "remove one of the two"
    } else {
        "strings need quotes, tables a header such as [accounts.main]"
    };
    Issue {
        place: Place::File {
            path: path.to_owned(),
            line,
            column,
        },
        key: KeyPath::root(),
        problem: format!("not valid TOML: {message}"),
        remedy: format!("{remedy}{snippet}"),
    }
}

fn snippet(content: &str, line: usize, column: usize, known: &[String]) -> Option<String> {
    let (key, rest) = content.split_once('=')?;
    let name = key.trim();
    if !name.split('.').all(|part| known.iter().any(|known| known == part)) {
        return None;
    }
    let shown = if rest.trim().is_empty() {
        format!("{key}=")
    } else {
        format!("{key}= …")
    };
    let caret = " ".repeat((column - 1).min(shown.chars().count() - 1));
    let margin = line.to_string();
    let blank = " ".repeat(margin.len());
    Some(format!("\n    {margin} | {shown}\n    {blank} | {caret}^"))
}

#[cfg(test)]
mod tests {
    use toml_edit::ImDocument;

    use super::*;

    fn render(text: &str) -> String {
        let error = ImDocument::parse(text).unwrap_err();
        issue(Path::new("c.toml"), text, &error, &["api_key".into(), "url".into()]).to_string()
    }

    #[test]
    fn a_syntax_error_points_at_the_line_and_hides_the_value() {
        let shown = render("[accounts.main]\napi_key = sk_live_123\n");
        assert!(shown.starts_with("c.toml:2:11: not valid TOML"), "{shown}");
        assert!(shown.contains("2 | api_key = …"), "{shown}");
        assert!(!shown.contains("sk_live"), "{shown}");
    }

    #[test]
    fn a_line_that_may_be_the_inside_of_a_value_is_not_shown() {
        for text in [
            "api_key \"sk_live_123\"",
            "sk_live_123 = = 1",
            "url = \"\"\"\nsk_live_123\n",
            "url = \"sk_live_123",
        ] {
            let shown = render(text);
            assert!(!shown.contains("sk_live"), "{shown}");
        }
    }
}
