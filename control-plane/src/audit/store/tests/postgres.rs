//! What PostgreSQL alone has: several replicas, a server that crashes or hangs, logins and TLS.

use std::time::Duration;

use super::{
    super::{
        postgres::{Keys, OpenError, Postgres, PostgresOptions, PostgresSettings},
        testing::PostgresServer,
    },
    *,
};

/// How long the other side may take: a server that starts on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// A server with one database.
pub(super) struct Server {
    pub(super) server: PostgresServer,
    url: String,
}

// === impl Server ===

impl Server {
    pub(super) async fn start() -> Self {
        // What an operator sets who wants erased names out of the log too.
        Self::with(&["wal_recycle=off", "min_wal_size=32MB"]).await
    }

    async fn with(settings: &[&str]) -> Self {
        let server = PostgresServer::start_with(settings, &[]).await.unwrap();
        let url = server.database("kt").await.unwrap();
        Self { server, url }
    }

    fn settings(&self) -> PostgresSettings {
        PostgresSettings::new(&self.url, PostgresOptions::default()).unwrap()
    }

    pub(super) async fn open(&self) -> Result<Postgres, OpenError> {
        Postgres::open(self.settings()).await
    }

    async fn ask(&self, sql: &str) -> Vec<String> {
        self.server.ask("kt", sql).await.unwrap()
    }

    /// The folder of its files, once everything that was committed is in them and old parts of the log are gone.
    pub(super) async fn settled(&self) -> std::path::PathBuf {
        for statement in ["SELECT pg_switch_wal()", "CHECKPOINT"] {
            self.ask(statement).await;
        }
        self.server.data()
    }
}

/// Appends until it is taken, as a gateway does: the same batch again.
async fn until_taken(store: &Postgres, batch: &Batch) -> Appended {
    let trying = async {
        loop {
            match store.append(batch.clone()).await {
                Ok(appended) => return appended,
                Err(AuditStoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, trying).await.expect("the server comes back")
}

fn numbers(stored: &[Stored]) -> Vec<u64> {
    stored.iter().map(|stored| stored.row.sequence).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_that_take_the_same_batches_at_once_keep_each_record_once() {
    const BATCHES: u64 = 30;
    let server = Server::start().await;
    let (one, two) = tokio::join!(server.open(), server.open());
    let (one, two) = (one.unwrap(), two.unwrap());
    let mut run = Run::new(INSTANCE, EPOCH, 1);
    let batches: Vec<Batch> =
        (0..BATCHES).map(|_| run.batch((0..7).map(|id| closed(id, |_| ())).collect())).collect();
    let send = async |store: &Postgres| {
        let mut duplicates = 0;
        for batch in &batches {
            let appended = store.append(batch.clone()).await.unwrap();
            assert_eq!(appended.noted, []);
            duplicates += appended.duplicates;
        }
        duplicates
    };
    let (first, second) = tokio::join!(send(&one), send(&two));
    assert_eq!(first + second, BATCHES * 7, "each was new once and there already once");
    let chain = two.chain(INSTANCE, None, 10_000).await.unwrap();
    assert_eq!(numbers(&chain), (0..BATCHES * 7).collect::<Vec<_>>());
    let last = Position { epoch: EPOCH, sequence: BATCHES * 7 - 1, hash: run.previous };
    assert_eq!(one.marks(INSTANCE).await.unwrap(), [Mark { ordinal: 1, last }]);
    assert_eq!(one.instances().await.unwrap()[0].records, BATCHES * 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_follows_the_order_of_arrival_misses_nothing_that_two_replicas_add() {
    const EACH: u64 = 40;
    let server = Server::start().await;
    let (one, two) = (server.open().await.unwrap(), server.open().await.unwrap());
    let send = async |store: &Postgres, instance: u128| {
        let mut run = Run::new(InstanceId(Uuid::from_u128(instance)), EPOCH, 1);
        for _ in 0..EACH {
            store.append(run.batch((0..5).map(|id| closed(id, |_| ())).collect())).await.unwrap();
        }
    };
    let follow = async {
        let (mut seen, mut place) = (Vec::new(), None);
        while seen.len() < usize::try_from(EACH * 10).unwrap() {
            let page = one.events(EventFilter::default(), true, place, 1_000).await.unwrap();
            seen.extend(page.events.iter().map(|event| event.id));
            place = seen.last().copied().map(PageToken);
        }
        seen
    };
    let following = tokio::time::timeout(PATIENCE, follow);
    let (seen, (), ()) = tokio::join!(following, send(&one, 1), send(&two, 2));
    assert_eq!(seen.expect("nothing is missed"), (1..=EACH * 10).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_while_records_come_has_all_that_was_acknowledged() {
    const KILLS: u64 = 3;
    const BATCHES: u64 = 150;
    let mut server = Server::start().await;
    let store = Arc::new(server.open().await.unwrap());
    let mut run = Run::new(INSTANCE, EPOCH, 1);
    let batches: Vec<Batch> =
        (0..BATCHES).map(|_| run.batch((0..20).map(|id| closed(id, |_| ())).collect())).collect();
    let (acknowledged, mut seen) = tokio::sync::watch::channel(0_u64);
    let mut sending = tokio::task::JoinSet::new();
    let sender = Arc::clone(&store);
    sending.spawn(async move {
        for (number, batch) in (1..).zip(&batches) {
            assert_eq!(until_taken(&sender, batch).await.noted, []);
            acknowledged.send_replace(number);
        }
    });
    for kill in 1..=KILLS {
        seen.wait_for(|number| *number >= kill * BATCHES / (KILLS + 1)).await.unwrap();
        server.server.kill().unwrap();
        let taken = *seen.borrow();
        server.server.restart().await.unwrap();
        let mark = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Ok(marks) = store.marks(INSTANCE).await {
                    return marks[0];
                }
            }
        });
        let last = mark.await.expect("it is read again").last.sequence;
        assert!(last >= taken * 20 - 1, "{taken} batches were acknowledged, the mark is at {last}");
    }
    sending.join_next().await.unwrap().unwrap();
    let chain = store.chain(INSTANCE, None, 10_000).await.unwrap();
    assert_eq!(numbers(&chain), (0..BATCHES * 20).collect::<Vec<_>>());
    let last = Position { epoch: EPOCH, sequence: BATCHES * 20 - 1, hash: run.previous };
    assert_eq!(store.marks(INSTANCE).await.unwrap(), [Mark { ordinal: 1, last }]);
    assert_eq!(store.instances().await.unwrap()[0].records, BATCHES * 20);
}

#[tokio::test]
async fn a_server_that_hangs_is_unavailable_within_the_limit_and_goes_on_afterwards() {
    let server = Server::start().await;
    let limit = Duration::from_secs(1);
    let store = Postgres::open(server.settings().with_limits(limit, limit)).await.unwrap();
    let mut run = Run::new(INSTANCE, EPOCH, 1);
    let (first, second) = (run.batch(vec![closed(1, |_| ())]), run.batch(vec![closed(2, |_| ())]));
    store.append(first).await.unwrap();
    server.server.freeze().unwrap();
    let appending = tokio::time::timeout(limit * 8, store.append(second.clone()));
    let reading = tokio::time::timeout(limit * 8, store.request(Uuid::from_u128(1)));
    let (appended, read) = tokio::join!(appending, reading);
    assert!(matches!(appended.expect("it answers"), Err(AuditStoreError::Unavailable(_))));
    assert!(matches!(read.expect("it answers"), Err(AuditStoreError::Unavailable(_))));
    server.server.thaw().unwrap();
    assert_eq!(until_taken(&store, &second).await.noted, []);
    assert_eq!(numbers(&store.chain(INSTANCE, None, 10).await.unwrap()), [0, 1]);
}

#[tokio::test]
async fn a_transaction_that_is_left_open_holds_nobody_up_for_long() {
    let server = Server::start().await;
    let limit = Duration::from_secs(2);
    let store = Postgres::open(server.settings().with_limits(limit, limit)).await.unwrap();
    let batch = Run::new(INSTANCE, EPOCH, 1).batch(vec![closed(1, |_| ())]);
    // As a replica that was stopped in the middle.
    let held = server.ask(
        "BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0; SELECT last FROM kt_audit.arrival FOR UPDATE;
         SELECT pg_sleep(4)",
    );
    let waiting = async {
        loop {
            let waits = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND wait_event = 'PgSleep'";
            if server.ask(waits).await[0] == "1" {
                break;
            }
        }
        let refused = store.append(batch.clone()).await;
        assert!(matches!(refused, Err(AuditStoreError::Unavailable(_))), "{refused:?}");
    };
    tokio::join!(held, waiting);
    assert_eq!(until_taken(&store, &batch).await.noted, []);
}

#[tokio::test]
async fn a_record_that_the_server_can_not_index_holds_up_nothing_and_is_kept() {
    let place = Place::new(Engine::Postgres).await;
    let mut run = Run::new(INSTANCE, EPOCH, 1);
    let odd = closed(1, |closed| closed.request.caller.team = Some(Label::new("r\0d")));
    let batch = run.batch(vec![odd, closed(2, |_| ())]);
    let expected = batch.rows[0].row.clone();
    place.store().append(batch).await.unwrap();
    let chain = place.store().chain(INSTANCE, None, 10).await.unwrap();
    assert_eq!(chain[0].row, expected);
    let mut filter = EventFilter { teams: vec!["r\0d".to_owned()], ..EventFilter::default() };
    assert!(all(place.store(), filter.clone()).await.len() <= 1);
    filter.teams = vec!["red".to_owned()];
    assert_eq!(all(place.store(), filter).await.len(), 1);
}

#[tokio::test]
async fn days_get_partitions_ahead_and_when_they_come() {
    const DAY: i64 = 86_400_000_000;
    let server = Server::start().await;
    let store = server.open().await.unwrap();
    let partitions = async || {
        server
            .ask("SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'kt_audit.records'::regclass ORDER BY 1")
            .await
    };
    assert_eq!(partitions().await.len(), 4, "today and the days after it");
    let mut run = Run::new(INSTANCE, EPOCH, 1);
    for day in [0, 1, 400] {
        let mut batch = run.batch(vec![blocked(1)]);
        batch.stored_us = T0 + day * DAY;
        store.append(batch).await.unwrap();
    }
    let made = partitions().await;
    for name in ["kt_audit.records_20251124", "kt_audit.records_20251125", "kt_audit.records_20261229"] {
        assert!(made.iter().any(|partition| partition == name), "{name}: {made:?}");
    }
    assert_eq!(numbers(&store.chain(INSTANCE, None, 10).await.unwrap()), [0, 1, 2]);
    // Another replica, or an operator, has taken an old day away and it comes again.
    server.ask("DROP TABLE kt_audit.records_20251124").await;
    let mut batch = run.batch(vec![blocked(2)]);
    batch.stored_us = T0;
    assert_eq!(until_taken(&store, &batch).await.noted, []);
}

#[tokio::test]
async fn a_newer_form_is_refused_by_name_and_left_as_it_is() {
    let server = Server::start().await;
    drop(server.open().await.unwrap());
    server.ask("UPDATE kt_audit.form SET form = 99").await;
    let refused = server.open().await.unwrap_err();
    assert!(matches!(refused, OpenError::Newer { found: 99, .. }), "{refused}");
    assert!(refused.to_string().contains("form 99, newer than"), "{refused}");
    assert_eq!(server.ask("SELECT form FROM kt_audit.form").await, ["99"]);
}

#[tokio::test]
async fn replicas_that_start_together_make_the_tables_once_and_hold_one_pair_of_keys() {
    let server = Server::start().await;
    let opened = futures_util::future::join_all((0..5).map(|_| server.open())).await;
    assert!(opened.iter().all(Result::is_ok), "{opened:?}");
    let open = async |witness, persons| {
        Postgres::open(server.settings().with_keys(Keys { witness: [witness; 32], persons: [persons; 16] }))
            .await
    };
    open(1, 2).await.unwrap();
    open(1, 2).await.unwrap();
    for (witness, persons) in [(9, 2), (1, 9)] {
        let refused = open(witness, persons).await.unwrap_err();
        assert!(matches!(refused, OpenError::OtherKeys), "{refused}");
    }
}

#[tokio::test]
async fn a_start_waits_for_no_server_that_is_away_and_uses_it_once_it_is_back() {
    let mut server = Server::start().await;
    server.server.kill().unwrap();
    let away = server.open().await.unwrap_err();
    assert!(matches!(away, OpenError::Unavailable(_)), "{away}");
    let store = Postgres::start(server.settings()).await.unwrap();
    let batch = Run::new(INSTANCE, EPOCH, 1).batch(vec![closed(1, |_| ())]);
    assert!(matches!(store.append(batch.clone()).await, Err(AuditStoreError::Unavailable(_))));
    server.server.restart().await.unwrap();
    assert_eq!(until_taken(&store, &batch).await.noted, []);
    server.ask("UPDATE kt_audit.form SET form = 99").await;
    let newer = Postgres::start(server.settings()).await.unwrap_err();
    assert!(matches!(newer, OpenError::Newer { .. }), "{newer}");
}

#[tokio::test]
async fn a_database_that_can_not_hold_every_letter_is_refused() {
    let server = Server::start().await;
    let made = "CREATE DATABASE latin OWNER kt ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0";
    server.ask(made).await;
    let url = format!("postgres://kt@127.0.0.1:{}/latin", server.server.port());
    let settings = PostgresSettings::new(&url, PostgresOptions::default()).unwrap();
    let refused = Postgres::open(settings).await.unwrap_err();
    assert!(refused.to_string().contains("make it with UTF8"), "{refused}");
}

/// A server that asks for a password, over TLS alone, and the file of its authority.
async fn guarded(folder: &std::path::Path) -> (PostgresServer, std::path::PathBuf) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let ca_file = folder.join("ca.pem");
    std::fs::write(&ca_file, made.cert.pem()).unwrap();
    let hba = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n";
    let files = [
        ("server.crt", made.cert.pem()),
        ("server.key", made.signing_key.serialize_pem()),
        ("pg_hba.conf", hba.to_owned()),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let server = PostgresServer::start_with(&["ssl=on"], &files).await.unwrap();
    server.database("kt").await.unwrap();
    server.ask("postgres", "ALTER ROLE kt PASSWORD 'hunter2'").await.unwrap();
    (server, ca_file)
}

#[tokio::test]
async fn a_login_over_tls_takes_the_password_of_a_file_and_the_server_of_a_known_authority() {
    let folder = tempfile::tempdir().unwrap();
    let (server, ca_file) = guarded(folder.path()).await;
    let password_file = folder.path().join("password");
    let url = format!("postgres://kt@localhost:{}/kt?sslmode=verify-full", server.port());
    let options = PostgresOptions {
        ca_file: Some(ca_file),
        password_file: Some(password_file.clone()),
        clear_text: false,
    };
    let open = async |options: &PostgresOptions| {
        Postgres::open(PostgresSettings::new(&url, options.clone()).unwrap()).await
    };
    std::fs::write(&password_file, "wrong\n").unwrap();
    let refused = open(&options).await.unwrap_err();
    assert!(matches!(&refused, OpenError::Refused(_)), "{refused}");
    assert!(refused.to_string().contains("password authentication failed"), "{refused}");
    assert!(!refused.to_string().contains("wrong"), "{refused}");
    std::fs::write(&password_file, "hunter2\n").unwrap();
    let store = open(&options).await.unwrap();
    store.append(Run::new(INSTANCE, EPOCH, 1).batch(vec![closed(1, |_| ())])).await.unwrap();

    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let stranger = folder.path().join("other.pem");
    std::fs::write(&stranger, other.cert.pem()).unwrap();
    let refused = open(&PostgresOptions { ca_file: Some(stranger), ..options }).await.unwrap_err();
    assert!(refused.to_string().contains("certificate"), "{refused}");
}
