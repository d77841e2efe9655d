//! What must hold of any body on any endpoint.

use kt_policy::{
    caller::Caller,
    evaluate::{Deadline, Env, FailMode, NoModels, RenderOptions, Timer, Workspace},
    json::{Document, Limits},
    request::Request,
    verdict::{Endpoint, Verdict},
};

use super::finder::pack;

/// Everything is found and replaced: words, quotes, structure, parts of characters' escapes.
const WORDS: [&str; 9] = ["needle", "ed", "\"", ":", "}", "1", "\\", "é", "]"];

/// The first byte chooses the endpoint, the rest is the body.
///
/// Reading never panics. A body that is accepted is judged; what is sent is JSON that is accepted again, within which
/// nothing that was found is left; when nothing is found it is the body, byte for byte.
pub(crate) fn check(input: &[u8]) {
    const ENDPOINTS: [Endpoint; 4] =
        [Endpoint::ChatCompletions, Endpoint::Completions, Endpoint::Embeddings, Endpoint::Responses];
    let Some((which, body)) = input.split_first() else { return };
    let endpoint = ENDPOINTS[usize::from(*which) % ENDPOINTS.len()];
    let Ok(request) = Request::parse(endpoint, body, &Limits::default()) else { return };
    for words in [&WORDS[..2], &WORDS[..], &["nothing like it"]] {
        let pack = pack(request.model(), words);
        let env = Env {
            now: jiff::Timestamp::UNIX_EPOCH,
            deadline: Deadline::NEVER,
            fail_mode: FailMode::Allow,
            timer: Timer::NONE,
        };
        let judgement = pack.judge(&request, &Caller::anonymous(), &env, &mut Workspace::default());
        if judgement.refusal.is_some() {
            continue;
        }
        for finding in &judgement.findings {
            assert!(finding.start < finding.end, "{finding:?}");
            assert!(finding.place.pointer.starts_with('/'));
        }
        let authorised = pack.authorise(&judgement, 0, &NoModels).expect("nothing forbids it");
        let rendered = authorised.render(body, &RenderOptions::default()).expect("the judged body").body;
        // A mask may be longer than what it replaces, so only the limits of the text itself count.
        Document::parse(rendered.as_bytes(), Limits::default()).expect("what is sent is JSON");
        if judgement.verdict == Verdict::Allow {
            assert_eq!(rendered.as_bytes(), body);
        }
        if words.len() == 2 {
            let again =
                Request::parse(endpoint, rendered.as_bytes(), &Limits::default()).expect("a request again");
            assert!(again.fields().iter().all(|field| !field.text.contains("needle")), "{rendered}");
        }
    }
}
