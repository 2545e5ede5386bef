//! From a file's bytes to products.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::config::{Encoding, Format, TableConfig};
use super::dbf;
use crate::catalogue::{Catalogue, ListPrice, Place, Product};
use crate::lenient::decimal_of;

/// A row, with where it is in the file.
struct Row {
    at: String,
    cells: Vec<String>,
}

/// Reads a file of this name; else what is wrong with it, and where.
pub(super) fn read(
    config: &TableConfig,
    name: &str,
    bytes: &[u8],
    written_at: DateTime<Utc>,
) -> Result<Catalogue, String> {
    let (columns, rows) = match config.format_of(name) {
        Format::Csv => csv_rows(config, bytes)?,
        Format::Dbf => dbf_rows(config, bytes)?,
    };
    if rows.is_empty() {
        return Err("it has no rows".to_owned());
    }
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (column, wanted) in &config.columns {
        let is_it = |name: &&String| name.trim().eq_ignore_ascii_case(wanted.trim());
        let mut found = columns.iter().enumerate().filter(|(_, name)| is_it(name));
        match (found.next(), found.next()) {
            (Some((at, _)), None) => places.insert(column.as_str(), at),
            (Some(_), Some(_)) => return Err(format!("it has two columns {wanted}")),
            (None, _) => {
                return Err(format!(
                    "it has no column {wanted}, which is to be {column}; it has {}",
                    columns.join(", ")
                ));
            }
        };
    }
    let products: Vec<Product> = rows
        .iter()
        .filter_map(|row| product(config, &places, row).transpose())
        .collect::<Result<_, _>>()?;
    Ok(Catalogue::new(products, written_at))
}

/// The product that a row is of; `None` if it has no code.
fn product(config: &TableConfig, places: &HashMap<&str, usize>, row: &Row) -> Result<Option<Product>, String> {
    let text = |column: &str| {
        let cell = places.get(column).and_then(|at| row.cells.get(*at));
        cell.map(|cell| cell.trim())
            .filter(|cell| !cell.is_empty())
            .map(str::to_owned)
    };
    let number = |column: &str| {
        let Some(cell) = text(column) else {
            return Ok(None);
        };
        let read = decimal(&cell, config.decimal_comma);
        // The cell itself may be a name or an address, if the column is the wrong one.
        read.map(Some)
            .ok_or_else(|| format!("{}: {} is no number", row.at, config.columns[column]))
    };
    let Some(code) = text("sku") else {
        return Ok(None);
    };
    let place = Place {
        code: text("warehouse"),
        name: text("warehouse_name"),
        quantity: number("on_hand")?,
    };
    let entered = |amount: Option<Decimal>| amount.filter(|amount| !amount.is_zero());
    let (net, gross) = (entered(number("net")?), entered(number("gross")?));
    let currency = text("currency").or_else(|| config.currency.clone());
    let price = (net.is_some() || gross.is_some()).then_some(ListPrice {
        net,
        gross,
        currency: currency.map(|currency| currency.to_uppercase()),
    });
    Ok(Some(Product {
        code,
        name: text("name"),
        uom: text("uom"),
        places: vec![place],
        prices: price.into_iter().collect(),
    }))
}

fn decimal(cell: &str, comma: bool) -> Option<Decimal> {
    if !comma {
        return decimal_of(cell);
    }
    let cell: String = cell
        .chars()
        .filter(|c| !matches!(c, '.' | ' ' | '\u{a0}' | '\u{202f}'))
        .collect();
    decimal_of(&cell.replace(',', "."))
}

fn csv_rows(config: &TableConfig, bytes: &[u8]) -> Result<(Vec<String>, Vec<Row>), String> {
    // Lines that end in two characters are counted wrong by the reader.
    let text = decoded(bytes, config.encoding.unwrap_or(Encoding::Utf8))?.replace("\r\n", "\n");
    let mut reader = csv::ReaderBuilder::new()
        // Checked by `validate`.
        .delimiter(u8::try_from(config.delimiter).unwrap_or(b','))
        .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    // The error's own text may quote a cell.
    let problem = |error: &csv::Error| match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            format!("line {line}: it has {len} cells, and is to have {expected_len}")
        }
        _ => "it cannot be read".to_owned(),
    };
    let headers = reader.headers().map_err(|error| problem(&error))?;
    let columns = headers.iter().map(str::to_owned).collect();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| problem(&error))?;
        rows.push(Row {
            at: format!("line {}", record.position().map_or(0, csv::Position::line)),
            cells: record.iter().map(str::to_owned).collect(),
        });
    }
    Ok((columns, rows))
}

fn dbf_rows(config: &TableConfig, bytes: &[u8]) -> Result<(Vec<String>, Vec<Row>), String> {
    let table = dbf::read(bytes)?;
    let encoding = config.encoding.or(table.encoding);
    let mut rows = Vec::with_capacity(table.rows.len());
    for (at, cells) in table.rows.iter().enumerate() {
        let at = format!("record {}", at + 1);
        let cells = cells.iter().map(|cell| match encoding {
            Some(encoding) => decoded(cell, encoding),
            None if cell.is_ascii() => decoded(cell, Encoding::Utf8),
            None => {
                Err("it has letters that are not ASCII, and does not say how they are written; set encoding".to_owned())
            }
        });
        let cells = cells
            .collect::<Result<_, _>>()
            .map_err(|problem| format!("{at}: {problem}"))?;
        rows.push(Row { at, cells });
    }
    Ok((table.columns, rows))
}

fn decoded(bytes: &[u8], encoding: Encoding) -> Result<String, String> {
    let single_byte =
        |encoding: &'static encoding_rs::Encoding| encoding.decode_without_bom_handling(bytes).0.into_owned();
    match encoding {
        Encoding::Utf8 => {
            let text = std::str::from_utf8(bytes).map_err(|error| {
                let line = bytes[..error.valid_up_to()].split(|&byte| byte == b'\n').count();
                format!("line {line}: it is not UTF-8; set encoding, e.g. to cp1250")
            })?;
            Ok(text.to_owned())
        }
        Encoding::Cp1250 => Ok(single_byte(encoding_rs::WINDOWS_1250)),
        Encoding::Latin2 => Ok(single_byte(encoding_rs::ISO_8859_2)),
        Encoding::Cp852 => Ok(oem_cp::decode_string_complete_table(
            bytes,
            &oem_cp::code_table::DECODING_TABLE_CP852,
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn table(change: &Value) -> TableConfig {
        let mut keys = json!({"files": "*.csv", "delimiter": ";", "decimal_comma": true, "currency": "ron",
            "columns": {"sku": "cod", "name": "Denumire", "warehouse": "GEST", "on_hand": "STOC", "gross": "PRET"}});
        for (key, value) in change.as_object().unwrap() {
            keys[key] = value.clone();
        }
        serde_json::from_value(keys).unwrap()
    }

    fn read_csv(change: &Value, bytes: &[u8]) -> Result<Catalogue, String> {
        read(&table(change), "stoc.csv", bytes, DateTime::UNIX_EPOCH)
    }

    fn number(text: &str) -> Option<Decimal> {
        text.parse().ok()
    }

    const GOOD: &str = "COD;DENUMIRE;GEST;STOC;PRET\nPH-1;\"Pompă; mare\";B;1.234,50;8.999,10\nPH-1;\"Pompă; mare\";C;0,5;8999,10\n\
        S-1;Montaj;;;0\n;Fără cod;B;9;9\n";

    #[test]
    fn rows_become_products() {
        let catalogue = read_csv(&json!({}), format!("\u{feff}{GOOD}").as_bytes()).unwrap();
        let stock = &catalogue.stock("ph-1")[0];
        assert_eq!((stock.total.on_hand, stock.warehouses.len()), (number("1235"), 2));
        assert_eq!(stock.item.name.as_deref(), Some("Pompă; mare"));
        assert_eq!(stock.as_of, Some(DateTime::UNIX_EPOCH));
        let prices = catalogue.prices("PH-1");
        assert_eq!(
            (prices.len(), prices[0].gross, prices[0].currency.as_deref()),
            (1, number("8999.10"), Some("RON"))
        );
        assert_eq!(catalogue.stock("S-1")[0].total.on_hand, None, "empty is not known");
        assert!(catalogue.prices("S-1").is_empty());
    }

    #[test]
    fn letters_are_read_as_they_are_written() {
        let name = |encoding: &str, bytes: &[u8]| {
            let text = [b"COD;DENUMIRE;GEST;STOC;PRET\nA;".as_slice(), bytes, b";B;1;1\n"].concat();
            read_csv(&json!({"encoding": encoding}), &text).map(|read| read.stock("A")[0].item.name.clone().unwrap())
        };
        assert_eq!(name("cp1250", b"Pomp\xe3 \xba\xfe").unwrap(), "Pompă şţ");
        assert_eq!(name("cp852", b"Pomp\xc7 \xad\xee").unwrap(), "Pompă şţ");
        assert_eq!(name("iso-8859-2", b"Pomp\xe3").unwrap(), "Pompă");
        assert!(
            name("utf-8", b"Pomp\xe3")
                .unwrap_err()
                .contains("line 2: it is not UTF-8")
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_without_its_cells() {
        let problem = |text: &str| read_csv(&json!({}), text.as_bytes()).err().unwrap();
        assert!(problem("").contains("no rows"));
        assert!(problem("COD;DENUMIRE;GEST;STOC;PRET\n").contains("no rows"));
        assert!(problem("COD;STOC\nA;1\n").contains("no column"));
        assert!(problem("COD;DENUMIRE;GEST;STOC;PRET;stoc\nA;b;c;1;1;1\n").contains("two columns STOC"));
        let error = problem(&format!("{GOOD}X-1;Nume;B;secret@example.ro;1\n"));
        assert!(
            error.contains("line 6: STOC is no number") && !error.contains("secret"),
            "{error}"
        );
        let error = problem(&format!("{GOOD}X-1;Nu"));
        assert!(error.contains("line 6: it has 2 cells, and is to have 5"), "{error}");
    }
}
