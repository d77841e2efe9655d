//! The reference page says what the code does.

use std::collections::BTreeMap;

use kt_proto::refusal::{Code, Refusal};
use tonic::Status;

#[test]
fn the_table_of_error_codes_has_every_code_once_and_its_status() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/control-plane.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (_, table) = page.split_once("## Error codes").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let mut rows = BTreeMap::new();
    for line in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [code, status, retry, meaning] = cells[..] else { panic!("{line}") };
        assert!(!meaning.is_empty(), "{line}");
        let row = (status.to_owned(), retry.to_owned());
        assert_eq!(rows.insert(code.trim_matches('`').to_owned(), row), None, "{line}");
    }
    let expected: BTreeMap<_, _> = Code::ALL
        .iter()
        .map(|code| {
            let status = Status::from(Refusal::new(*code, "")).code();
            let retry = if code.is_retryable() { "yes" } else { "" };
            (code.as_str().to_owned(), (format!("{status:?}"), retry.to_owned()))
        })
        .collect();
    assert_eq!(rows, expected);
}
