//! The administrator's SQL, in which `:names` stand for values.
//!
//! A query is taken apart once, into text and parameters. What is in literals, quoted identifiers and comments is text, as are
//! `::casts` and `:=`. Values are bound: no value ever becomes part of the text.

use std::fmt;

use rust_decimal::Decimal;

/// The databases, as far as their SQL differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
    /// And MariaDB.
    Mysql,
}

/// What a parameter stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    /// All SKUs that are asked for, as a list: `IN (:skus)`.
    Skus,
    /// One SKU.
    Sku,
    /// What was typed into a search.
    Words,
    /// The same as a pattern of `LIKE`, between two `%`, its own wildcards escaped by `\`.
    Pattern,
    /// How many rows are wanted.
    Limit,
    /// How many are to be bought.
    Quantity,
    /// The customer's price list, or NULL.
    PriceList,
    /// The SKU behind which the list goes on; at first an empty text.
    After,
    /// One that a query of the administrator's own names, by its place among them.
    Own(usize),
}

impl Parameter {
    const ALL: [Self; 8] = [
        Self::Skus,
        Self::Sku,
        Self::Words,
        Self::Pattern,
        Self::Limit,
        Self::Quantity,
        Self::PriceList,
        Self::After,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Skus => "skus",
            Self::Sku => "sku",
            Self::Words => "words",
            Self::Pattern => "pattern",
            Self::Limit => "limit",
            Self::Quantity => "quantity",
            Self::PriceList => "price_list",
            Self::After => "after",
            Self::Own(_) => "",
        }
    }
}

/// What is asked of a query, which decides what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Stock,
    Prices,
    Search,
    Catalogue,
    /// One of the administrator's own, whose parameters and columns are its own, too.
    Own,
}

impl Purpose {
    const fn takes(self) -> &'static [Parameter] {
        match self {
            Self::Stock => &[Parameter::Skus, Parameter::Sku],
            Self::Prices => &[
                Parameter::Skus,
                Parameter::Sku,
                Parameter::Quantity,
                Parameter::PriceList,
            ],
            Self::Search => &[Parameter::Words, Parameter::Pattern, Parameter::Limit],
            Self::Catalogue => &[Parameter::After, Parameter::Limit],
            Self::Own => &[],
        }
    }

    /// The key in the configuration.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Stock => "stock_query",
            Self::Prices => "price_query",
            Self::Search => "search_query",
            Self::Catalogue => "catalogue_query",
            Self::Own => "queries",
        }
    }
}

/// A value that is bound.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Bound {
    Text(String),
    /// NULL, of the type text.
    NoText,
    Integer(i64),
    Decimal(Decimal),
}

/// The values of one call.
#[derive(Clone, Debug, Default)]
pub(super) struct Values<'a> {
    /// One at least for a query of SKUs; just one for a query that takes one by one.
    pub(super) skus: &'a [String],
    pub(super) words: &'a str,
    pub(super) limit: usize,
    pub(super) quantity: Option<Decimal>,
    pub(super) price_list: Option<&'a str>,
    pub(super) after: &'a str,
    /// Of a query of the administrator's own, in the order of [`Query::own`]; `None` is NULL.
    pub(super) own: &'a [Option<String>],
}

/// Why a text is not a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unsuitable(pub(super) String);

impl fmt::Display for Unsuitable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Parameter(Parameter),
}

/// One statement that reads, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) purpose: Purpose,
    dialect: Dialect,
    pieces: Vec<Piece>,
    /// The names of its own parameters, each once.
    pub(super) own: Vec<String>,
}

impl Query {
    /// Takes a query apart.
    pub(super) fn parse(sql: &str, purpose: Purpose, dialect: Dialect) -> Result<Self, Unsuitable> {
        let mut reader = Reader::new(sql, dialect, purpose);
        reader.read()?;
        let begins = reader.first_word.to_ascii_lowercase();
        if !["select", "with", "values", "table", "("].contains(&begins.as_str()) {
            return Err(Unsuitable(
                "it is not a SELECT; only what reads can be asked".to_owned(),
            ));
        }
        let query = Self {
            purpose,
            dialect,
            pieces: reader.pieces,
            own: reader.own,
        };
        if purpose != Purpose::Own {
            query.has_its_parameters()?;
        }
        Ok(query)
    }

    fn has_its_parameters(&self) -> Result<(), Unsuitable> {
        let key = self.purpose.key();
        let takes = self.purpose.takes();
        let mut names = takes.iter().map(|one| format!(":{}", one.name())).collect::<Vec<_>>();
        let last = names.pop().unwrap_or_default();
        let names = format!("{} and {last}", names.join(", "));
        for piece in &self.pieces {
            if let Piece::Parameter(parameter) = piece
                && !takes.contains(parameter)
            {
                return Err(Unsuitable(format!(
                    "{key} is not given :{}; it is given {names}",
                    parameter.name()
                )));
            }
        }
        let missing = takes.iter().find(|one| !self.uses(**one));
        if let (Purpose::Catalogue, Some(missing)) = (self.purpose, missing) {
            return Err(Unsuitable(format!(
                "{key} is to list SKUs piece by piece, and has no :{} in it: WHERE code > :after ORDER BY code LIMIT :limit",
                missing.name()
            )));
        }
        let (one, other) = match self.purpose {
            Purpose::Catalogue | Purpose::Own => return Ok(()),
            Purpose::Stock | Purpose::Prices => (Parameter::Skus, Parameter::Sku),
            Purpose::Search => (Parameter::Words, Parameter::Pattern),
        };
        match (self.uses(one), self.uses(other)) {
            (false, false) => Err(Unsuitable(format!(
                "{key} asks for nothing: it is to have :{} or :{} in it",
                one.name(),
                other.name()
            ))),
            (true, true) if self.purpose != Purpose::Search => Err(Unsuitable(format!(
                "{key} has both :skus and :sku in it; use one of them"
            ))),
            _ if self.dialect == Dialect::Sqlite && self.uses(Parameter::Pattern) && !self.says("escape") => Err(
                Unsuitable("in SQLite, :pattern needs to be told what escapes: LIKE :pattern ESCAPE '\\'".to_owned()),
            ),
            _ => Ok(()),
        }
    }

    pub(super) fn uses(&self, parameter: Parameter) -> bool {
        self.pieces.contains(&Piece::Parameter(parameter))
    }

    /// Whether this word, in small letters, is in its text.
    pub(super) fn says(&self, word: &str) -> bool {
        self.pieces
            .iter()
            .any(|piece| matches!(piece, Piece::Text(text) if text.to_ascii_lowercase().contains(word)))
    }

    /// The statement in the database's words, and what is bound to its parameters, in their order.
    pub(super) fn render(&self, values: &Values<'_>) -> (String, Vec<Bound>) {
        let mut sql = String::new();
        let mut bound = Vec::new();
        // Where PostgreSQL has the values of a parameter that comes again.
        let mut known: Vec<(Parameter, String)> = Vec::new();
        for piece in &self.pieces {
            let parameter = match piece {
                Piece::Text(text) => {
                    sql.push_str(text);
                    continue;
                }
                Piece::Parameter(parameter) => *parameter,
            };
            if let Some((_, text)) = known.iter().find(|(one, _)| *one == parameter) {
                sql.push_str(text);
                continue;
            }
            let mut texts = Vec::new();
            for value in Self::values_of(parameter, values) {
                bound.push(value);
                texts.push(match self.dialect {
                    Dialect::Postgres => format!("${}", bound.len()),
                    Dialect::Sqlite | Dialect::Mysql => "?".to_owned(),
                });
            }
            let text = texts.join(", ");
            sql.push_str(&text);
            if self.dialect == Dialect::Postgres {
                known.push((parameter, text));
            }
        }
        (sql, bound)
    }

    fn values_of(parameter: Parameter, values: &Values<'_>) -> Vec<Bound> {
        let text = |text: &str| Bound::Text(text.to_owned());
        match parameter {
            Parameter::Skus => values.skus.iter().map(|sku| text(sku)).collect(),
            Parameter::Sku => vec![values.skus.first().map_or(Bound::NoText, |sku| text(sku))],
            Parameter::Words => vec![text(values.words)],
            Parameter::Pattern => vec![Bound::Text(pattern(values.words))],
            Parameter::Limit => vec![Bound::Integer(i64::try_from(values.limit).unwrap_or(i64::MAX))],
            Parameter::Quantity => vec![Bound::Decimal(values.quantity.unwrap_or(Decimal::ONE))],
            Parameter::PriceList => vec![values.price_list.map_or(Bound::NoText, text)],
            Parameter::After => vec![text(values.after)],
            Parameter::Own(at) => vec![values.own.get(at).cloned().flatten().map_or(Bound::NoText, Bound::Text)],
        }
    }
}

/// The pattern of what has these words in it, all of them meant literally.
fn pattern(words: &str) -> String {
    let mut pattern = String::with_capacity(words.len() + 2);
    pattern.push('%');
    for character in words.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

/// Goes through the SQL from left to right.
struct Reader<'a> {
    dialect: Dialect,
    purpose: Purpose,
    rest: &'a str,
    pieces: Vec<Piece>,
    own: Vec<String>,
    /// The text since the last parameter.
    text: String,
    /// The first thing that is neither space nor comment.
    first_word: String,
    /// Whether the statement has ended.
    ended: bool,
}

impl<'a> Reader<'a> {
    fn new(sql: &'a str, dialect: Dialect, purpose: Purpose) -> Self {
        Self {
            dialect,
            purpose,
            rest: sql,
            pieces: Vec::new(),
            own: Vec::new(),
            text: String::new(),
            first_word: String::new(),
            ended: false,
        }
    }

    fn read(&mut self) -> Result<(), Unsuitable> {
        if self.rest.contains('\0') {
            return Err(Unsuitable("there is a NUL in it".to_owned()));
        }
        while let Some(next) = self.rest.chars().next() {
            if next.is_ascii_whitespace() || next == '\x0b' {
                self.take(1);
            } else if let Some(length) = self.comment()? {
                self.take(length);
            } else if self.ended {
                return Err(Unsuitable(
                    "something follows the semicolon; it is to be one statement".to_owned(),
                ));
            } else if next == ';' {
                self.ended = true;
                self.rest = &self.rest[1..];
            } else {
                self.token(next)?;
            }
        }
        self.end_text();
        Ok(())
    }

    /// Something that is neither space, comment nor the end.
    fn token(&mut self, next: char) -> Result<(), Unsuitable> {
        let length = match next {
            ':' => return self.colon(),
            '\'' => self.quoted('\'', self.dialect == Dialect::Mysql)?,
            '"' => self.quoted('"', self.dialect == Dialect::Mysql)?,
            '`' if self.dialect != Dialect::Postgres => self.quoted('`', false)?,
            '[' if self.dialect == Dialect::Sqlite => self.bracketed()?,
            '$' if self.dialect == Dialect::Postgres => self.dollar()?,
            '?' if self.dialect != Dialect::Postgres => return Err(foreign_parameter("?")),
            '@' | '$' if self.dialect == Dialect::Sqlite => return Err(foreign_parameter(&next.to_string())),
            _ if is_word(next) => {
                let word = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
                // MySQL writes files in a transaction that only reads, if the user may.
                if self.rest[..word].eq_ignore_ascii_case("into") {
                    return Err(Unsuitable("INTO writes; only what reads can be asked".to_owned()));
                }
                // PostgreSQL's literals that know the backslash.
                if self.dialect == Dialect::Postgres
                    && self.rest[..word].eq_ignore_ascii_case("e")
                    && self.rest[word..].starts_with('\'')
                {
                    self.take(word);
                    self.quoted('\'', true)?
                } else {
                    word
                }
            }
            _ => next.len_utf8(),
        };
        if self.first_word.is_empty() {
            self.rest[..length].clone_into(&mut self.first_word);
        }
        self.take(length);
        Ok(())
    }

    /// Moves on; what was there is text.
    fn take(&mut self, length: usize) {
        let (text, rest) = self.rest.split_at(length);
        if !self.ended {
            self.text.push_str(text);
        }
        self.rest = rest;
    }

    fn end_text(&mut self) {
        if !self.text.is_empty() {
            self.pieces.push(Piece::Text(std::mem::take(&mut self.text)));
        }
    }

    fn colon(&mut self) -> Result<(), Unsuitable> {
        let after = &self.rest[1..];
        if after.starts_with([':', '=']) {
            self.take(2);
            return Ok(());
        }
        if !after.starts_with(|c: char| c.is_alphabetic() || c == '_') {
            self.take(1);
            return Ok(());
        }
        let name = &after[..after.find(|c| !is_word(c)).unwrap_or(after.len())];
        let parameter = if self.purpose == Purpose::Own {
            Some(self.own_parameter(name))
        } else {
            Parameter::ALL.into_iter().find(|parameter| parameter.name() == name)
        };
        let Some(parameter) = parameter else {
            let meant = nearest(name, Parameter::ALL.iter().map(|one| one.name()));
            let meant = meant.map_or_else(String::new, |meant| format!("; was :{meant} meant?"));
            return Err(Unsuitable(format!("there is no parameter :{name}{meant}")));
        };
        self.end_text();
        self.pieces.push(Piece::Parameter(parameter));
        self.rest = &after[name.len()..];
        Ok(())
    }

    fn own_parameter(&mut self, name: &str) -> Parameter {
        let known = self.own.iter().position(|own| own == name);
        Parameter::Own(known.unwrap_or_else(|| {
            self.own.push(name.to_owned());
            self.own.len() - 1
        }))
    }

    /// The length of the comment that begins here.
    fn comment(&self) -> Result<Option<usize>, Unsuitable> {
        let rest = self.rest;
        let is_line = match self.dialect {
            // There, `5--3` is eight.
            Dialect::Mysql => {
                rest.starts_with('#')
                    || rest.strip_prefix("--").is_some_and(|after| {
                        after
                            .chars()
                            .next()
                            .is_none_or(|c| c.is_ascii_whitespace() || c.is_ascii_control())
                    })
            }
            Dialect::Sqlite | Dialect::Postgres => rest.starts_with("--"),
        };
        if is_line {
            // PostgreSQL ends it at either; what follows a lone return is not to be taken for a part of it.
            let ends: &[char] = if self.dialect == Dialect::Postgres {
                &['\n', '\r']
            } else {
                &['\n']
            };
            return Ok(Some(rest.find(ends).unwrap_or(rest.len())));
        }
        if !rest.starts_with("/*") {
            return Ok(None);
        }
        if self.dialect == Dialect::Mysql && (rest.starts_with("/*!") || rest.starts_with("/*M!")) {
            return Err(Unsuitable(
                "/*! is a comment that is executed; write what is in it without it".to_owned(),
            ));
        }
        let mut depth = 0;
        let mut at = 0;
        while at < rest.len() {
            if rest[at..].starts_with("/*") && (depth == 0 || self.dialect == Dialect::Postgres) {
                depth += 1;
                at += 2;
            } else if rest[at..].starts_with("*/") {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return Ok(Some(at));
                }
            } else {
                at += rest[at..].chars().next().map_or(1, char::len_utf8);
            }
        }
        Err(Unsuitable("a comment that begins with /* does not end".to_owned()))
    }

    /// The length of what is quoted here; a doubled quote is a part of it.
    fn quoted(&self, quote: char, backslash_escapes: bool) -> Result<usize, Unsuitable> {
        let mut characters = self.rest.char_indices().skip(1).peekable();
        while let Some((at, character)) = characters.next() {
            if character == '\\' && backslash_escapes {
                characters.next();
            } else if character == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
                return Ok(at + 1);
            }
        }
        Err(Unsuitable(format!("a {quote} is not closed")))
    }

    fn bracketed(&self) -> Result<usize, Unsuitable> {
        let end = self.rest.find(']');
        end.map(|end| end + 1)
            .ok_or_else(|| Unsuitable("a [ is not closed".to_owned()))
    }

    /// The length of PostgreSQL's `$tag$…$tag$`.
    fn dollar(&self) -> Result<usize, Unsuitable> {
        let after = &self.rest[1..];
        let tag = &after[..after.find(|c: char| !is_word(c) || c == '$').unwrap_or(after.len())];
        if tag.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(foreign_parameter("$1"));
        }
        if !after[tag.len()..].starts_with('$') {
            return Ok(1);
        }
        let mark = &self.rest[..tag.len() + 2];
        let end = self.rest[mark.len()..].find(mark);
        end.map(|end| mark.len() + end + mark.len())
            .ok_or_else(|| Unsuitable(format!("a {mark} is not closed")))
    }
}

fn foreign_parameter(what: &str) -> Unsuitable {
    Unsuitable(format!(
        "parameters are written by their names, as in :sku, not as {what}"
    ))
}

/// What the databases take for a part of a word: a `$` in it begins nothing.
fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == '$' || !character.is_ascii()
}

/// The name that is most like another, if one is.
pub(crate) fn nearest<'a>(name: &str, among: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    among
        .map(|one| (strsim::jaro_winkler(&name, one), one))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, one)| one)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rendered(sql: &str, dialect: Dialect) -> (String, Vec<Bound>) {
        let skus = ["a'b".to_owned(), "c".to_owned()];
        let values = Values {
            skus: &skus,
            words: "50%_\\",
            limit: 7,
            quantity: None,
            price_list: None,
            ..Values::default()
        };
        let purpose = if sql.contains(":words") || sql.contains(":pattern") {
            Purpose::Search
        } else {
            Purpose::Prices
        };
        Query::parse(sql, purpose, dialect)
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
            .render(&values)
    }

    fn refused(sql: &str, dialect: Dialect) -> String {
        Query::parse(sql, Purpose::Stock, dialect).expect_err(sql).to_string()
    }

    fn text(text: &str) -> Bound {
        Bound::Text(text.to_owned())
    }

    #[test]
    fn parameters_become_what_the_database_binds() {
        let sql = "SELECT * FROM t WHERE s IN (:skus) AND q >= :quantity AND l = :price_list OR x IN (:skus)";
        let (postgres, bound) = rendered(sql, Dialect::Postgres);
        assert_eq!(
            postgres,
            "SELECT * FROM t WHERE s IN ($1, $2) AND q >= $3 AND l = $4 OR x IN ($1, $2)"
        );
        let values = [text("a'b"), text("c"), Bound::Decimal(Decimal::ONE), Bound::NoText];
        assert_eq!(bound, values);
        for dialect in [Dialect::Sqlite, Dialect::Mysql] {
            let (sql, bound) = rendered(sql, dialect);
            assert_eq!(
                sql,
                "SELECT * FROM t WHERE s IN (?, ?) AND q >= ? AND l = ? OR x IN (?, ?)"
            );
            assert_eq!(bound[..4], values);
            assert_eq!(bound[4..], values[..2]);
        }
        let (sql, bound) = rendered(
            "SELECT :words, :limit WHERE x LIKE :pattern ESCAPE '\\'",
            Dialect::Sqlite,
        );
        assert_eq!(sql, "SELECT ?, ? WHERE x LIKE ? ESCAPE '\\'");
        assert_eq!(bound, [text("50%_\\"), Bound::Integer(7), text("%50\\%\\_\\\\%")]);
    }

    #[test]
    fn what_is_quoted_or_remarked_is_left_alone() {
        use Dialect::{Mysql, Postgres, Sqlite};
        for (dialects, untouched) in [
            (&[Sqlite, Postgres, Mysql][..], "':sku; '' :sku'"),
            (&[Sqlite, Postgres, Mysql], "\":sku; \"\" :sku\""),
            (&[Sqlite, Postgres, Mysql], "-- :sku; ' \" /*\n"),
            (&[Sqlite, Postgres, Mysql], "/* :sku; ' -- \n */"),
            (&[Sqlite, Postgres, Mysql], "/* é ț :sku */"),
            (&[Sqlite, Postgres, Mysql], "x::text, y := 3, z : 4, [1:2]"),
            (&[Sqlite, Mysql], "`:sku; `` :sku`"),
            (&[Sqlite], "[:sku; ' ]"),
            (&[Mysql], "# :sku; '\n"),
            (&[Mysql], "'\\' :sku', \"\\\" :sku\""),
            (&[Mysql], "5--3, @variable"),
            (&[Postgres], "E'\\' :sku', e'\\\\'"),
            (&[Postgres], "'\\'"),
            (&[Postgres], "$$ :sku; ' $$, $a$ :sku $$ $a$, $é$ ' $é$"),
            (&[Postgres], "/* /* :sku */ ; ' */"),
            (&[Postgres], "a ? 'b', a #> '{:sku}', name$1, type 'x'"),
            (&[Postgres], "-- :sku\r"),
        ] {
            for dialect in dialects {
                let (sql, bound) = rendered(&format!("SELECT {untouched} , :sku"), *dialect);
                let end = if *dialect == Postgres { "$1" } else { "?" };
                assert_eq!(sql, format!("SELECT {untouched} , {end}"), "{dialect:?}");
                assert_eq!(bound.len(), 1);
            }
        }
    }

    #[test]
    fn one_statement_that_reads_is_taken() {
        for sql in [
            "select :sku;",
            " \n-- why\n/* how */ (SELECT :sku) ; -- done\n /* really */ ",
            "WITH x AS (SELECT 1) SELECT :sku FROM x",
            "VALUES (:sku)",
        ] {
            for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::Mysql] {
                let (rendered, _) = rendered(sql, dialect);
                assert!(!rendered.contains(';'), "{rendered}");
            }
        }
        for (sql, says) in [
            ("", "not a SELECT"),
            ("-- :sku", "not a SELECT"),
            ("UPDATE t SET x = :sku", "not a SELECT"),
            ("COMMIT", "not a SELECT"),
            (":sku", "not a SELECT"),
            ("SELECT :sku; DROP TABLE t", "one statement"),
            ("SELECT :sku;;", "one statement"),
            ("SELECT :sku; SELECT :sku", "one statement"),
            ("SELECT 'x", "not closed"),
            ("SELECT \"x", "not closed"),
            ("SELECT /* :sku", "does not end"),
            ("SELECT * INTO x FROM t WHERE s = :sku", "INTO"),
            ("SELECT 1", ":skus or :sku"),
            ("SELECT :sku, :skus", "both"),
            ("SELECT :words", "is not given :words"),
            ("SELECT :sukz, :sku", "was :sku meant"),
            ("SELECT :zzzz, :sku", "no parameter :zzzz"),
            ("SELECT \0:sku", "NUL"),
        ] {
            for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::Mysql] {
                let error = refused(sql, dialect);
                assert!(error.contains(says), "{sql}: {error}");
            }
        }
        for (sql, dialect, says) in [
            ("SELECT ?, :sku", Dialect::Sqlite, "by their names"),
            ("SELECT ?, :sku", Dialect::Mysql, "by their names"),
            ("SELECT $1, :sku", Dialect::Postgres, "by their names"),
            ("SELECT @x, :sku", Dialect::Sqlite, "by their names"),
            ("SELECT $x, :sku", Dialect::Sqlite, "by their names"),
            ("SELECT $$ :sku", Dialect::Postgres, "not closed"),
            ("SELECT [a, :sku", Dialect::Sqlite, "not closed"),
            ("SELECT /*! 1 */ :sku", Dialect::Mysql, "executed"),
            ("SELECT /*M! 1 */ :sku", Dialect::Mysql, "executed"),
            ("SELECT '\\' :sku", Dialect::Mysql, "not closed"),
            ("SELECT /* /* */ :sku", Dialect::Postgres, "does not end"),
        ] {
            let error = refused(sql, dialect);
            assert!(error.contains(says), "{sql}: {error}");
        }
        let error = Query::parse("SELECT 1 WHERE x LIKE :pattern", Purpose::Search, Dialect::Sqlite);
        assert!(error.unwrap_err().to_string().contains("ESCAPE"));
    }

    fn dialects() -> impl Strategy<Value = Dialect> {
        prop_oneof![Just(Dialect::Sqlite), Just(Dialect::Postgres), Just(Dialect::Mysql)]
    }

    /// Parts of SQL that are whole in themselves, without parameters, and what encloses things.
    fn parts() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-d0-9 (),.=<>+*ăț]{0,8}",
            "'([a-z:; \"/*$-]|'')*'",
            "\"([a-z:; '/*$-]|\"\")*\"",
            "/\\*[a-z:;'\" $-]*\\*/",
            "-- [a-z:;'\"/*$ -]*\n",
            Just("::".to_owned()),
            Just(":=".to_owned()),
            Just(": ".to_owned()),
        ]
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(sql in "(SELECT )?.{0,60}", dialect in dialects()) {
            let _ = Query::parse(&sql, Purpose::Stock, dialect);
        }

        #[test]
        fn nor_is_any_heap_of_quotes(sql in "SELECT [:a-zé'\"`\\[\\]$\\\\/*#; \n?@-]{0,40}:sku", dialect in dialects()) {
            let _ = Query::parse(&sql, Purpose::Stock, dialect);
        }

        /// Only parameters change, whatever stands between them.
        #[test]
        fn only_parameters_are_replaced(
            between in proptest::collection::vec(parts(), 1..8),
            dialect in dialects(),
        ) {
            let sql = format!("SELECT {} :sku ", between.join(" :sku "));
            let query = Query::parse(&sql, Purpose::Stock, dialect).unwrap();
            let skus = ["'; DROP TABLE t; --".to_owned()];
            let (text, bound) = query.render(&Values { skus: &skus, ..Values::default() });
            let place = if dialect == Dialect::Postgres { "$1" } else { "?" };
            prop_assert_eq!(text, format!("SELECT {} {place} ", between.join(&format!(" {place} "))));
            prop_assert_eq!(bound.len(), if dialect == Dialect::Postgres { 1 } else { between.len() });
        }

        /// No value is in the text, and each of them is bound.
        #[test]
        fn values_are_bound(skus in proptest::collection::vec("[^ISELCTN(),$?0-9 ]{1,20}", 1..20), dialect in dialects()) {
            let query = Query::parse("SELECT 1 IN (:skus)", Purpose::Stock, dialect).unwrap();
            let (text, bound) = query.render(&Values { skus: &skus, ..Values::default() });
            prop_assert!(skus.iter().all(|sku| !text.contains(sku.as_str())));
            prop_assert_eq!(bound, skus.into_iter().map(Bound::Text).collect::<Vec<_>>());
        }

        /// A pattern without its two ends and its backslashes is the words.
        #[test]
        fn patterns_are_literal(words in ".{0,40}") {
            let pattern = pattern(&words);
            let mut back = String::new();
            let mut characters = pattern[1..pattern.len() - 1].chars();
            while let Some(character) = characters.next() {
                prop_assert!(!matches!(character, '%' | '_'));
                back.push(if character == '\\' { characters.next().unwrap() } else { character });
            }
            prop_assert_eq!(back, words);
        }
    }
}
