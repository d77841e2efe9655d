//! `kt pack diff`: what differs between two packs, for people who review one.

mod defaults;
mod tree;

use std::path::Path;

use kt_policy::pack::Pack;
use kt_proto::{signed, v1};
use serde::Serialize;

use self::{defaults::Defaults, tree::Change};
use super::{name_and_version, versions};
use crate::{
    commands::{assign, pack_file},
    exit::{CliError, Exit},
    output::{
        Format, print,
        sanitize::{clean, clean_source},
    },
    server::{self, ServerArgs, Session},
};

/// Shows what differs.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The older side: `NAME@VERSION`, `FLEET:head`, `FLEET:GENERATION` or a file.
    #[arg(value_name = "FROM")]
    from: String,

    /// The newer side, in the same forms.
    #[arg(value_name = "TO")]
    to: String,

    /// The differing lines too, as a unified diff.
    #[arg(long)]
    text: bool,

    #[command(flatten)]
    server: ServerArgs,
}

/// A side as it was asked for.
enum Side<'a> {
    File(&'a Path),
    Version(&'a str, &'a str),
    /// Without a generation: the head.
    Fleet(&'a str, Option<u64>),
}

#[derive(Serialize)]
struct Report {
    from: Named,
    to: Named,
    changes: Vec<Change>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

#[derive(Serialize)]
struct Named {
    side: String,
    name: String,
    version: String,
    digest: String,
}

/// Compares.
pub(crate) fn run(format: Format, args: &Args) -> Result<Exit, CliError> {
    let sides = [side(&args.from)?, side(&args.to)?];
    let [from, to] = if sides.iter().all(|side| matches!(side, Side::File(_))) {
        // Nothing to ask anybody.
        let read = |side: &Side<'_>| match side {
            Side::File(path) => pack_file::read(path),
            Side::Version(..) | Side::Fleet(..) => Ok(Vec::new()),
        };
        let [from, to] = &sides;
        [read(from)?, read(to)?]
    } else {
        server::run(&args.server, async |session| {
            let [from, to] = &sides;
            Ok([source(&session, from).await?, source(&session, to).await?])
        })?
    };
    let old = parse(&args.from, &from)?;
    let new = parse(&args.to, &to)?;
    let mut changes = tree::changes(&value(&old)?, &value(&new)?);
    let defaults = Defaults::load();
    changes.iter_mut().for_each(|change| defaults.strip(change));
    let report = Report {
        changes,
        text: (args.text && from != to).then(|| unified(args, &from, &to)),
        from: named(&args.from, &old, &from),
        to: named(&args.to, &new, &to),
    };
    print(format, &report, |out| human(out, &report))?;
    Ok(if from == to { Exit::Success } else { Exit::Findings })
}

fn side(written: &str) -> Result<Side<'_>, CliError> {
    let path = Path::new(written);
    let is_file =
        path.try_exists().map_err(|error| CliError::usage(format!("can't look at `{written}`: {error}")))?;
    if is_file || written.contains('/') {
        return Ok(Side::File(path));
    }
    if let Some((name, version)) = name_and_version(written) {
        return Ok(Side::Version(name, version));
    }
    match written.rsplit_once(':') {
        Some((fleet, "head")) if !fleet.is_empty() => Ok(Side::Fleet(fleet, None)),
        Some((fleet, generation)) if !fleet.is_empty() => generation
            .parse()
            .map(|generation| Side::Fleet(fleet, Some(generation)))
            .map_err(|_| CliError::usage(format!("`{written}` has no generation after the `:`"))),
        _ => Err(CliError::usage(format!("`{written}` is no file, and no version of a pack"))
            .with_help("write `NAME@VERSION`, `FLEET:head`, `FLEET:GENERATION`, or the path of a file")),
    }
}

async fn source(session: &Session, side: &Side<'_>) -> Result<Vec<u8>, CliError> {
    let statement = match side {
        Side::File(path) => return pack_file::read(path),
        Side::Version(name, version) => return versions::bytes(session, name, version).await,
        Side::Fleet(name, None) => assign::statement(&assign::fleet(session, name).await?)?
            .ok_or_else(|| CliError::failure(format!("the fleet `{name}` enforces nothing yet")))?,
        Side::Fleet(name, Some(generation)) => {
            let read = |past: &v1::Assignment| {
                let signed = past.assignment.as_ref()?;
                signed::read::<v1::AssignmentStatement>(signed)
                    .ok()
                    .filter(|past| past.generation == *generation)
            };
            let past =
                assign::history(session, name, |all| all.iter().any(|past| read(past).is_some())).await?;
            past.iter().find_map(read).ok_or_else(|| {
                CliError::failure(format!("the fleet `{name}` never had generation {generation}"))
                    .with_help("`kt fleet history` shows those that it had")
            })?
        }
    };
    let [pack] = &*statement.packs else {
        return Err(CliError::failure(format!("generation {} does not name one pack", statement.generation)));
    };
    versions::bytes(session, &pack.name, &pack.version).await
}

/// The pack as it is read, with the settings that kinds in the chain have without a block.
fn parse(side: &str, source: &[u8]) -> Result<Pack, CliError> {
    let (parsed, findings) = kt_policy::pack::parse(source);
    let Some(parsed) = parsed else {
        pack_file::draw(Path::new(side), source, &findings)?;
        return Err(CliError::usage(format!("`{side}` can't be read as a pack")));
    };
    Ok(defaults::filled(parsed.pack))
}

fn value(pack: &Pack) -> Result<serde_json::Value, CliError> {
    serde_json::to_value(pack).map_err(|error| CliError::failure(format!("can't compare the packs: {error}")))
}

fn named(side: &str, pack: &Pack, source: &[u8]) -> Named {
    Named {
        side: side.to_owned(),
        name: pack.pack.name.clone(),
        version: pack.pack.version.to_string(),
        digest: format!("sha256:{}", kt_audit::Digest::of(source)),
    }
}

fn unified(args: &Args, from: &[u8], to: &[u8]) -> String {
    let (from, to) = (String::from_utf8_lossy(from), String::from_utf8_lossy(to));
    let diff = similar::TextDiff::from_lines(&*from, &*to);
    diff.unified_diff().context_radius(3).header(&args.from, &args.to).to_string()
}

fn human(out: &mut dyn std::io::Write, report: &Report) -> std::io::Result<()> {
    let name = |side: &Named| format!("{}@{}", side.name, side.version);
    let (from, to) = (name(&report.from), name(&report.to));
    if report.from.digest == report.to.digest {
        return writeln!(out, "{}: the same bytes", clean(&from));
    }
    writeln!(out, "{} → {}", clean(&from), clean(&to))?;
    if report.changes.is_empty() {
        writeln!(out, "  nothing but comments, order of keys or ways to write it")?;
    }
    let mut section = "";
    for change in &report.changes {
        let (heading, rest) = change.heading();
        if heading != section {
            writeln!(out, "{}", clean(heading))?;
            section = heading;
        }
        for line in change.lines(rest) {
            writeln!(out, "  {}", clean(&line))?;
        }
    }
    if let Some(text) = &report.text {
        write!(out, "\n{}", clean_source(text))?;
    }
    Ok(())
}
