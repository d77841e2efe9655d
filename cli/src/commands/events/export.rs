//! `kt events export`: whole chains out of a control plane's store, with what proves them.

mod file;

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use kt_audit::{
    Digest, Epoch, InstanceId, Position,
    columns::Source,
    export::{Exported, Form, MANIFEST, Manifest, SignedEnd, VERSION},
    segment::{Item, Scan},
    sign::{PublicKey, Signature},
};
use kt_proto::v1::{self, export_audit_response::Part};
use serde::Serialize;
use uuid::Uuid;

use self::file::{Batch, Open};
use super::when;
use crate::{
    commands::pack_file::counted,
    exit::{CliError, Exit},
    output::{Format, print},
    server::{self, ServerArgs},
};

/// Writes the records of a control plane into a folder: whole chains, instance by instance, with a manifest.
///
/// `segments` and `jsonl` hold the exact records, the gateway's signatures, the control plane's over the last record of
/// each run, and the tombstones of retention: `kt audit verify --export` proves them without a server. `parquet` has a row
/// for each record, with its exact bytes in the last column; `csv` has a row for each request and is for spreadsheets: a
/// cell that one would take for a formula begins with an apostrophe. Persons stand as pseudonyms. The folder is there once
/// it is whole. Needs the role auditor.
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
    /// Records as Parquet.
    #[cfg(feature = "parquet")]
    Parquet,
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
        #[cfg(feature = "parquet")]
        FormOption::Parquet => Form::Parquet,
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
        let fleet = current.exported.fleet.clone();
        let source =
            Source { instance: current.exported.instance, fleet: &fleet, epoch, ordinal: records.ordinal };
        let batch = Batch { source, bytes: &records.frames, frames: &frames };
        if current.file.as_ref().is_none_or(|open| open.is_full(epoch)) {
            current.close()?;
            let number = current.exported.files.len() as u64 + 1;
            current.file = Open::create(&current.folder, self.form, number, &batch)?;
        }
        if let Some(open) = &mut current.file {
            open.write(&batch)?;
        }
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
    fn close(&mut self) -> io::Result<()> {
        if let Some(open) = self.file.take() {
            self.exported.files.push(open.close(&self.folder)?);
        }
        Ok(())
    }
}
