//! A gateway that fails in the middle of an activation.

use std::fmt::Debug;

use kt_proto::v1::Stage;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use crate::{
    connected::{Fleet, codes, pack, source},
    world::LLAMA,
};

/// The target of the one pack that the fault is in.
const CRACKED: &str = "cracked";

/// A log that fails: the activation says that a credential is missing, and that is where it ends. Nothing in the
/// product panics on demand, and this is as deep inside of it as anything outside reaches.
struct Cracks;

impl Subscriber for Cracks {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Look);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Look;

impl Visit for Look {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        assert!(field.name() != "target" || format!("{value:?}") != format!("{CRACKED:?}"), "as asked");
    }
}

#[tokio::test]
async fn a_panic_while_a_pack_is_activated_is_a_rejection_and_nothing_else_suffers() {
    tracing::subscriber::set_global_default(Cracks).unwrap();
    let fleet = Fleet::new().await;
    let world = fleet.gateway().await;
    fleet.publish(1, &pack(1), &[]).await;
    let cracked = source(&pack(2))
        .replace(&format!("id: {LLAMA}"), &format!("id: {CRACKED}"))
        .replace("file: token", "env: DATABRICKS_THAT_NOBODY_SETS");
    fleet.plane.publish(2, "1.0.2", &cracked, &[]);
    let (rejected, skip) = fleet.plane.rejected(0).await;
    assert_eq!((rejected.stage(), codes(&rejected)), (Stage::Compile, vec!["compile_panicked"]));
    assert!(rejected.reasons[0].message.contains("test@1.0.2"), "{rejected:?}");
    let ready = world.until_ready(|status, value| status == 200 && value["status"] == "degraded").await;
    let reason = ready["degraded"][0].as_str().unwrap();
    assert!(reason.starts_with("pack: generation 2 is refused: compile: this build failed on"), "{reason}");
    assert_eq!(world.chat(LLAMA, "say: hello").await.header("x-keeptrusts-pack"), Some("test@1.0.1"));

    // It is one refusal of this build among others: not sent for again, and no start fails on it.
    fleet.plane.end_streams();
    assert_eq!(fleet.plane.hello(2).await.rejected, [rejected.digest.as_slice()]);
    let (again, _) = fleet.plane.rejected(skip).await;
    assert_eq!((again.digest, fleet.plane.fetches()), (rejected.digest, 2));
    fleet.publish(3, &pack(3), &[]).await;
    assert_eq!(world.chat(LLAMA, "say: hello").await.header("x-keeptrusts-pack"), Some("test@1.0.3"));
    world.until_ready(|_, value| value["status"] == "ok").await;
}
