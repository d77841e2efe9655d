//! Rows as Parquet. The same rows give the same bytes: a repeat can be told by its digest.

use std::{borrow::Borrow, io::Write, iter};

use ::parquet::{
    basic::{Compression, ZstdLevel},
    data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int64Type},
    errors::ParquetError,
    file::{
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::parser::parse_message_type,
};

use super::{COLUMNS, Read, Row};

/// Rows can't be written; for people.
#[derive(Debug, thiserror::Error)]
#[error("parquet can't be written: {0}")]
pub struct WriteError(#[from] ParquetError);

impl From<WriteError> for std::io::Error {
    fn from(error: WriteError) -> Self {
        Self::other(error)
    }
}

/// Writes a file, one row group after the other.
pub struct Writer<W: Write + Send> {
    file: SerializedFileWriter<W>,
}

// === impl Writer ===

impl<W: Write + Send> Writer<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// When `out` does not take its first bytes.
    pub fn new(out: W) -> Result<Self, WriteError> {
        let schema = parse_message_type(&schema())?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
            .set_created_by(concat!("kt ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        Ok(Self { file: SerializedFileWriter::new(out, schema.into(), properties.into())? })
    }

    /// Writes rows as one group; all of them are in memory meanwhile.
    ///
    /// # Errors
    /// When the file does not take them; it is no file then.
    pub fn group<'r>(&mut self, rows: &[impl Borrow<Row<'r>>]) -> Result<(), WriteError> {
        let rows = || rows.iter().map(Borrow::borrow);
        let mut group = self.file.next_row_group()?;
        for column in COLUMNS {
            match column.read {
                Read::Text(read) => optional::<ByteArrayType>(
                    &mut group,
                    rows().map(|row| read(row).map(|text| ByteArray::from(text.as_ref()))),
                )?,
                Read::Integer(read) => optional::<Int64Type>(
                    &mut group,
                    rows().map(|row| read(row).map(|value| i64::try_from(value).unwrap_or(i64::MAX))),
                )?,
                Read::Boolean(read) => optional::<BoolType>(&mut group, rows().map(read))?,
                Read::Time(read) => optional::<Int64Type>(&mut group, rows().map(read))?,
                Read::Texts(read) => lists(&mut group, rows().map(read))?,
            }
        }
        group.close()?;
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// When the file does not take its last bytes.
    pub fn finish(self) -> Result<W, WriteError> {
        Ok(self.file.into_inner()?)
    }
}

/// Parquet's own words for the columns.
fn schema() -> String {
    let columns = COLUMNS.iter().map(|column| {
        let name = column.name;
        match column.read {
            Read::Text(_) => format!("OPTIONAL BYTE_ARRAY {name} (STRING);"),
            Read::Integer(_) => format!("OPTIONAL INT64 {name};"),
            Read::Boolean(_) => format!("OPTIONAL BOOLEAN {name};"),
            Read::Time(_) => format!("OPTIONAL INT64 {name} (TIMESTAMP(MICROS,true));"),
            Read::Texts(_) => format!(
                "REQUIRED GROUP {name} (LIST) {{ REPEATED GROUP list {{ REQUIRED BYTE_ARRAY element (STRING); }} }}"
            ),
        }
    });
    format!("message record {{ {} }}", columns.collect::<Vec<_>>().join(" "))
}

/// Writes the next column: definition level 1 where there is a value, 0 where there is none.
fn optional<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, impl Write + Send>,
    cells: impl Iterator<Item = Option<T::T>>,
) -> Result<(), WriteError> {
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    for cell in cells {
        levels.push(i16::from(cell.is_some()));
        values.extend(cell);
    }
    write::<T>(group, &values, &levels, None)
}

/// Writes the next column of lists: an empty one has definition level 0; repetition level 0 begins a row.
fn lists<'r>(
    group: &mut SerializedRowGroupWriter<'_, impl Write + Send>,
    cells: impl Iterator<Item = Vec<&'r str>>,
) -> Result<(), WriteError> {
    let (mut values, mut defined, mut repeated) = (Vec::new(), Vec::new(), Vec::new());
    for cell in cells {
        let more = cell.len().saturating_sub(1);
        defined.push(i16::from(!cell.is_empty()));
        defined.extend(iter::repeat_n(1, more));
        repeated.push(0);
        repeated.extend(iter::repeat_n(1, more));
        values.extend(cell.into_iter().map(ByteArray::from));
    }
    write::<ByteArrayType>(group, &values, &defined, Some(&repeated))
}

fn write<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, impl Write + Send>,
    values: &[T::T],
    defined: &[i16],
    repeated: Option<&[i16]>,
) -> Result<(), WriteError> {
    let missing = || ParquetError::General("a column of the schema is missing".to_owned());
    let mut column = group.next_column()?.ok_or_else(missing)?;
    column.typed::<T>().write_batch(values, Some(defined), repeated)?;
    column.close()?;
    Ok(())
}
