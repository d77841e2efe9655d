//! Persons who are forgotten, on a disk that dies.

use kt_audit::Pseudonym;
use kt_audit::dir::Names;

use super::disk::Disk;
use super::*;

/// Appends a record of a person, whose name is sealed with it.
fn append_of(engine: &mut Engine<Disk>, name: &str, id: u128) -> Pseudonym {
    let subject = engine.identity().pseudonyms.subject(name);
    let pseudonym = subject.pseudonym();
    let entry = Entry::new(closed(id), Some(subject)).unwrap();
    engine.append(&[&entry], NOW).pop().unwrap().unwrap();
    pseudonym
}

fn name(disk: &Disk, subject: Pseudonym) -> Option<String> {
    let table = |name| disk.content(name).unwrap_or_default();
    Names::parse(&table(layout::SEALED_NAMES), &table(layout::SUBJECT_KEYS)).name(subject)
}

fn erasures(disk: &Disk) -> usize {
    stored(disk).iter().filter(|record| record.body.kind() == Kind::Erasure).count()
}

#[test]
fn an_erased_name_is_gone_for_good_and_others_stay() {
    let disk = Disk::default();
    let mut engine = start(&disk, settings(), 1, NOW);
    let (ada, bob) = (append_of(&mut engine, "ada", 1), append_of(&mut engine, "bob", 2));
    let backup = disk.content(layout::SUBJECT_KEYS).unwrap();
    assert_eq!(engine.erase(ada, Some("T-1".into()), NOW).unwrap(), 1);
    assert_eq!((name(&disk, ada), name(&disk, bob).as_deref()), (None, Some("bob")));
    // She comes again, in this run and in the next, and her keys are put back.
    append_of(&mut engine, "ada", 3);
    assert_eq!(engine.erase(ada, None, NOW).unwrap(), 0);
    disk.put(layout::SUBJECT_KEYS, backup);
    let mut engine = start(&disk, settings(), 2, NOW);
    append_of(&mut engine, "ada", 4);
    append_of(&mut engine, "cleo", 5);
    assert_eq!((name(&disk, ada), name(&disk, bob).as_deref()), (None, Some("bob")));
    assert_eq!(erasures(&disk), 1);
    // Somebody who never was here is erased too: whoever asks need not know.
    let nobody = engine.identity().pseudonyms.subject("nobody").pseudonym();
    assert_eq!(engine.erase(nobody, None, NOW).unwrap(), 0);
    assert_eq!(erasures(&disk), 2);
}

#[test]
fn a_death_in_the_middle_of_an_erasure_leaves_one_that_is_done_again() {
    let mut died = 0;
    for operations in 0..24 {
        let disk = Disk::default();
        let mut engine = start(&disk, settings(), 1, NOW);
        let (ada, bob) = (append_of(&mut engine, "ada", 1), append_of(&mut engine, "bob", 2));
        disk.die_after(operations);
        let first = engine.erase(ada, None, NOW);
        died += u32::from(disk.is_dead());
        if disk.is_dead() && operations % 2 == 0 {
            disk.power_cut(|bound| bound / 2);
        }
        assert!(first.is_err() || !disk.is_dead());
        disk.restart();
        drop(engine);
        let mut engine = start(&disk, settings(), 2, NOW);
        engine.erase(ada, None, NOW).unwrap();
        assert_eq!(name(&disk, ada), None, "after {operations}");
        assert!(erasures(&disk) >= 1, "after {operations}");
        // A power cut may take what was not synced, his name with it; it never gives hers back.
        assert!(matches!(name(&disk, bob).as_deref(), Some("bob") | None));
        assert!(!disk.names().contains(&format!("{}.tmp", layout::SUBJECT_KEYS)), "after {operations}");
    }
    assert!(died > 5, "{died} deaths");
}
