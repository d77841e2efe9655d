use proptest::prelude::*;

use super::*;

fn file() -> Vec<u8> {
    FILE.to_vec()
}

#[test]
fn the_embedded_file_is_a_model_and_is_written_as_it_was_read() {
    let model = Model::read(&file()).expect("a model");
    assert_eq!(model.write(), file());
    assert!(model.weights.iter().filter(|&&weight| weight != 0).count() > 10_000);
}

#[test]
fn a_file_that_is_cut_longer_or_of_another_kind_is_no_model() {
    let whole = file();
    for length in [0, 5, 6, 25, 26, whole.len() - 1] {
        assert_eq!(Model::read(&whole[..length]), None, "{length}");
    }
    assert_eq!(Model::read(&[&whole[..], &[0]].concat()), None);
    let mut other = file();
    other[5] = b'2';
    assert_eq!(Model::read(&other), None);
    let mut not_a_number = file();
    not_a_number[6..10].copy_from_slice(&f32::NAN.to_le_bytes());
    assert_eq!(Model::read(&not_a_number), None);
}

#[test]
fn a_text_shorter_than_a_scale_is_one_window_of_it() {
    let windows = |segments| lengths(segments).collect::<Vec<_>>();
    assert_eq!(windows(0), []);
    assert_eq!(windows(1), [(1, 0)]);
    assert_eq!(windows(3), [(1, 0), (2, 1), (3, 2)]);
    assert_eq!(windows(40), [(1, 0), (2, 1), (4, 2), (12, 3)]);
}

proptest! {
    #[test]
    fn a_likelihood_is_between_zero_and_one_and_grows_with_the_logit(one in -1e6_f32..1e6, more in 0.0_f32..1e3) {
        let (low, high) = (likelihood(one), likelihood(one + more));
        prop_assert!((0.0..=1.0).contains(&low) && low <= high);
    }
}
