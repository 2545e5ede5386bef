//! What the connector does with the system: a request, how its answer goes on, and how its items are read.

use std::collections::BTreeMap;
use std::time::Duration;

use http::header::LINK;
use http::{HeaderMap, HeaderValue, Method};
use jmespath::Rcvar;
use minijinja::Value;
use url::Url;

use super::api::Api;
use super::call::{Call, Parts, Purpose, Values};
use super::config::{OperationConfig, PagingConfig, PagingStyle};
use super::query::{self, Query};
use super::{SYSTEM, refused};
use crate::error::Error;
use crate::sql::nearest;

const PAGES: u32 = 20;
const SIZE: usize = 100;
const BATCH: usize = 50;
/// Variables of pages.
const PAGING_KNOWS: [&str; 4] = ["page", "size", "offset", "cursor"];

/// What an operation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Search,
    Stock,
    Prices,
    Find,
    Create,
    Update,
    Changes,
}

impl Kind {
    const fn doing(self) -> &'static str {
        match self {
            Self::Search => "search items",
            Self::Stock => "read stock",
            Self::Prices => "read prices",
            Self::Find => "find records",
            Self::Create => "create a record",
            Self::Update => "change a record",
            Self::Changes => "read changes",
        }
    }

    const fn knows(self) -> &'static [&'static str] {
        match self {
            Self::Search => &["words", "limit"],
            Self::Stock => &["sku", "skus"],
            Self::Prices => &["sku", "skus", "quantity", "price_list"],
            Self::Find => &["key"],
            Self::Create => &["fields"],
            Self::Update => &["id", "fields"],
            Self::Changes => &["since", "since_seconds"],
        }
    }

    /// The columns that mean something.
    pub(super) const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Search => &["sku", "name", "barcode"],
            Self::Stock => &[
                "sku",
                "name",
                "barcode",
                "uom",
                "warehouse",
                "warehouse_name",
                "on_hand",
                "reserved",
                "available",
                "as_of",
            ],
            Self::Prices => &["sku", "net", "gross", "currency"],
            Self::Create => &["id"],
            Self::Find | Self::Update | Self::Changes => &[],
        }
    }

    /// Of each of these, one column is needed.
    const fn needed(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Search => &[&["sku"]],
            Self::Stock => &[&["on_hand", "available"]],
            Self::Prices => &[&["net", "gross"]],
            _ => &[],
        }
    }

    const fn reads(self) -> bool {
        !matches!(self, Self::Create | Self::Update)
    }

    const fn method(self) -> Option<Method> {
        match self {
            Self::Create => Some(Method::POST),
            Self::Update => Some(Method::PATCH),
            _ => None,
        }
    }
}

/// What all operations have in common.
pub(super) struct Common<'a> {
    /// The variables that are always there.
    pub(super) known: &'a [&'a str],
    pub(super) content_type: Option<&'a HeaderValue>,
}

#[derive(Debug)]
pub(super) struct Operation {
    pub(super) key: String,
    pub(super) call: Call,
    items: Query,
    columns: BTreeMap<&'static str, Query>,
    pub(super) places: Option<Query>,
    pub(super) batch: usize,
    pub(super) codes: bool,
    pub(super) zero_is_unknown: bool,
    pub(super) oldest_first: bool,
    pub(super) overlap: Duration,
    paging: Paging,
}

/// Items of all pages.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) items: Vec<Rcvar>,
    /// Whether there are more, on pages that were not read.
    pub(super) cut: bool,
}

/// How many items are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All there are; more pages than may be read are a failure.
    All,
    /// So many.
    Some(usize),
    /// As many as are on the pages that may be read.
    AsManyAsMayBe,
}

impl Operation {
    /// Reads the operation found at `key`.
    pub(super) fn compile(key: &str, kind: Kind, config: &OperationConfig, common: &Common<'_>) -> Result<Self, Error> {
        let at = |name: &str| format!("{key}.{name}");
        for (name, is_there, of) in [
            ("places", config.places.is_some(), &[Kind::Stock][..]),
            ("batch", config.batch.is_some(), &[Kind::Stock, Kind::Prices]),
            ("codes", config.codes.is_some(), &[Kind::Search]),
            ("zero_is_unknown", config.zero_is_unknown.is_some(), &[Kind::Prices]),
            ("oldest_first", config.oldest_first.is_some(), &[Kind::Changes]),
            ("overlap", config.overlap.is_some(), &[Kind::Changes]),
            (
                "paging",
                config.paging.is_some(),
                &[Kind::Search, Kind::Stock, Kind::Prices, Kind::Find, Kind::Changes],
            ),
            (
                "items",
                config.items.is_some(),
                &[Kind::Search, Kind::Stock, Kind::Prices, Kind::Find, Kind::Changes],
            ),
        ] {
            if is_there && !of.contains(&kind) {
                return Err(refused(&at(name), "it means nothing to this operation"));
            }
        }
        let mut known = common.known.to_vec();
        known.extend(kind.knows());
        known.extend(PAGING_KNOWS.iter().filter(|_| config.paging.is_some()));
        let purpose = Purpose {
            doing: kind.doing(),
            method: kind.method(),
            reads: kind.reads(),
            known: &known,
            content_type: common.content_type,
        };
        let call = Call::compile(key, &Parts::from(config), &purpose)?;
        Self::check_use(key, kind, &call)?;
        let optional =
            |name: &str, source: Option<&String>| source.map(|source| Query::compile(&at(name), source)).transpose();
        Ok(Self {
            key: key.to_owned(),
            paging: Paging::compile(&at("paging"), config.paging.as_ref(), &call)?,
            call,
            items: Query::compile(&at("items"), config.items.as_deref().unwrap_or("@"))?,
            columns: columns(&at("columns"), kind, &config.columns)?,
            places: optional("places", config.places.as_ref())?,
            batch: config.batch.map_or(BATCH, std::num::NonZeroUsize::get),
            codes: config.codes.unwrap_or_default(),
            zero_is_unknown: config.zero_is_unknown.unwrap_or_default(),
            oldest_first: config.oldest_first.unwrap_or_default(),
            overlap: config.overlap.map_or(Duration::from_mins(2), |overlap| overlap.0),
        })
    }

    /// Whether it uses what it is given: else it would do the same whatever it is asked.
    fn check_use(key: &str, kind: Kind, call: &Call) -> Result<(), Error> {
        let needed: &[&str] = match kind {
            Kind::Search => &["words"],
            Kind::Find => &["key"],
            Kind::Create => &["fields"],
            Kind::Update => &["id", "fields"],
            // Without a SKU, everything is asked for, and without a time, too.
            Kind::Stock | Kind::Prices | Kind::Changes => &[],
        };
        if let Some(name) = needed.iter().find(|name| !call.uses(name)) {
            return Err(refused(key, format!("none of its templates uses {{{{ {name} }}}}")));
        }
        if call.uses("sku") && call.uses("skus") {
            let message =
                "its templates use {{ sku }}, for a request each, and {{ skus }}, for many in one; use one of them";
            return Err(refused(key, message));
        }
        Ok(())
    }

    /// What a column finds in an item; null if there is no such column.
    pub(super) fn column(&self, name: &str, item: &Rcvar) -> Result<Option<Rcvar>, Error> {
        self.columns.get(name).map(|query| query.find(item)).transpose()
    }

    /// Whether it has a column.
    pub(super) fn has(&self, name: &str) -> bool {
        self.columns.contains_key(name)
    }

    /// The items that there are, of all pages; none if what was asked for is not there.
    pub(super) async fn list(&self, api: &Api, values: &Values, wanted: Wanted) -> Result<Listed, Error> {
        let mut listed = Listed::default();
        let mut at = Position::start(&self.paging);
        let mut last: Vec<Rcvar> = Vec::new();
        for _ in 0..self.paging.max_pages {
            let mut values = values.clone();
            values.extend(at.values(&self.paging));
            let page = api.ask(&self.call, &values, at.url.as_ref(), |answer, document, url| {
                let found = self.items.find(document)?;
                let items = query::items(&found, self.items.key())?;
                let next = self.paging.next(&at, items.len(), &answer.headers, document, url)?;
                Ok((items, next))
            });
            let Some((items, next)) = page.await? else {
                return Ok(listed);
            };
            if !items.is_empty() && items == last {
                return Err(
                    self.endless("its pages are all the same: see that its templates use the variables of paging")
                );
            }
            last.clone_from(&items);
            listed.items.extend(items);
            match (next, wanted) {
                (None, _) => return Ok(listed),
                (Some(_), Wanted::Some(enough)) if listed.items.len() >= enough => return Ok(listed),
                (Some(next), _) => at = next,
            }
        }
        if wanted == Wanted::All {
            let pages = self.paging.max_pages;
            return Err(self.endless(&format!(
                "it does not end after {pages} pages; raise max_pages if that is right"
            )));
        }
        listed.cut = true;
        Ok(listed)
    }

    fn endless(&self, problem: &str) -> Error {
        Error::Unreadable {
            system: SYSTEM,
            expected: "pages that end",
            problem: format!("{}: {problem}", self.key),
        }
    }
}

fn columns(key: &str, kind: Kind, of: &BTreeMap<String, String>) -> Result<BTreeMap<&'static str, Query>, Error> {
    let mut columns = BTreeMap::new();
    for (name, source) in of {
        let at = format!("{key}.{name}");
        let Some(known) = kind.columns().iter().find(|known| *known == name) else {
            let remedy = nearest(name, kind.columns().iter().copied()).map_or_else(
                || format!("there are {}", kind.columns().join(", ")),
                |near| format!("did you mean {near}?"),
            );
            return Err(refused(&at, format!("it means nothing here; {remedy}")));
        };
        columns.insert(*known, Query::compile(&at, source)?);
    }
    for needed in kind.needed() {
        if !needed.iter().any(|name| columns.contains_key(name)) {
            return Err(refused(key, format!("there is no {}", needed.join(" or "))));
        }
    }
    Ok(columns)
}

/// How an answer goes on.
#[derive(Debug)]
struct Paging {
    style: Option<PagingStyle>,
    size: usize,
    first: u32,
    more: Option<Query>,
    next: Option<Query>,
    max_pages: u32,
}

/// Where the next page is.
#[derive(Clone, Debug, Default)]
struct Position {
    page: u32,
    offset: usize,
    cursor: Option<String>,
    url: Option<Url>,
}

impl Position {
    fn start(paging: &Paging) -> Self {
        Self {
            page: paging.first,
            ..Self::default()
        }
    }

    fn values(&self, paging: &Paging) -> Values {
        let mut values = vec![("size", Value::from(paging.size))];
        match paging.style {
            Some(PagingStyle::Page) => values.push(("page", Value::from(self.page))),
            Some(PagingStyle::Offset) => values.push(("offset", Value::from(self.offset))),
            Some(PagingStyle::Cursor) => {
                values.extend(self.cursor.clone().map(|cursor| ("cursor", Value::from(cursor))));
            }
            Some(PagingStyle::Link | PagingStyle::NextUrl) | None => {}
        }
        values
    }
}

impl Paging {
    fn compile(key: &str, config: Option<&PagingConfig>, call: &Call) -> Result<Self, Error> {
        let at = |name: &str| format!("{key}.{name}");
        let Some(config) = config else {
            return Ok(Self {
                style: None,
                size: SIZE,
                first: 1,
                more: None,
                next: None,
                max_pages: 1,
            });
        };
        let style = config
            .style
            .ok_or_else(|| refused(&at("style"), "it is missing: page, offset, cursor, link or next_url"))?;
        let variable = match style {
            PagingStyle::Page => Some("page"),
            PagingStyle::Offset => Some("offset"),
            PagingStyle::Cursor => Some("cursor"),
            PagingStyle::Link | PagingStyle::NextUrl => None,
        };
        if let Some(variable) = variable.filter(|variable| !call.uses(variable)) {
            let message =
                format!("no template of the operation uses {{{{ {variable} }}}}: every page would be the first");
            return Err(refused(&at("style"), message));
        }
        let needs_next = matches!(style, PagingStyle::Cursor | PagingStyle::NextUrl);
        match (&config.next, needs_next) {
            (None, true) => return Err(refused(&at("next"), "it is missing: what finds the next page")),
            (Some(_), false) => return Err(refused(&at("next"), "it means nothing to this style")),
            _ => {}
        }
        let query =
            |name: &str, source: Option<&String>| source.map(|source| Query::compile(&at(name), source)).transpose();
        Ok(Self {
            style: Some(style),
            size: config.size.map_or(SIZE, std::num::NonZeroUsize::get),
            first: config.first.unwrap_or(1),
            more: query("more", config.more.as_ref())?,
            next: query("next", config.next.as_ref())?,
            max_pages: config.max_pages.map_or(PAGES, std::num::NonZeroU32::get),
        })
    }

    /// Where the page after this one is; `None` if it is the last.
    ///
    /// A page that has fewer items than it was to have may be a server's own limit: unless the answer says so, pages end with
    /// an empty one.
    fn next(
        &self,
        at: &Position,
        items: usize,
        headers: &HeaderMap,
        document: &Rcvar,
        url: &Url,
    ) -> Result<Option<Position>, Error> {
        let Some(style) = self.style else {
            return Ok(None);
        };
        if let Some(more) = &self.more
            && !more.find(document)?.is_truthy()
        {
            return Ok(None);
        }
        let found = match &self.next {
            Some(next) => query::text(&*next.find(document)?),
            None => None,
        };
        let elsewhere = |target: &str| {
            // Whether it is of the same origin is for the client to say.
            url.join(target).map_err(|_| Error::Unreadable {
                system: SYSTEM,
                expected: "a URL of a next page",
                problem: "it is none".to_owned(),
            })
        };
        let goes_on = |position: Position| (items > 0).then_some(position);
        Ok(match style {
            PagingStyle::Page => goes_on(Position {
                page: at.page.saturating_add(1),
                ..Position::default()
            }),
            PagingStyle::Offset => goes_on(Position {
                offset: at.offset.saturating_add(items),
                ..Position::default()
            }),
            PagingStyle::Cursor => found
                .filter(|next| Some(next) != at.cursor.as_ref())
                .map(|next| Position {
                    cursor: Some(next),
                    ..Position::default()
                }),
            PagingStyle::Link | PagingStyle::NextUrl => {
                let target = if style == PagingStyle::Link {
                    linked(headers)
                } else {
                    found
                };
                match target {
                    Some(target) => Some(Position {
                        url: Some(elsewhere(&target)?),
                        ..Position::default()
                    }),
                    None => None,
                }
            }
        })
    }
}

/// The target of the link whose relation is `next` (RFC 8288).
fn linked(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(LINK)
        .iter()
        .filter_map(|link| link.to_str().ok())
        .find_map(|line| {
            let mut rest = line;
            while let Some((target, after)) = rest.split_once('<').and_then(|(_, rest)| rest.split_once('>')) {
                let end = after.find('<').unwrap_or(after.len());
                let (parameters, others) = after.split_at(end);
                let is_next = parameters.split([';', ',']).any(|parameter| {
                    parameter.split_once('=').is_some_and(|(name, value)| {
                        name.trim().eq_ignore_ascii_case("rel")
                            && value
                                .trim()
                                .trim_matches('"')
                                .split_ascii_whitespace()
                                .any(|relation| relation.eq_ignore_ascii_case("next"))
                    })
                });
                if is_next {
                    return Some(target.to_owned());
                }
                rest = others;
            }
            None
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compiled(kind: Kind, config: &serde_json::Value) -> Result<Operation, Error> {
        let config: OperationConfig = serde_json::from_value(config.clone()).unwrap();
        let common = Common {
            known: &["vars"],
            content_type: None,
        };
        Operation::compile("op", kind, &config, &common)
    }

    #[test]
    fn links_are_read_as_they_are_written() {
        for (line, target) in [
            (r#"<https://a.ro/x?page=2>; rel="next""#, Some("https://a.ro/x?page=2")),
            (
                r#"</x?a=1,2>; rel="prev", </x?a=3;4>; title="a"; rel=next"#,
                Some("/x?a=3;4"),
            ),
            (r#"<x>; rel="last next""#, Some("x")),
            (r#"<x>; rel="last""#, None),
            ("", None),
            ("<x", None),
        ] {
            let headers = HeaderMap::from_iter([(LINK, HeaderValue::try_from(line).unwrap())]);
            assert_eq!(linked(&headers).as_deref(), target, "{line}");
        }
    }

    #[test]
    fn what_means_nothing_or_is_missing_is_named() {
        let stock = json!({"path": "s", "columns": {"on_hand": "q"}});
        compiled(Kind::Stock, &stock).unwrap();
        for (kind, change, field) in [
            (Kind::Stock, json!({"codes": true}), "op.codes"),
            (
                Kind::Stock,
                json!({"columns": {"net": "x", "on_hand": "q"}}),
                "op.columns.net",
            ),
            (Kind::Stock, json!({"columns": {"sku": "s"}}), "op.columns"),
            (Kind::Stock, json!({"columns": {"on_hand": "q["}}), "op.columns.on_hand"),
            (
                Kind::Stock,
                json!({"query": {"a": "{{ sku }}", "b": "{{ skus }}"}}),
                "op",
            ),
            (Kind::Stock, json!({"query": {"a": "{{ page }}"}}), "op.query.a"),
            (Kind::Stock, json!({"paging": {}}), "op.paging.style"),
            (Kind::Stock, json!({"paging": {"style": "page"}}), "op.paging.style"),
            (Kind::Stock, json!({"paging": {"style": "next_url"}}), "op.paging.next"),
            (
                Kind::Stock,
                json!({"paging": {"style": "link", "next": "x"}}),
                "op.paging.next",
            ),
            (Kind::Search, json!({"columns": {"sku": "s"}}), "op"),
            (Kind::Update, json!({"columns": {}, "path": "{{ id }}"}), "op"),
        ] {
            let mut config = stock.clone();
            for (key, value) in change.as_object().unwrap() {
                config[key] = value.clone();
            }
            match compiled(kind, &config) {
                Err(Error::Rejected { field: told, .. }) => assert_eq!(told.as_deref(), Some(field), "{change}"),
                other => panic!("{change}: {other:?}"),
            }
        }
    }
}
