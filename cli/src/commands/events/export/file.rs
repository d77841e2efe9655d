//! One file of an export, in each of the forms.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, BufWriter, Write as _},
    path::Path,
};

#[cfg(feature = "parquet")]
use kt_audit::columns::parquet;
use kt_audit::{
    Epoch, Kind,
    columns::{COLUMNS, Row, Source},
    export::{ExportedFile, Form, digest, line},
    record::{Record, Retention},
    segment::{Frame, Header},
};
#[cfg(feature = "parquet")]
use kt_audit::{
    InstanceId,
    segment::{Item, Scan},
};

/// A file is full at about this many bytes of records.
const FILE_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes of records that are one row group of Parquet. Groups this large compress well and fit any memory.
#[cfg(feature = "parquet")]
const GROUP_BYTES: usize = 16 * 1024 * 1024;

/// Records of one run as they came.
pub(super) struct Batch<'a> {
    /// Whose they are.
    pub(super) source: Source<'a>,
    /// Their frames.
    pub(super) bytes: &'a [u8],
    /// The same, read.
    pub(super) frames: &'a [Frame<'a>],
}

/// The file that is being written.
pub(super) struct Open {
    name: String,
    form: Form,
    out: Out,
    epoch: Epoch,
    /// Bytes of records so far.
    bytes: u64,
    records: u64,
}

enum Out {
    Plain(BufWriter<File>),
    #[cfg(feature = "parquet")]
    Parquet(Box<Groups>),
}

// === impl Open ===

impl Open {
    /// The file that begins with a batch; none: the batch is empty.
    pub(super) fn create(
        folder: &Path,
        form: Form,
        number: u64,
        batch: &Batch<'_>,
    ) -> io::Result<Option<Self>> {
        let Some(first) = batch.frames.first() else { return Ok(None) };
        let name = match form {
            Form::Segments => kt_audit::dir::layout::SegmentName::new(number).to_string(),
            Form::Jsonl => format!("records-{number:06}.jsonl"),
            Form::Csv => format!("requests-{number:06}.csv"),
            Form::Parquet => format!("records-{number:06}.parquet"),
        };
        let mut file = BufWriter::new(File::create_new(folder.join(&name))?);
        match form {
            Form::Segments => file.write_all(&header(number, first, batch).encode())?,
            Form::Csv => {
                file.write_all(&csv(std::iter::once(COLUMNS.iter().map(|column| column.name.into())))?)?;
            }
            Form::Jsonl | Form::Parquet => {}
        }
        let out = match form {
            #[cfg(feature = "parquet")]
            Form::Parquet => Out::Parquet(Box::new(Groups::new(file, &batch.source)?)),
            _ => Out::Plain(file),
        };
        Ok(Some(Self { name, form, out, epoch: batch.source.epoch, bytes: 0, records: 0 }))
    }

    /// Whether records of that run begin another file.
    pub(super) fn is_full(&self, epoch: Epoch) -> bool {
        self.bytes >= FILE_BYTES || (self.form == Form::Segments && self.epoch != epoch)
    }

    pub(super) fn write(&mut self, batch: &Batch<'_>) -> io::Result<()> {
        self.bytes += batch.bytes.len() as u64;
        self.records += batch.frames.len() as u64;
        let out = match &mut self.out {
            Out::Plain(out) => out,
            #[cfg(feature = "parquet")]
            Out::Parquet(groups) => return groups.take(batch),
        };
        let source = batch.source;
        match self.form {
            Form::Csv => {
                let rows = batch.frames.iter().map(|frame| Row::new(source, *frame));
                let requests: Vec<Row<'_>> = rows.filter(|row| row.kind() == Some(Kind::Closed)).collect();
                out.write_all(&csv(requests.iter().map(Row::cells))?)
            }
            Form::Jsonl => batch.frames.iter().try_for_each(|frame| {
                out.write_all(&line(source.instance, source.epoch, source.ordinal, frame)?)
            }),
            Form::Segments | Form::Parquet => out.write_all(batch.bytes),
        }
    }

    /// Ends the file, and tells what is on the disk: it is read back.
    pub(super) fn close(self, folder: &Path) -> io::Result<ExportedFile> {
        let out = match self.out {
            Out::Plain(out) => out,
            #[cfg(feature = "parquet")]
            Out::Parquet(groups) => groups.finish()?,
        };
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        let (bytes, sha256) = digest(&folder.join(&self.name))?;
        Ok(ExportedFile { name: self.name, bytes, records: self.records, sha256 })
    }
}

fn header(number: u64, first: &Frame<'_>, batch: &Batch<'_>) -> Header {
    Header {
        instance: batch.source.instance,
        epoch: batch.source.epoch,
        ordinal: batch.source.ordinal,
        segment: number,
        first_sequence: first.sequence,
        previous: first.previous,
        created_us: first.time_us,
        // More than any record of the file asks for: what comes later in it is not known yet.
        retention: batch
            .frames
            .iter()
            .filter_map(|frame| Record::parse(frame.payload).ok()?.body.retention())
            .fold(Retention { days: u32::MAX, immutable: true }, Retention::longest),
    }
}

/// Rows as comma-separated values: everything but the exact record, which is the last column.
fn csv<'r, C: Iterator<Item = Cow<'r, str>>>(rows: impl Iterator<Item = C>) -> io::Result<Vec<u8>> {
    let mut out = csv::Writer::from_writer(Vec::new());
    for cells in rows {
        for cell in cells.take(COLUMNS.len() - 1) {
            out.write_field(guarded(cell).as_ref())?;
        }
        out.write_record(None::<&[u8]>)?;
    }
    out.into_inner().map_err(|error| io::Error::other(error.to_string()))
}

/// Spreadsheets take what begins like this for a formula, and names of models and teams come from outside.
fn guarded(cell: Cow<'_, str>) -> Cow<'_, str> {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}").into() } else { cell }
}

/// Records that wait until they are a row group.
#[cfg(feature = "parquet")]
struct Groups {
    file: parquet::Writer<BufWriter<File>>,
    instance: InstanceId,
    fleet: String,
    /// Frames of a run, with its number.
    waiting: Vec<(Epoch, u64, Vec<u8>)>,
    bytes: usize,
}

#[cfg(feature = "parquet")]
impl Groups {
    fn new(file: BufWriter<File>, source: &Source<'_>) -> io::Result<Self> {
        let file = parquet::Writer::new(file)?;
        Ok(Self {
            file,
            instance: source.instance,
            fleet: source.fleet.to_owned(),
            waiting: Vec::new(),
            bytes: 0,
        })
    }

    fn take(&mut self, batch: &Batch<'_>) -> io::Result<()> {
        self.waiting.push((batch.source.epoch, batch.source.ordinal, batch.bytes.to_vec()));
        self.bytes += batch.bytes.len();
        if self.bytes < GROUP_BYTES { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        let mut rows = Vec::new();
        for (epoch, ordinal, frames) in &waiting {
            let source =
                Source { instance: self.instance, fleet: &self.fleet, epoch: *epoch, ordinal: *ordinal };
            for item in Scan::resume(frames, 0, None) {
                if let Item::Frame { frame, .. } = item {
                    rows.push(Row::new(source, frame));
                }
            }
        }
        Ok(self.file.group(&rows)?)
    }

    fn finish(mut self) -> io::Result<BufWriter<File>> {
        if !self.waiting.is_empty() {
            self.flush()?;
        }
        Ok(self.file.finish()?)
    }
}

#[cfg(test)]
mod tests {
    use super::guarded;

    #[test]
    fn a_cell_that_a_spreadsheet_would_run_is_text() {
        assert_eq!(guarded("=1+1".into()), "'=1+1");
        assert_eq!(guarded("@SUM(A1)".into()), "'@SUM(A1)");
        assert_eq!(guarded("llama-3".into()), "llama-3");
    }
}
