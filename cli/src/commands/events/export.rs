//! `kt events export`: whole chains out of a control plane's store, with what proves them.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use kt_audit::{
    Digest, Epoch, InstanceId, Position,
    export::{Exported, ExportedFile, Form, MANIFEST, Manifest, SignedEnd, VERSION, digest, line},
    record::{Body, Record, Retention},
    segment::{Frame, Header, Item, Scan},
    sign::{PublicKey, Signature},
};
use kt_control_plane::audit::facts::Facts;
use kt_proto::v1::{self, export_audit_response::Part};
use serde::Serialize;
use uuid::Uuid;

use super::when;
use crate::{
    commands::pack_file::counted,
    exit::{CliError, Exit},
    output::{Format, print},
    server::{self, ServerArgs},
};

/// A file is full at about this many bytes.
const FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Writes the records of a control plane into a folder: whole chains, instance by instance, with a manifest.
///
/// `segments` and `jsonl` hold the exact records, the gateway's signatures, the control plane's over the last record of
/// each run, and the tombstones of retention: `kt audit verify --export` proves them without a server. `csv` is for
/// spreadsheets; a cell that a spreadsheet would take for a formula begins with an apostrophe. Persons stand as
/// pseudonyms. The folder is there once it is whole. Needs the role auditor.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  kt events export --out audit-2026-10 --from 2026-10-01T00:00:00Z --to 2026-11-01T00:00:00Z
  kt events export --format csv --fleet payments --from 7d --out payments")]
pub(crate) struct Export {
    /// The folder to make.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// The form of the records.
    #[arg(long, value_enum, default_value_t)]
    format: FormOption,
    /// Only gateways of this fleet.
    #[arg(long)]
    fleet: Option<String>,
    /// Only records from then on: `5m`, `1h`, `7d`, or a moment (RFC 3339).
    #[arg(long, value_name = "WHEN", value_parser = when::past)]
    from: Option<Timestamp>,
    /// Only records before then.
    #[arg(long, value_name = "WHEN", value_parser = when::past)]
    to: Option<Timestamp>,
    #[command(flatten)]
    server: ServerArgs,
}

/// `--format`
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum FormOption {
    /// Segments, as gateways have them.
    #[default]
    Segments,
    /// One JSON object a line, with the exact record in it.
    Jsonl,
    /// Requests as comma-separated values.
    Csv,
}

#[derive(Serialize)]
struct Done {
    folder: PathBuf,
    records: u64,
    instances: usize,
    bytes: u64,
}

/// Exports.
pub(super) fn run(format: Format, args: &Export) -> Result<Exit, CliError> {
    if args.out.try_exists().map_err(|error| unwritable(&args.out, &error))? {
        return Err(CliError::usage(format!("`{}` is there already", args.out.display()))
            .with_help("an export is made in a new folder"));
    }
    // Beside it, so that the last step is one rename; what a run before has left goes.
    let mut name = args.out.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = args.out.with_file_name(name);
    match fs::remove_dir_all(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unwritable(&part, &error)),
        _ => fs::create_dir_all(&part).map_err(|error| unwritable(&part, &error))?,
    }
    let form = match args.format {
        FormOption::Segments => Form::Segments,
        FormOption::Jsonl => Form::Jsonl,
        FormOption::Csv => Form::Csv,
    };
    let micros = |time: Option<Timestamp>| time.map_or(0, Timestamp::as_microsecond);
    let request = v1::ExportAuditRequest {
        fleet: args.fleet.clone().unwrap_or_default(),
        instances: Vec::new(),
        from_us: micros(args.from),
        to_us: micros(args.to),
    };
    let exported = server::run(&args.server, async |session| {
        let mut stream = session
            .call(request, async |session, request| session.events().export_audit(request).await)
            .await?;
        let mut writer = Writer::new(&part, form);
        while let Some(told) = stream.message().await.map_err(|status| session.error(status))? {
            writer.take(told.part).map_err(|error| unwritable(&part, &error))?;
        }
        writer.finish()
    });
    let (witness, instances) = exported.inspect_err(|_| {
        // A half is no export; it would be in the way of the next one.
        let _ = fs::remove_dir_all(&part);
    })?;
    let manifest = Manifest {
        v: VERSION,
        format: form,
        made: Timestamp::now(),
        made_by: env!("CARGO_PKG_VERSION").to_owned(),
        fleet: args.fleet.clone(),
        from: args.from,
        to: args.to,
        witness: witness.unwrap_or(PublicKey([0; 32])),
        instances,
    };
    let text = serde_json::to_vec_pretty(&manifest)
        .map_err(|error| CliError::failure(format!("can't write the manifest: {error}")))?;
    write_synced(&part.join(MANIFEST), &text).map_err(|error| unwritable(&part, &error))?;
    fs::rename(&part, &args.out).map_err(|error| unwritable(&args.out, &error))?;
    let files = manifest.instances.iter().flat_map(|instance| &instance.files);
    let done = Done {
        folder: args.out.clone(),
        records: manifest.instances.iter().map(|instance| instance.records).sum(),
        instances: manifest.instances.len(),
        bytes: files.map(|file| file.bytes).sum(),
    };
    print(format, &done, |out| {
        let records = counted(usize::try_from(done.records).unwrap_or(usize::MAX), "record");
        let instances = counted(done.instances, "gateway");
        writeln!(out, "exported {records} of {instances} to `{}`", done.folder.display())
    })?;
    Ok(Exit::Success)
}

fn unwritable(path: &Path, error: &io::Error) -> CliError {
    CliError::failure(format!("can't write the export at `{}`: {error}", path.display()))
}

fn strange(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the control plane has answered with {what}"))
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Takes the parts of the answer as they come.
struct Writer<'a> {
    folder: &'a Path,
    form: Form,
    witness: Option<PublicKey>,
    done: Vec<Exported>,
    current: Option<Current>,
    bar: ProgressBar,
}

/// The instance that is being written.
struct Current {
    exported: Exported,
    folder: PathBuf,
    file: Option<Open>,
}

/// The file that is being written.
struct Open {
    name: String,
    out: BufWriter<File>,
    epoch: Epoch,
    bytes: u64,
    records: u64,
}

impl<'a> Writer<'a> {
    fn new(folder: &'a Path, form: Form) -> Self {
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {human_pos} of {human_len} records") {
            bar.set_style(style);
        }
        Self { folder, form, witness: None, done: Vec::new(), current: None, bar }
    }

    fn take(&mut self, part: Option<Part>) -> io::Result<()> {
        match part {
            Some(Part::Instance(told)) => self.begin(&told),
            Some(Part::Records(records)) => self.records(&records),
            Some(Part::End(end)) => self.end(&end),
            // A later server says something more.
            None => Ok(()),
        }
    }

    fn begin(&mut self, told: &v1::ExportedInstance) -> io::Result<()> {
        let instance =
            Uuid::from_slice(&told.instance).map_err(|_| strange("an instance that is no UUID"))?;
        let key = |bytes: &[u8]| {
            <[u8; 32]>::try_from(bytes).map(PublicKey).map_err(|_| strange("a key that has not 32 bytes"))
        };
        self.witness = Some(key(&told.witness_key)?);
        let tombstones = told.tombstones.iter().map(|text| serde_json::from_str(text));
        let exported = Exported {
            instance: InstanceId(instance),
            fleet: told.fleet.clone(),
            name: told.name.clone(),
            keys: told.public_keys.iter().map(|bytes| key(bytes)).collect::<io::Result<_>>()?,
            records: 0,
            files: Vec::new(),
            tombstones: tombstones.collect::<serde_json::Result<_>>()?,
            heads: Vec::new(),
        };
        let folder = self.folder.join(exported.instance.to_string());
        fs::create_dir(&folder)?;
        self.bar.inc_length(told.records);
        self.current = Some(Current { exported, folder, file: None });
        Ok(())
    }

    fn records(&mut self, records: &v1::ExportedRecords) -> io::Result<()> {
        let current = self.current.as_mut().ok_or_else(|| strange("records of nobody"))?;
        let epoch =
            Epoch(records.epoch.as_slice().try_into().map_err(|_| strange("a run that has not 16 bytes"))?);
        let instance = current.exported.instance;
        let mut seen = 0_u32;
        let mut frames = Vec::with_capacity(usize::try_from(records.count).unwrap_or(0).min(100_000));
        for item in Scan::resume(&records.frames, 0, None) {
            let Item::Frame { frame, .. } = item else {
                return Err(strange("bytes that are no records"));
            };
            frames.push(frame);
            seen += 1;
        }
        if seen != records.count {
            return Err(strange("another number of records than it says"));
        }
        let Some(first) = frames.first() else { return Ok(()) };
        let is_full =
            |open: &Open| open.bytes >= FILE_BYTES || (self.form == Form::Segments && open.epoch != epoch);
        if current.file.as_ref().is_none_or(is_full) {
            current.close()?;
            current.open(self.form, epoch, records.ordinal, first, &frames)?;
        }
        let open = current.file.as_mut().ok_or_else(|| strange("records of nobody"))?;
        match self.form {
            Form::Segments => open.write(&records.frames)?,
            Form::Jsonl => {
                for frame in &frames {
                    open.write(&line(instance, epoch, records.ordinal, frame)?)?;
                }
            }
            Form::Csv => {
                let mut rows = csv::Writer::from_writer(Vec::new());
                for frame in &frames {
                    if let Some(row) = row(instance, epoch, frame) {
                        rows.write_record(row.map(|cell| guarded(&cell)))?;
                    }
                }
                open.write(&rows.into_inner().map_err(|error| io::Error::other(error.to_string()))?)?;
            }
        }
        open.records += u64::from(seen);
        current.exported.records += u64::from(seen);
        self.bar.inc(u64::from(seen));
        Ok(())
    }

    fn end(&mut self, end: &v1::ExportedEnd) -> io::Result<()> {
        let mut current = self.current.take().ok_or_else(|| strange("an end of nobody"))?;
        current.close()?;
        let head = |head: &v1::Countersignature| {
            let covers = head.covers.as_ref()?;
            let covers = Position {
                epoch: Epoch(covers.epoch.as_slice().try_into().ok()?),
                sequence: covers.sequence,
                hash: Digest(covers.hash.as_slice().try_into().ok()?),
            };
            let signature = Signature(head.signature.as_ref()?.signature.as_slice().try_into().ok()?);
            Some(SignedEnd { covers, signed_us: head.signed_us, signature })
        };
        let heads: Option<Vec<SignedEnd>> = end.heads.iter().map(head).collect();
        current.exported.heads = heads.ok_or_else(|| strange("a signature that can't be read"))?;
        self.done.push(current.exported);
        Ok(())
    }

    fn finish(self) -> Result<(Option<PublicKey>, Vec<Exported>), CliError> {
        self.bar.finish_and_clear();
        if self.current.is_some() {
            return Err(CliError::failure("the answer of the control plane ended in the middle")
                .with_help("run it again: nothing is left of this export"));
        }
        Ok((self.witness, self.done))
    }
}

impl Current {
    fn open(
        &mut self,
        form: Form,
        epoch: Epoch,
        ordinal: u64,
        first: &Frame<'_>,
        frames: &[Frame<'_>],
    ) -> io::Result<()> {
        let number = self.exported.files.len() as u64 + 1;
        let (name, head) = match form {
            Form::Segments => {
                let header = Header {
                    instance: self.exported.instance,
                    epoch,
                    ordinal,
                    segment: number,
                    first_sequence: first.sequence,
                    previous: first.previous,
                    created_us: first.time_us,
                    // More than any record of the file asks for: what comes later in it is not known yet.
                    retention: frames
                        .iter()
                        .filter_map(asked)
                        .fold(Retention { days: u32::MAX, immutable: true }, Retention::longest),
                };
                (kt_audit::dir::layout::SegmentName::new(number).to_string(), header.encode().to_vec())
            }
            Form::Jsonl => (format!("records-{number:06}.jsonl"), Vec::new()),
            Form::Csv => {
                let mut rows = csv::Writer::from_writer(Vec::new());
                rows.write_record(COLUMNS)?;
                let head = rows.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
                (format!("requests-{number:06}.csv"), head)
            }
        };
        let file = File::create_new(self.folder.join(&name))?;
        let mut open = Open { name, out: BufWriter::new(file), epoch, bytes: 0, records: 0 };
        open.write(&head)?;
        self.file = Some(open);
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        let Some(open) = self.file.take() else { return Ok(()) };
        let file = open.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        // Read back: what is told is what is on the disk.
        let (bytes, sha256) = digest(&self.folder.join(&open.name))?;
        self.exported.files.push(ExportedFile { name: open.name, bytes, records: open.records, sha256 });
        Ok(())
    }
}

impl Open {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes)
    }
}

fn asked(frame: &Frame<'_>) -> Option<Retention> {
    Record::parse(frame.payload).ok()?.body.retention()
}

/// The columns of CSV.
const COLUMNS: [&str; 22] = [
    "time",
    "request_id",
    "instance",
    "epoch",
    "sequence",
    "hash",
    "endpoint",
    "model",
    "target",
    "target_model",
    "roles",
    "team",
    "cost_center",
    "subject",
    "status",
    "verdict",
    "end",
    "policies",
    "rules",
    "input_tokens",
    "output_tokens",
    "micro_usd",
];

/// The row of a request's end; none: the record is something else.
fn row(instance: InstanceId, epoch: Epoch, frame: &Frame<'_>) -> Option<[String; 22]> {
    let Body::Closed(closed) = Record::parse(frame.payload).ok()?.body else { return None };
    let facts = Facts::of(frame.payload);
    let text = |value: Option<String>| value.unwrap_or_default();
    let number = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
    let word = |value: serde_json::Result<serde_json::Value>| {
        value.ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    };
    let mut policies: Vec<&str> = facts.deeds.iter().map(|deed| deed.policy.as_str()).collect();
    policies.dedup();
    let rules: Vec<&str> =
        facts.deeds.iter().map(|deed| deed.rule.as_str()).filter(|rule| !rule.is_empty()).collect();
    Some([
        super::time(frame.time_us),
        closed.id.to_string(),
        instance.to_string(),
        epoch.to_string(),
        frame.sequence.to_string(),
        frame.hash(instance, epoch).to_string(),
        word(serde_json::to_value(closed.request.endpoint)),
        text(facts.model),
        text(facts.target),
        text(facts.target_model),
        text(facts.roles),
        text(facts.team),
        text(facts.cost_centre),
        facts.subject.map(|subject| subject.to_string()).unwrap_or_default(),
        facts.status.map(|status| status.to_string()).unwrap_or_default(),
        word(serde_json::to_value(closed.verdict)),
        word(serde_json::to_value(closed.end)),
        policies.join(" "),
        rules.join(" "),
        number(facts.input_tokens),
        number(facts.output_tokens),
        number(facts.micro_usd),
    ])
}

/// Spreadsheets take what begins like this for a formula, and names of models and teams come from outside.
fn guarded(cell: &str) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::guarded;

    #[test]
    fn a_cell_that_a_spreadsheet_would_run_is_text() {
        assert_eq!(guarded("=1+1"), "'=1+1");
        assert_eq!(guarded("@SUM(A1)"), "'@SUM(A1)");
        assert_eq!(guarded("llama-3"), "llama-3");
    }
}
