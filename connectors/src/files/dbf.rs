//! DBF files: dBase III and later, and FoxPro's.
//!
//! The crates that read them make floats of their numbers; here, a number is the text that stands in the file. The format:
//! `https://www.dbase.com/Knowledgebase/INT/db7_file_fmt.htm` and, for FoxPro's types, Microsoft's *Table File Structure*.

use rust_decimal::Decimal;

use super::config::Encoding;

/// A table's columns, and its rows as bytes, each cell without the blanks around it.
#[derive(Debug)]
pub(super) struct Dbf {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<Vec<u8>>>,
    /// What the file says of its letters.
    pub(super) encoding: Option<Encoding>,
}

struct Field {
    kind: u8,
    start: usize,
    end: usize,
}

/// Where the descriptions of the fields begin, and how long each is.
const HEADER: usize = 32;

/// Reads a file; else what is wrong with it.
pub(super) fn read(bytes: &[u8]) -> Result<Dbf, String> {
    let header = bytes.get(..HEADER).ok_or("it is too short for a DBF file")?;
    let number = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
    let count = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
    let (start, length) = (number(8), number(10));
    // Of dBase 7, descriptions are longer.
    if header[0] & 0x07 == 4 {
        return Err("it is of dBase 7, which is not read; export it as dBase IV or FoxPro".to_owned());
    }
    if start <= HEADER || length < 2 || bytes.len() < start {
        return Err("it is no DBF file".to_owned());
    }
    let (mut columns, mut fields, mut at) = (Vec::new(), Vec::new(), 1);
    for description in bytes[HEADER..start].chunks(HEADER) {
        if description.len() < HEADER || description[0] == b'\r' {
            break;
        }
        let name = description[..11].split(|&byte| byte == 0).next().unwrap_or_default();
        let end = at + usize::from(description[16]);
        columns.push(String::from_utf8_lossy(name).trim().to_owned());
        fields.push(Field {
            kind: description[11],
            start: at,
            end,
        });
        at = end;
    }
    if fields.is_empty() || at > length {
        return Err("its fields do not fit into its records".to_owned());
    }
    let body = &bytes[start..];
    let there = body.len() / length;
    if there < count {
        return Err(format!(
            "it has {there} records, and is to have {count}: it is not complete"
        ));
    }
    let rows = body
        .chunks_exact(length)
        .take(count)
        // What is deleted stays in the file, with a star.
        .filter(|record| record[0] != b'*')
        .map(|record| {
            fields
                .iter()
                .map(|field| cell(field.kind, &record[field.start..field.end]))
                .collect()
        })
        .collect();
    Ok(Dbf {
        columns,
        rows,
        encoding: match header[29] {
            0x64 => Some(Encoding::Cp852),
            0xc8 => Some(Encoding::Cp1250),
            _ => None,
        },
    })
}

/// A cell as a text. Of types whose cells are not read, there is nothing to know.
fn cell(kind: u8, bytes: &[u8]) -> Vec<u8> {
    match kind {
        b'C' | b'D' | b'L' => trimmed(bytes).to_vec(),
        // What is too large for its field is stars.
        b'N' | b'F' => Some(trimmed(bytes))
            .filter(|text| !text.contains(&b'*'))
            .unwrap_or_default()
            .to_vec(),
        b'I' => <[u8; 4]>::try_from(bytes)
            .map(|bytes| i32::from_le_bytes(bytes).to_string().into_bytes())
            .unwrap_or_default(),
        b'Y' => <[u8; 8]>::try_from(bytes)
            .map(|bytes| Decimal::new(i64::from_le_bytes(bytes), 4).to_string().into_bytes())
            .unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = bytes.iter().position(|byte| !is_blank(byte)).unwrap_or(bytes.len());
    let end = bytes
        .iter()
        .rposition(|byte| !is_blank(byte))
        .map_or(start, |last| last + 1);
    &bytes[start..end]
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use dbase::{Date, FieldValue, Record, TableWriterBuilder};
    use proptest::prelude::*;

    use super::*;

    fn name(name: &str) -> dbase::FieldName {
        dbase::FieldName::try_from(name).unwrap()
    }

    /// A table that another program's library wrote.
    fn written() -> Vec<u8> {
        let mut file = Cursor::new(Vec::new());
        let mut writer = TableWriterBuilder::new()
            .add_character_field(name("COD"), 16)
            .add_numeric_field(name("STOC"), 18, 4)
            .add_date_field(name("DATA"))
            .add_logical_field(name("ACTIV"))
            .add_integer_field(name("NR"))
            .build_with_dest(&mut file);
        for (code, stock) in [("PH-1000", Some(0.1)), ("CZ-24", None)] {
            let mut record = Record::default();
            record.insert("COD".to_owned(), FieldValue::Character(Some(code.to_owned())));
            record.insert("STOC".to_owned(), FieldValue::Numeric(stock));
            record.insert(
                "DATA".to_owned(),
                FieldValue::Date(Some(Date::new(19, 1, 2026).unwrap())),
            );
            record.insert("ACTIV".to_owned(), FieldValue::Logical(Some(true)));
            record.insert("NR".to_owned(), FieldValue::Integer(-7));
            writer.write_record(&record).unwrap();
        }
        drop(writer);
        file.into_inner()
    }

    #[test]
    fn what_another_program_wrote_is_read_as_it_is_written() {
        let table = read(&written()).unwrap();
        assert_eq!(table.columns, ["COD", "STOC", "DATA", "ACTIV", "NR"]);
        let texts: Vec<Vec<String>> = table
            .rows
            .iter()
            .map(|row| {
                row.iter()
                    .map(|cell| String::from_utf8(cell.clone()).unwrap())
                    .collect()
            })
            .collect();
        assert_eq!(texts[0][..3], ["PH-1000", "0.1000", "20260119"]);
        assert_eq!(texts[0][4], "-7");
        assert_eq!(texts[1][..2], ["CZ-24", ""]);
    }

    #[test]
    fn a_file_that_breaks_off_is_told_from_one_that_ends() {
        let whole = written();
        let error = read(&whole[..whole.len() - 30]).unwrap_err();
        assert!(error.contains("it has 1 records, and is to have 2"), "{error}");
        for wrong in [&b""[..], b"COD;STOC\nA;1\n", &whole[..40]] {
            assert!(read(wrong).is_err());
        }
        let mut deleted = whole.clone();
        let start = usize::from(u16::from_le_bytes([whole[8], whole[9]]));
        deleted[start] = b'*';
        assert_eq!(read(&deleted).unwrap().rows.len(), 1);
    }

    proptest! {
        #[test]
        fn no_file_is_too_strange(at in 0_usize..200, byte in any::<u8>(), length in 0_usize..400) {
            let mut bytes = written();
            if let Some(one) = bytes.get_mut(at) {
                *one = byte;
            }
            bytes.truncate(length);
            let _ = read(&bytes);
        }
    }
}
