//! The request that is sent again and again, made once.

use std::fmt::Write as _;

use super::{LoadError, Options};

/// Where a marker stands in a body file.
pub const MARK: &str = "{{mark}}";

/// Every marker has this length, so that one `content-length` fits all.
const MARK_LENGTH: usize = "kt-mark-00000000-0000000000".len();

/// A request's bytes, and the place of the marker.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    mark_at: Option<usize>,
}

impl Template {
    pub(crate) fn new(options: &Options, authority: &str, path: &str) -> Result<Self, LoadError> {
        let mut body = match &options.body {
            Some(body) => body.clone(),
            None => default_body(options),
        };
        let mut mark_at = None;
        if options.mark {
            let at = body.find(MARK).ok_or(LoadError::NoMark)?;
            body.replace_range(at..at + MARK.len(), &"m".repeat(MARK_LENGTH));
            mark_at = Some(at);
        }
        let mut head =
            format!("POST {path} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\n");
        for (name, value) in &options.headers {
            if name.is_empty() || name.contains([':', ' ', '\r', '\n']) || value.contains(['\r', '\n']) {
                return Err(LoadError::Header(name.clone()));
            }
            // Writing to a string cannot fail.
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let _ = write!(head, "content-length: {}\r\n\r\n", body.len());
        let mark_at = mark_at.map(|at| at + head.len());
        head.push_str(&body);
        Ok(Self { bytes: head.into_bytes(), mark_at })
    }

    /// The bytes of the next request; with a marker, that of `run` and `number` (both cut to their width).
    pub(crate) fn next(&mut self, run: u32, number: u64) -> (&[u8], Option<String>) {
        let mark = self.mark_at.map(|_| format!("kt-mark-{run:08x}-{:010}", number % 10_000_000_000));
        if let (Some(at), Some(mark)) = (self.mark_at, &mark)
            && let Some(place) = self.bytes.get_mut(at..at + MARK_LENGTH)
        {
            place.copy_from_slice(mark.as_bytes());
        }
        (&self.bytes, mark)
    }
}

/// A chat with a prompt of a thousand characters of ordinary business text.
fn default_body(options: &Options) -> String {
    let sentence = "Summarise the sales figures of the last quarter by region, name the product lines that grew \
                    faster than the market, and explain in two sentences what drove the change. ";
    let (mark, length) = if options.mark { (MARK, MARK_LENGTH) } else { ("", 0) };
    let prompt: String = sentence.repeat(7).chars().take(1024 - length).collect();
    let message = serde_json::json!({"role": "user", "content": format!("{prompt}{mark}")});
    let mut body = serde_json::json!({"model": options.model, "messages": [message], "max_tokens": 256});
    if let (true, Some(fields)) = (options.stream, body.as_object_mut()) {
        fields.insert("stream".to_owned(), true.into());
    }
    body.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_change_and_the_length_does_not() {
        let options = Options { mark: true, ..Options::to("http://127.0.0.1:1/v1/chat/completions") };
        let mut template = Template::new(&options, "h:1", "/p").unwrap();
        let read = |bytes: &[u8]| {
            let text = std::str::from_utf8(bytes).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let length: usize = head.rsplit_once("content-length: ").unwrap().1.parse().unwrap();
            assert_eq!(length, body.len());
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            body["messages"][0]["content"].as_str().unwrap().to_owned()
        };
        let (bytes, mark) = template.next(0xbeef, 7);
        assert_eq!(mark.as_deref(), Some("kt-mark-0000beef-0000000007"));
        assert!(read(bytes).ends_with(&mark.unwrap()));
        let (bytes, mark) = template.next(0xbeef, u64::MAX);
        assert!(read(bytes).ends_with(&mark.unwrap()));
    }

    #[test]
    fn the_default_prompt_is_a_kilobyte() {
        let options = Options::to("http://127.0.0.1:1/");
        let body: serde_json::Value = serde_json::from_str(&default_body(&options)).unwrap();
        assert_eq!(body["messages"][0]["content"].as_str().unwrap().len(), 1024);
    }

    #[test]
    fn a_header_that_would_split_the_request_is_refused() {
        let headers = vec![("x".to_owned(), "a\r\nb: c".to_owned())];
        let options = Options { headers, ..Options::to("http://h/") };
        assert!(matches!(Template::new(&options, "h", "/"), Err(LoadError::Header(name)) if name == "x"));
        let options = Options { mark: true, body: Some("{}".to_owned()), ..Options::to("http://h/") };
        assert!(matches!(Template::new(&options, "h", "/"), Err(LoadError::NoMark)));
    }
}
