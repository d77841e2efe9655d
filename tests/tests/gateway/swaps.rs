//! Packs that are swapped under load.

use std::collections::BTreeSet;

use kt_proto::v1::Document;

use crate::{
    connected::{Fleet, pack, source},
    world::{LLAMA, within},
};

const PUBLISHES: u32 = 30;
const CALLERS: usize = 8;

/// Writes its version in the place of an address.
fn signing(generation: u32) -> crate::world::Pack {
    pack(generation).chain(&["pii-detector"]).policy(&format!(
        "pii-detector:\n  action: redact\n  entities: [EMAIL_ADDRESS]\n  redaction:\n    custom_markers: \
         {{EMAIL_ADDRESS: 'test@1.0.{generation}'}}\n"
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_answer_under_load_names_the_one_pack_that_judged_it_and_none_fails() {
    let fleet = Fleet::new().await;
    let world = fleet.gateway().await;
    let publish = async |generation: u32| {
        let text = source(&signing(generation));
        fleet.plane.publish(generation.into(), &format!("1.0.{generation}"), &text, &[]);
        fleet.plane.applied(Document::Assignment, generation.into()).await;
    };
    publish(1).await;
    let over = tokio::sync::watch::Sender::new(false);
    let call = async || {
        let mut seen = BTreeSet::new();
        let mut newest = 0;
        while !*over.borrow() {
            let answer = world.chat(LLAMA, "say: jane.doe@example.com").await;
            let names: Vec<_> = answer.headers.get_all("x-keeptrusts-pack").iter().collect();
            assert_eq!((answer.status, names.len()), (200, 1), "{}", answer.text);
            let named = names[0].to_str().unwrap().to_owned();
            let content = answer.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
            assert_eq!(content, named, "judged by one pack, named after another");
            let generation: u32 = named.rsplit('.').next().unwrap().parse().unwrap();
            assert!(generation >= newest, "{generation} after {newest}");
            newest = generation;
            seen.insert(generation);
        }
        seen
    };
    let publishing = async {
        for generation in 2..=PUBLISHES {
            publish(generation).await;
        }
        // And one more answer of each.
        assert_eq!(world.chat(LLAMA, "say: hello").await.status, 200);
        over.send_replace(true);
    };
    let calling = futures_util::future::join_all((0..CALLERS).map(|_| call()));
    let (seen, ()) = within(async { tokio::join!(calling, publishing) }).await;
    let seen: BTreeSet<u32> = seen.into_iter().flatten().collect();
    assert!(seen.len() > 2, "{seen:?}");
}
