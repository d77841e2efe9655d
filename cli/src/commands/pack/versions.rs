//! `kt pack versions|show|download`

use std::{fs, io::Write as _, path::PathBuf};

use kt_proto::v1;
use serde::Serialize;
use tokio_stream::StreamExt as _;

use super::name_and_version;
use crate::{
    exit::{CliError, Exit},
    output::{Format, facts, note, print, table},
    server::{self, ServerArgs, Session, view},
};

/// Lists versions.
#[derive(Debug, clap::Args)]
pub(crate) struct Versions {
    /// The pack; without it, versions of all packs.
    name: Option<String>,

    /// The most that are shown.
    #[arg(long, default_value_t = 50)]
    limit: usize,

    #[command(flatten)]
    server: ServerArgs,
}

/// Shows a version.
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// `NAME@VERSION`, or `NAME` for the highest version.
    #[arg(value_name = "PACK")]
    pack: String,

    #[command(flatten)]
    server: ServerArgs,
}

/// Writes a version's bytes.
#[derive(Debug, clap::Args)]
pub(crate) struct Download {
    /// `NAME@VERSION`
    #[arg(value_name = "PACK")]
    pack: String,

    /// Writes to this new file in place of stdout.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    version: view::PackVersion,
    fleets: Vec<String>,
}

pub(super) fn list(format: Format, args: &Versions) -> Result<Exit, CliError> {
    let versions = server::run(&args.server, async |session| versions(&session, args).await)?;
    print(format, &versions, |out| {
        let rows = versions.iter().map(|version| {
            [
                version.pack.name.clone(),
                version.pack.version.clone(),
                short(&version.pack.digest),
                view::time(version.uploaded),
                view::or_dash(&version.uploaded_by),
                view::or_dash(&version.message),
            ]
        });
        write!(out, "{}", table(["PACK", "VERSION", "DIGEST", "UPLOADED", "BY", "WHY"], rows))
    })?;
    Ok(Exit::Success)
}

async fn versions(session: &Session, args: &Versions) -> Result<Vec<view::PackVersion>, CliError> {
    let mut all = Vec::new();
    let mut page_token = String::new();
    while all.len() < args.limit {
        let request = v1::ListPackVersionsRequest {
            name: args.name.clone().unwrap_or_default(),
            limit: u32::try_from((args.limit - all.len()).min(200)).unwrap_or(200),
            page_token: page_token.clone(),
        };
        let page = session
            .call(request, async |session, request| session.packs().list_pack_versions(request).await)
            .await?;
        all.extend(page.versions.iter().map(view::PackVersion::from));
        if page.next_page_token.is_empty() || page.next_page_token == page_token {
            break;
        }
        page_token = page.next_page_token;
    }
    all.truncate(args.limit);
    Ok(all)
}

pub(super) fn show(format: Format, args: &Show) -> Result<Exit, CliError> {
    let (name, version) = name_and_version(&args.pack).unwrap_or((&args.pack, ""));
    let request = v1::GetPackVersionRequest { name: name.to_owned(), version: version.to_owned() };
    let answer = server::run(&args.server, async |session| {
        Ok(session
            .call(request, async |session, request| session.packs().get_pack_version(request).await)
            .await?)
    })?;
    let shown = Shown { version: (&answer.version.unwrap_or_default()).into(), fleets: answer.fleets };
    print(format, &shown, |out| {
        let version = &shown.version;
        let mut lines = vec![
            ("pack", version.pack.to_string()),
            ("digest", version.pack.digest.clone()),
            ("size", format!("{} bytes", version.pack.size)),
            ("uploaded", format!("{} by {}", view::time(version.uploaded), version.uploaded_by)),
            ("why", view::or_dash(&version.message)),
            ("enforced in", view::or_dash(&shown.fleets.join(", "))),
            ("needs", view::or_dash(&version.features.join(", "))),
        ];
        for warning in &version.warnings {
            let line = warning.line.map(|line| format!(" line {line}")).unwrap_or_default();
            lines.push(("warning", format!("{} {}{line}: {}", warning.code, warning.path, warning.message)));
        }
        write!(out, "{}", facts(lines))
    })?;
    Ok(Exit::Success)
}

/// The first digits of a digest: enough to tell two apart.
fn short(digest: &str) -> String {
    let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
    digits.chars().take(12).collect()
}

pub(super) fn download(args: &Download) -> Result<Exit, CliError> {
    let Some((name, version)) = name_and_version(&args.pack) else {
        return Err(CliError::usage(format!("`{}` is not `NAME@VERSION`", args.pack))
            .with_help("`kt pack versions` lists them"));
    };
    let source = server::run(&args.server, async |session| bytes(&session, name, version).await)?;
    let Some(path) = &args.out else {
        let mut out = anstream::stdout().into_inner().lock();
        out.write_all(&source)?;
        out.flush()?;
        return Ok(Exit::Success);
    };
    let failed =
        |error: std::io::Error| CliError::failure(format!("can't write `{}`: {error}", path.display()));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(&source).and_then(|()| file.sync_all()).map_err(failed)?;
    note(&format!("wrote {} bytes to `{}`", source.len(), path.display()));
    Ok(Exit::Success)
}

/// The exact bytes of a version, held against its digest.
pub(super) async fn bytes(session: &Session, name: &str, version: &str) -> Result<Vec<u8>, CliError> {
    let request = v1::GetPackVersionRequest { name: name.to_owned(), version: version.to_owned() };
    let known = session
        .call(request, async |session, request| session.packs().get_pack_version(request).await)
        .await?;
    let pack = known.version.and_then(|version| version.pack).unwrap_or_default();
    let request = v1::DownloadPackRequest { name: pack.name.clone(), version: pack.version.clone() };
    let mut stream =
        session.call(request, async |session, request| session.packs().download_pack(request).await).await?;
    let mut source = Vec::new();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|status| session.error(status))?;
        source.extend_from_slice(&piece.chunk);
        if source.len() > kt_policy::yaml::MAX_BYTES {
            return Err(CliError::failure(format!("the source of `{pack}` is larger than a pack may be")));
        }
    }
    if kt_audit::Digest::of(&source).0 != *pack.digest {
        return Err(CliError::failure(format!(
            "the source of `{pack}` does not have the digest of that version"
        ))
        .with_help("try again; if it stays so, the store of the control plane is damaged"));
    }
    Ok(source)
}
