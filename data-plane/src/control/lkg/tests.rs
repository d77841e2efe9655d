use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use kt_proto::signed::seal;

use super::*;

const DOCUMENT: v1::Document = v1::Document::Assignment;

/// A disk that dies at a step, and does nothing from then on: what a `kill -9` between two calls leaves behind. The
/// write at which it dies is torn.
#[derive(Debug, Clone)]
struct Dying(Arc<AtomicI64>);

impl Dying {
    fn after(steps: i64) -> Self {
        Self(Arc::new(AtomicI64::new(steps)))
    }

    fn step(&self) -> io::Result<()> {
        if self.0.fetch_sub(1, Ordering::Relaxed) > 0 { Ok(()) } else { Err(io::Error::other("dead")) }
    }
}

impl Disk for Dying {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.step()?;
        RealDisk.create(path)
    }

    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.step() {
            RealDisk.write(file, &bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        RealDisk.write(file, bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.step()?;
        RealDisk.sync(file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        RealDisk.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.step()?;
        RealDisk.sync_dir(dir)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        RealDisk.remove(path)
    }
}

fn body(generation: u64) -> Vec<u8> {
    format!("pack {generation}").into_bytes()
}

fn statement(generation: u64) -> v1::SignedStatement {
    let digest = Digest::of(&body(generation)).0.to_vec();
    let pack = v1::PackRef { name: "p".to_owned(), version: "1.0.0".to_owned(), digest, size: 0 };
    let statement =
        v1::AssignmentStatement { fleet: "default".to_owned(), generation, packs: vec![pack], expires_us: 0 };
    seal(&statement, &[])
}

/// The order of [`crate::control`]: body, (swap), statement, prune.
fn take(lkg: &Lkg, generation: u64) -> io::Result<()> {
    let bytes = body(generation);
    lkg.put_body(&Digest::of(&bytes), &bytes)?;
    lkg.keep(DOCUMENT, "default", generation, &statement(generation))?;
    lkg.prune()
}

/// What a start finds: the first kept statement that can be read and whose body is there.
fn found(dir: &Path) -> Option<u64> {
    let lkg = Lkg::open(dir).unwrap();
    [Which::Current, Which::Previous].into_iter().find_map(|which| {
        let kept = lkg.load(DOCUMENT, which)?.ok()?;
        assert_eq!(kept.signed, statement(kept.generation));
        lkg.body(&Digest::of(&body(kept.generation)))?;
        Some(kept.generation)
    })
}

#[test]
fn kill_at_every_step_leaves_a_loadable_state() {
    let mut deaths = 0;
    for steps in 0.. {
        let dir = tempfile::tempdir().unwrap();
        take(&Lkg::open(dir.path()).unwrap(), 1).unwrap();
        let disk = Dying::after(steps);
        let lkg = Lkg::open_on(dir.path(), disk).unwrap();
        let mut applied = 1;
        let died = (2..=4).any(|generation| {
            let died = take(&lkg, generation).is_err();
            if !died {
                applied = generation;
            }
            died
        });
        drop(lkg);
        let found = found(dir.path()).unwrap_or_else(|| panic!("nothing after {steps} steps"));
        // What `Applied` was said of is there, or what was about to be.
        assert!(
            (applied..=applied + 1).contains(&found),
            "{steps} steps: {applied} was applied, {found} is found"
        );
        // And the directory works on.
        take(&Lkg::open(dir.path()).unwrap(), 9).unwrap();
        assert_eq!(self::found(dir.path()), Some(9));
        if !died {
            break;
        }
        deaths += 1;
    }
    assert!(deaths > 20, "only {deaths} steps");
}

#[test]
fn the_two_newest_are_kept_with_their_bodies_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let lkg = Lkg::open(dir.path()).unwrap();
    for generation in 1..=4 {
        take(&lkg, generation).unwrap();
    }
    let generation = |which| lkg.load(DOCUMENT, which).unwrap().unwrap().generation;
    assert_eq!((generation(Which::Current), generation(Which::Previous)), (4, 3));
    let bodies = fs::read_dir(dir.path().join("bodies")).unwrap().count();
    assert_eq!(bodies, 2);
}

#[test]
fn every_changed_byte_of_a_kept_statement_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let lkg = Lkg::open(dir.path()).unwrap();
    take(&lkg, 1).unwrap();
    let path = dir.path().join("assignment");
    let good = fs::read(&path).unwrap();
    for place in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[place] ^= 1;
        fs::write(&path, &bad).unwrap();
        assert!(lkg.load(DOCUMENT, Which::Current).unwrap().is_err(), "byte {place}");
        fs::write(&path, &good[..place]).unwrap();
        assert!(lkg.load(DOCUMENT, Which::Current).unwrap().is_err(), "cut at {place}");
    }
}

#[test]
fn a_changed_body_is_not_used_and_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let lkg = Lkg::open(dir.path()).unwrap();
    take(&lkg, 1).unwrap();
    let (bytes, digest) = (body(1), Digest::of(&body(1)));
    fs::write(lkg.body_place(&digest), "else").unwrap();
    assert_eq!(lkg.body(&digest), None);
    lkg.put_body(&digest, &bytes).unwrap();
    assert_eq!(lkg.body(&digest), Some(bytes));
}

#[test]
fn a_directory_serves_one_gateway_and_is_nobody_elses_business() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let lkg = Lkg::open(&state).unwrap();
    assert!(matches!(Lkg::open(&state), Err(StateError::Locked { .. })));
    take(&lkg, 1).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&state), mode(&state.join("assignment"))), (0o700, 0o600));
    let id = lkg.gateway_id().unwrap();
    drop(lkg);
    assert_eq!(Lkg::open(&state).unwrap().gateway_id().unwrap(), id);
}

#[test]
fn refused_statements_are_forgotten_by_another_build() {
    let dir = tempfile::tempdir().unwrap();
    let lkg = Lkg::open(dir.path()).unwrap();
    let entry = |number: u64| RejectedEntry {
        digest: Digest::of(&number.to_le_bytes()),
        generation: number,
        is_key_set: false,
    };
    let many: Vec<RejectedEntry> = (0..100).map(entry).collect();
    lkg.put_rejected(&many).unwrap();
    assert_eq!(lkg.rejected(), many[36..]);
    let path = dir.path().join("rejected");
    let text = fs::read_to_string(&path).unwrap().replace(build(), "0.0.1+00000000");
    fs::write(&path, text).unwrap();
    assert_eq!(lkg.rejected(), []);
}
