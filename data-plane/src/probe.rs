//! Requests that the gateway makes now and then to learn whether a target answers.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{metrics::TargetLabels, shared::Shared};

/// How often the probes are looked at.
const TICK: Duration = Duration::from_millis(500);

/// Probes the targets that ask for it, until told to stop. Any answer below 500 counts.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut due: HashMap<Arc<str>, Instant> = HashMap::new();
    loop {
        let active = shared.active.load_full();
        for (target, runtime) in active.pack.targets.iter().zip(&active.targets) {
            let Some(probe) = &target.health_probe else { continue };
            let now = Instant::now();
            if due.get(&target.id).is_some_and(|due| *due > now) {
                continue;
            }
            due.insert(Arc::clone(&target.id), now + Duration::from_secs(probe.interval_seconds.max(1)));
            let mut url = runtime.url(kt_policy::verdict::Endpoint::ChatCompletions).clone();
            url.set_path(&probe.path);
            let mut request =
                runtime.client.here().get(url).timeout(Duration::from_secs(probe.timeout_seconds.max(1)));
            if let Some(authorization) = runtime.authorization() {
                request = request.header(http::header::AUTHORIZATION, authorization);
            }
            let (shared, id) = (Arc::clone(&shared), Arc::clone(&target.id));
            let stop = stop.clone();
            shared.clone().tasks.spawn(async move {
                let is_up = tokio::select! {
                    () = stop.cancelled() => return,
                    answer = request.send() => answer.is_ok_and(|answer| !answer.status().is_server_error()),
                };
                let labels = TargetLabels { target: Arc::clone(&id) };
                let before = shared.metrics.upstream_up.get_or_create(&labels).set(i64::from(is_up));
                if before == 1 && !is_up {
                    tracing::warn!(target = &*id, "Target does not answer its probe.");
                }
            });
        }
        due.retain(|id, _| active.pack.targets.iter().any(|target| target.id == *id));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(TICK) => {}
        }
    }
}
