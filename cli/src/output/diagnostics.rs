//! Draws what is wrong in a pack: the line, the place, what to do.

use std::io::{self, Write as _};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, renderer::DecorStyle};
use kt_policy::diag::{Diagnostic, Severity};

use super::sanitize::{clean, clean_source};

/// Draws `diagnostics` of the file `name` on stderr, in the order given.
pub(crate) fn draw(name: &str, source: &str, diagnostics: &[Diagnostic]) -> io::Result<()> {
    let mut err = anstream::stderr().lock();
    let renderer = Renderer::styled().decor_style(DecorStyle::Ascii);
    for diagnostic in diagnostics {
        writeln!(err, "{}\n", render(&renderer, name, source, diagnostic))?;
    }
    Ok(())
}

/// One diagnostic, drawn without colour.
#[cfg(test)]
pub(crate) fn plain(name: &str, source: &str, diagnostic: &Diagnostic) -> String {
    render(&Renderer::plain().decor_style(DecorStyle::Ascii), name, source, diagnostic)
}

fn render(renderer: &Renderer, name: &str, source: &str, diagnostic: &Diagnostic) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let source = clean_source(source);
    let name = clean(name);
    let message = clean(&diagnostic.message);
    let mut group = Group::with_title(level.primary_title(message).id(diagnostic.code.to_string()));
    if let Some(span) = diagnostic.span {
        let end = span.end.min(source.len());
        let start = span.start.min(end);
        let mut annotation = AnnotationKind::Primary.span(start..end);
        if !diagnostic.path.is_empty() {
            annotation = annotation.label(clean(&diagnostic.path).into_owned());
        }
        group = group.element(Snippet::source(source.as_ref()).path(name.as_ref()).annotation(annotation));
    } else if !diagnostic.path.is_empty() {
        // Binding looks at the compiled pack, which has paths and no places.
        group = group.element(Level::NOTE.message(format!("at `{}`", clean(&diagnostic.path))));
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(clean(help).into_owned()));
    }
    renderer.render(&[group])
}

#[cfg(test)]
mod tests {
    use kt_policy::diag::{Code, Span};

    use super::*;

    #[test]
    fn a_diagnostic_shows_code_place_snippet_and_help() {
        let source = "policies:\n  chain: [dlp-filtr]\n";
        let start = source.find("dlp-filtr").unwrap();
        let diagnostic = Diagnostic {
            code: Code(101),
            severity: Severity::Error,
            message: "unknown policy kind `dlp-filtr`".to_owned(),
            path: "policies.chain[0]".to_owned(),
            span: Some(Span { start, end: start + 9 }),
            help: Some("did you mean `dlp-filter`?".to_owned()),
        };
        insta::assert_snapshot!(plain("pack.yaml", source, &diagnostic));
    }

    #[test]
    fn a_diagnostic_without_a_place_in_the_source_names_its_path() {
        let mut diagnostic =
            Diagnostic::error(Code(501), "providers.targets[1].base_url", None, "no workspace");
        assert!(plain("pack.yaml", "", &diagnostic).contains("at `providers.targets[1].base_url`"));
        diagnostic.path.clear();
        assert!(!plain("pack.yaml", "", &diagnostic).contains("at `"));
    }

    #[test]
    fn a_hostile_source_can_not_reach_the_terminal() {
        let source = "pack: \"\u{1b}]0;owned\u{7}\"\n";
        let diagnostic = Diagnostic {
            code: Code(102),
            severity: Severity::Warning,
            message: "odd \u{1b}[2J".to_owned(),
            path: String::new(),
            span: Some(Span { start: 6, end: 17 }),
            help: None,
        };
        let drawn = plain("pack\u{202e}.yaml", source, &diagnostic);
        assert!(!drawn.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{drawn:?}");
    }
}
