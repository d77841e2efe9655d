//! `kt audit verify`

use std::{
    fs,
    path::{Path, PathBuf},
};

use kt_audit::{Position, export, record::DropReason, sign::PublicKey, verify::Report};
use kt_proto::v1;
use serde::Serialize;

use super::{
    events::{open, time, unreadable},
    pack_file::counted,
};
use crate::{
    exit::{CliError, Exit},
    output::{Format, note, print, sanitize::clean},
    server::{self, ServerArgs},
};

/// Verifies the chain of an audit directory, of an export, or of every gateway that sends its records to a control plane, and
/// names the first break of each kind.
///
/// Exits 0 when it is whole, 1 when something is broken, 2 when it can't be read.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The audit directory; without it the control plane is asked.
    #[arg(long, value_name = "FOLDER", env = "KEEPTRUSTS_GATEWAY_AUDIT_DIR")]
    audit_dir: Option<PathBuf>,

    /// The folder of an export, as `kt events export` makes it.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["audit_dir", "fleet"])]
    export: Option<PathBuf>,

    /// Only gateways of this fleet; of a control plane.
    #[arg(long, conflicts_with = "audit_dir")]
    fleet: Option<String>,

    /// Public keys to trust, one a line, kept apart from the log or the export; of an export the control plane's too.
    /// Without them the keys beside the log are used, which proves less: who can rewrite the log can replace them too.
    #[arg(long, value_name = "FILE")]
    trust_keys: Option<PathBuf>,

    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Serialize)]
struct Verified {
    intact: bool,
    trusted_keys: &'static str,
    /// Whether the file is there that says, signed, how far the chain went.
    signed_head: bool,
    #[serde(flatten)]
    report: Report,
}

/// Verifies the chain of an audit directory and names the first break of each kind.
///
/// Exits 0 when it is whole, 1 when something is broken, 2 when it can't be read.
#[derive(Debug, clap::Args)]
pub(crate) struct Local {
    /// The audit directory.
    #[arg(long, value_name = "FOLDER", env = "KEEPTRUSTS_GATEWAY_AUDIT_DIR")]
    audit_dir: PathBuf,

    /// Public keys to trust, one a line, kept apart from the log. Without them the keys beside the log are used, which
    /// proves less: who can rewrite the log can replace them too.
    #[arg(long, value_name = "FILE")]
    trust_keys: Option<PathBuf>,
}

impl Local {
    /// Which directory.
    pub(super) fn audit_dir(&self) -> &Path {
        &self.audit_dir
    }
}

/// Verifies.
pub(crate) fn run(format: Format, args: Args) -> Result<Exit, CliError> {
    match (&args.export, &args.audit_dir) {
        (Some(folder), _) => export(format, folder, args.trust_keys.as_ref()),
        (None, Some(audit_dir)) => {
            let local = Local { audit_dir: audit_dir.clone(), trust_keys: args.trust_keys.clone() };
            verify(format, &local, &[])
        }
        (None, None) if args.trust_keys.is_some() => {
            Err(CliError::usage("`--trust-keys` goes with `--audit-dir` or `--export`")
                .with_help("a control plane verifies with the keys that it holds"))
        }
        (None, None) => remote(format, &args),
    }
}

#[derive(Serialize)]
struct Export {
    intact: bool,
    trusted_keys: &'static str,
    #[serde(flatten)]
    verified: export::Verified,
}

/// Verifies an export, with no server.
fn export(format: Format, folder: &Path, trust_keys: Option<&PathBuf>) -> Result<Exit, CliError> {
    let keys = trust_keys.map(read_keys).transpose()?;
    let verified = export::verify(folder, keys.as_deref()).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        CliError::usage(format!("{error}{cause}"))
    })?;
    let trusted_keys = if keys.is_some() { "given" } else { "beside the log" };
    let shown = Export { intact: verified.is_intact(), trusted_keys, verified };
    let is_proof = shown.verified.format.is_proof();
    print(format, &shown, |out| {
        for instance in &shown.verified.instances {
            let report = &instance.report;
            let is_whole = instance.changed_files.is_empty() && report.is_intact();
            let state = if is_whole { "intact" } else { "broken" };
            let (id, fleet) = (instance.instance, clean(&instance.fleet));
            if is_proof {
                let records = counted(usize::try_from(report.records).unwrap_or(usize::MAX), "record");
                let checkpoints =
                    counted(usize::try_from(report.checkpoints).unwrap_or(usize::MAX), "signed checkpoint");
                writeln!(out, "{state}: {records} of {id} (fleet `{fleet}`), {checkpoints}")?;
            } else {
                writeln!(out, "{state}: the files of {id} (fleet `{fleet}`)")?;
            }
            for name in &instance.changed_files {
                writeln!(out, "  `{}` is not the file of the manifest", clean(name))?;
            }
            for found in &report.breaks {
                let more = report.counts.get(&found.kind).map_or(0, |count| count.saturating_sub(1));
                let more = if more > 0 { format!(" ({more} more)") } else { String::new() };
                writeln!(out, "  {}{more}", clean(&found.to_string()))?;
            }
        }
        if shown.verified.instances.is_empty() {
            writeln!(out, "the export has no records")?;
        }
        Ok(())
    })?;
    if format == Format::Table && !is_proof {
        note(
            "note: csv holds no exact records: that the files are those of the manifest is all that can be shown",
        );
    } else if format == Format::Table && keys.is_none() {
        note("note: the keys of the manifest were trusted; --trust-keys names keys kept elsewhere");
    }
    Ok(if shown.intact { Exit::Success } else { Exit::Findings })
}

/// Verifies, and that these records are there.
pub(super) fn verify(format: Format, args: &Local, known: &[Position]) -> Result<Exit, CliError> {
    let dir = open(&args.audit_dir)?;
    let keys = args.trust_keys.as_ref().map(read_keys).transpose()?;
    // A head that can't be read is a break in the report.
    let signed_head = !matches!(dir.head(), Ok(None));
    let report = dir.verify(keys.as_deref(), known).map_err(|error| unreadable(&error))?;
    let verified = Verified {
        intact: report.is_intact(),
        trusted_keys: if keys.is_some() { "given" } else { "beside the log" },
        signed_head,
        report,
    };
    let report = &verified.report;
    print(format, &verified, |out| {
        let records = counted(usize::try_from(report.records).unwrap_or(usize::MAX), "record");
        let segments = counted(usize::try_from(report.segments).unwrap_or(usize::MAX), "segment");
        if verified.intact {
            let checkpoints =
                counted(usize::try_from(report.checkpoints).unwrap_or(usize::MAX), "signed checkpoint");
            writeln!(out, "intact: {records} in {segments}, {checkpoints}")?;
        } else {
            writeln!(out, "broken: {records} read in {segments}")?;
        }
        for found in &report.breaks {
            let more = report.counts.get(&found.kind).map_or(0, |count| count.saturating_sub(1));
            let more = if more > 0 { format!(" ({more} more)") } else { String::new() };
            writeln!(out, "  {}{more}", clean(&found.to_string()))?;
        }
        if let Some((first, last)) = report.times_us {
            writeln!(out, "  from {} to {}", time(first), time(last))?;
        }
        if report.unsigned_records > 0 {
            writeln!(out, "  {} after the last signature", report.unsigned_records)?;
        }
        if !verified.signed_head {
            writeln!(out, "  no `head.json`: records cut off after the last signature would not be missed")?;
        }
        for (reason, count) in &report.dropped {
            let records = counted(usize::try_from(*count).unwrap_or(usize::MAX), "record");
            writeln!(out, "  {records} dropped, as the log itself says: {}", dropped_because(*reason))?;
        }
        Ok(())
    })?;
    if format == Format::Table && keys.is_none() {
        note("note: the keys beside the log were trusted; --trust-keys names keys kept elsewhere");
    }
    Ok(if verified.intact { Exit::Success } else { Exit::Findings })
}

#[derive(Serialize)]
struct Remote {
    intact: bool,
    instances: Vec<Instance>,
}

#[derive(Serialize)]
struct Instance {
    instance: String,
    fleet: String,
    records: u64,
    checkpoints: u64,
    /// Whether the control plane has countersigned a part of it.
    countersigned: bool,
    breaks: Vec<String>,
}

impl From<v1::VerifiedInstance> for Instance {
    fn from(verified: v1::VerifiedInstance) -> Self {
        Self {
            instance: uuid::Uuid::from_slice(&verified.instance).unwrap_or_default().to_string(),
            fleet: verified.fleet,
            records: verified.records,
            checkpoints: verified.checkpoints,
            countersigned: verified.countersigned_through.is_some(),
            breaks: verified.breaks.into_iter().map(|found| found.message).collect(),
        }
    }
}

/// Has the control plane verify what it keeps.
fn remote(format: Format, args: &Args) -> Result<Exit, CliError> {
    let request =
        v1::VerifyAuditRequest { fleet: args.fleet.clone().unwrap_or_default(), instances: Vec::new() };
    let instances: Vec<Instance> = server::run(&args.server, async |session| {
        let mut stream = session
            .call(request, async |session, request| session.events().verify_audit(request).await)
            .await?;
        let mut instances = Vec::new();
        while let Some(told) = stream.message().await.map_err(|status| session.error(status))? {
            instances.extend(told.instance.map(Instance::from));
        }
        Ok(instances)
    })?;
    let verified = Remote { intact: instances.iter().all(|instance| instance.breaks.is_empty()), instances };
    print(format, &verified, |out| {
        for instance in &verified.instances {
            let records = counted(usize::try_from(instance.records).unwrap_or(usize::MAX), "record");
            let checkpoints =
                counted(usize::try_from(instance.checkpoints).unwrap_or(usize::MAX), "signed checkpoint");
            let state = if instance.breaks.is_empty() { "intact" } else { "broken" };
            let fleet = clean(&instance.fleet);
            let countersigned = if instance.countersigned { ", countersigned" } else { "" };
            let Instance { instance: id, breaks, .. } = instance;
            writeln!(out, "{state}: {records} of {id} (fleet `{fleet}`), {checkpoints}{countersigned}")?;
            for found in breaks {
                writeln!(out, "  {}", clean(found))?;
            }
        }
        if verified.instances.is_empty() {
            writeln!(out, "no gateway has sent records")?;
        }
        Ok(())
    })?;
    Ok(if verified.intact { Exit::Success } else { Exit::Findings })
}

fn dropped_because(reason: DropReason) -> &'static str {
    match reason {
        DropReason::QueueFull => "the queue was full",
        DropReason::NoSpace => "there was no space",
        DropReason::Io => "the disk refused the write",
        DropReason::TooLarge => "they were too large",
        DropReason::ShuttingDown => "the gateway was stopping",
    }
}

fn read_keys(path: &PathBuf) -> Result<Vec<PublicKey>, CliError> {
    let text = fs::read_to_string(path)
        .map_err(|error| CliError::usage(format!("can't read `{}`: {error}", path.display())))?;
    let keys: Result<Vec<PublicKey>, _> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::parse).collect();
    match keys {
        Ok(keys) if !keys.is_empty() => Ok(keys),
        _ => Err(CliError::usage(format!("`{}` does not hold public keys, one a line", path.display()))),
    }
}
