//! `kt pack publish`

use std::path::{Path, PathBuf};

use kt_policy::diag::{self, Code, Diagnostic, Severity, Span};
use kt_proto::{signed, v1};
use serde::Serialize;
use uuid::Uuid;

use super::statement_file;
use crate::{
    commands::{
        assign::{self, Choice, Plan},
        pack_file,
        rollout::{self, ChangeArgs, Outcome},
        signing::Signing,
    },
    exit::{CliError, Exit},
    output::{Format, print, sanitize::clean},
    server::{self, Session, view},
};

/// Uploads a pack and makes a fleet enforce it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The pack.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The fleet.
    #[arg(long, value_name = "FLEET", default_value = "default")]
    fleet: String,

    /// Says what would be done, and changes nothing.
    #[arg(long)]
    dry_run: bool,

    /// Only while the fleet has this generation; 0: while it has none.
    #[arg(long, value_name = "GENERATION")]
    expect_generation: Option<u64>,

    /// A statement that `kt pack sign` made; repeat it for several signers.
    #[arg(long = "signature", value_name = "FILE", conflicts_with_all = ["expires_in", "unsigned"])]
    signatures: Vec<PathBuf>,

    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Serialize)]
struct DryRun {
    pack: Option<view::PackRef>,
    fleet: String,
    generation: Option<u64>,
    replaces: Vec<view::PackRef>,
    unchanged: bool,
    findings: Vec<view::Finding>,
}

/// Publishes.
pub(crate) fn run(format: Format, args: &Args) -> Result<Exit, CliError> {
    let source = pack_file::read(&args.file)?;
    if source.len() > kt_policy::yaml::MAX_BYTES {
        let found = kt_policy::check(&source, &crate::commands::lint_options()).findings;
        pack_file::draw(&args.file, &source, &found)?;
        return Ok(Exit::Findings);
    }
    let signing = args.change.sign.load()?;
    let made = match &*args.signatures {
        [] => None,
        files => Some(made(args, &source, files, &signing)?),
    };
    server::run(&args.change.server, async |session| {
        if args.dry_run {
            dry_run(&session, format, args, &source).await
        } else {
            publish(&session, format, args, &source, &signing, made).await
        }
    })
}

/// The statement of `--signature`, which must be about this pack and this fleet.
fn made(
    args: &Args,
    source: &[u8],
    files: &[PathBuf],
    signing: &Signing,
) -> Result<(v1::SignedStatement, v1::AssignmentStatement), CliError> {
    let (mut signed, statement) = statement_file::read_all(files)?;
    if statement.fleet != args.fleet {
        return Err(CliError::usage(format!(
            "the statement is for the fleet `{}`, not `{}`",
            statement.fleet, args.fleet
        ))
        .with_help(format!("publish with `--fleet {}`, or sign again", statement.fleet)));
    }
    let digest = kt_audit::Digest::of(source);
    if !matches!(&*statement.packs, [pack] if pack.digest == digest.0) {
        let packs: Vec<String> = statement.packs.iter().map(ToString::to_string).collect();
        return Err(CliError::usage(format!(
            "the statement is about {}, and not about the bytes of `{}`",
            packs.join(","),
            args.file.display()
        ))
        .with_help("sign this very file again: a single other byte is another pack"));
    }
    for signer in &signing.signers {
        signed::countersign::<v1::AssignmentStatement>(&mut signed, signer);
    }
    Ok((signed, statement))
}

async fn publish(
    session: &Session,
    format: Format,
    args: &Args,
    source: &[u8],
    signing: &Signing,
    made: Option<(v1::SignedStatement, v1::AssignmentStatement)>,
) -> Result<Exit, CliError> {
    // One id for all attempts and both steps: what was done already is not done twice.
    let request_id = Uuid::now_v7();
    let Some(version) = upload(session, format, args, source, request_id).await? else {
        return Ok(Exit::Findings);
    };
    let pack = version.pack.unwrap_or_default();
    let plan = Plan {
        fleet: &args.fleet,
        kind: v1::AssignmentKind::Publish,
        reason: &args.change.message,
        request_id,
        signing,
        expected: args.expect_generation,
    };
    let assigned = match made {
        Some((signed, statement)) => {
            assign::assign_made(session, &plan, signed, statement.generation).await?
        }
        None => {
            assign::assign(session, &plan, async |fleet| {
                let is_head = is_head(fleet, &pack)?;
                let signed = fleet.head.as_ref().and_then(|head| head.assignment.as_ref());
                let is_signed = signed.is_some_and(|signed| signing.has_signed(signed));
                if is_head && is_signed && signing.expires_us == 0 && fleet.divergence.is_none() {
                    return Ok(Choice::Nothing);
                }
                Ok(Choice::Packs(vec![pack.clone()]))
            })
            .await?
        }
    };
    rollout::finish(session, format, Outcome::new("published", &args.fleet, assigned), &args.change.wait)
        .await
}

/// Whether the fleet enforces exactly this version.
fn is_head(fleet: &v1::Fleet, pack: &v1::PackRef) -> Result<bool, CliError> {
    Ok(assign::statement(fleet)?.is_some_and(|head| *head.packs == *std::slice::from_ref(pack)))
}

/// Uploads; absent when the pack was refused, and the findings are drawn or printed.
async fn upload(
    session: &Session,
    format: Format,
    args: &Args,
    source: &[u8],
    request_id: Uuid,
) -> Result<Option<v1::PackVersion>, CliError> {
    let request = v1::UploadPackRequest {
        source: source.to_vec().into(),
        message: args.change.message.clone(),
        request_id: request_id.to_string(),
    };
    let answer =
        session.call(request, async |session, request| session.packs().upload_pack(request).await).await?;
    match answer.result {
        Some(v1::upload_pack_response::Result::Stored(version)) => {
            draw(&args.file, source, &version.warnings)?;
            Ok(Some(version))
        }
        Some(v1::upload_pack_response::Result::Refused(refused)) => {
            refuse(format, args, source, &refused.findings)?;
            Ok(None)
        }
        None => Err(CliError::failure("the control plane does not say what became of the upload")),
    }
}

fn refuse(format: Format, args: &Args, source: &[u8], findings: &[v1::Finding]) -> Result<(), CliError> {
    draw(&args.file, source, findings)?;
    if format != Format::Table {
        let refused = DryRun {
            pack: None,
            fleet: args.fleet.clone(),
            generation: None,
            replaces: Vec::new(),
            unchanged: true,
            findings: findings.iter().map(view::Finding::from).collect(),
        };
        print(format, &refused, |_| Ok(()))?;
    }
    Ok(())
}

async fn dry_run(session: &Session, format: Format, args: &Args, source: &[u8]) -> Result<Exit, CliError> {
    let request = v1::CheckPackRequest { source: source.to_vec().into() };
    let checked =
        session.call(request, async |session, request| session.packs().check_pack(request).await).await?;
    let Some(pack) = checked.pack else {
        refuse(format, args, source, &checked.findings)?;
        return Ok(Exit::Findings);
    };
    draw(&args.file, source, &checked.findings)?;
    let fleet = assign::fleet(session, &args.fleet).await?;
    let head = assign::statement(&fleet)?;
    let generation = head.as_ref().map_or(0, |head| head.generation);
    if args.expect_generation.is_some_and(|expected| expected != generation) {
        return Err(CliError::failure(format!("the fleet `{}` has generation {generation}", args.fleet)));
    }
    let unchanged = is_head(&fleet, &pack)?;
    let dry = DryRun {
        pack: Some((&pack).into()),
        fleet: args.fleet.clone(),
        generation: Some(if unchanged { generation } else { generation + 1 }),
        replaces: head.iter().flat_map(|head| &head.packs).map(view::PackRef::from).collect(),
        unchanged,
        findings: checked.findings.iter().map(view::Finding::from).collect(),
    };
    print(format, &dry, |out| {
        let fleet = clean(&args.fleet);
        if unchanged {
            return writeln!(
                out,
                "{} is what `{fleet}` enforces: nothing would change",
                clean(&pack.to_string())
            );
        }
        let replaces = match &*dry.replaces {
            [] => "where nothing is enforced yet".to_owned(),
            packs => format!("in place of {}", view::packs(packs)),
        };
        writeln!(
            out,
            "would publish {} to `{fleet}` as generation {}, {}",
            clean(&pack.to_string()),
            generation + 1,
            clean(&replaces)
        )
    })?;
    Ok(Exit::Success)
}

/// Draws what the control plane found, as `kt policy lint` draws what it finds.
fn draw(file: &Path, source: &[u8], findings: &[v1::Finding]) -> Result<(), CliError> {
    let mut diagnostics: Vec<Diagnostic> = findings.iter().map(diagnostic).collect();
    diag::sort(&mut diagnostics);
    pack_file::draw(file, source, &diagnostics)
}

fn diagnostic(finding: &v1::Finding) -> Diagnostic {
    let digits = finding.code.strip_prefix("KT").unwrap_or_default();
    let span = match (finding.start, finding.end) {
        (Some(start), Some(end)) => {
            usize::try_from(start).ok().zip(usize::try_from(end).ok()).map(|(start, end)| Span { start, end })
        }
        _ => None,
    };
    Diagnostic {
        code: Code(digits.parse().unwrap_or_default()),
        severity: if finding.is_error { Severity::Error } else { Severity::Warning },
        message: finding.message.clone(),
        path: finding.path.clone(),
        span,
        help: finding.help.clone(),
    }
}
